"""What training code wraps around a network's tensors."""

from __future__ import annotations

import random

import pytest
import timm
import torch

from hcbench.errors import WeightsError
from hcbench.methods.checkpoint.layouts import recognise
from hcbench.methods.dino.weights import adapt as adapt_dino
from hcbench.methods.mae.weights import adapt as adapt_mae
from hcbench.methods.parts.weights.fitting import Told, fitted
from hcbench.methods.parts.weights.foreign import resnet, timm_model
from hcbench.methods.parts.weights.wrappers import chosen, contents, take

SIZE = (32, 16)
ADAPT = timm_model("test_vit")
OPTIMISER = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}


def state(seed=0):
    torch.manual_seed(seed)
    return timm.create_model("test_vit", num_classes=0, img_size=SIZE).state_dict()


PLAIN, OTHER = state(), state(1)


def under(prefix, tensors):
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def nested(entries, value):
    for entry in reversed(entries.split(".") if entries else []):
        value = {entry: value, "epoch": 3}
    return value


def loaded(tree, adapt=ADAPT, key=""):
    encoder, report = fitted(tree, "file.pth", adapt, SIZE, told=Told(key=key))
    assert report.complete, report.text()
    return encoder.weights(), report


def is_of(weights, tensors):
    return all(torch.equal(weights[name], tensors[name]) for name in weights)


WORDS = ("module", "_orig_mod", "model", "net", "backbone", "encoder", "student", "teacher", "base", "anything_else")
ENTRIES = ("", "state_dict", "model", "model_state", "model_ema", "ema.shadow", "params_ema", "a.b.c", "state_dict.net")


@pytest.mark.parametrize("entries", ENTRIES)
@pytest.mark.parametrize("seed", range(4))
def test_any_wrapping_is_taken_off_and_named(entries, seed):
    words = random.Random(seed).sample(WORDS, seed)
    prefix = "".join(f"{word}." for word in words)
    weights, report = loaded(nested(entries, under(prefix, PLAIN)))
    assert is_of(weights, PLAIN)
    if entries:
        assert f"taken: the entry {entries}" in report.text()
    if prefix:
        assert f"names below {prefix}" in report.text()
    assert "beside it" not in report.text()


def test_what_stands_beside_a_network_is_unexpected_or_dropped_as_before():
    tree = {
        "state_dict": under("module.backbone.", PLAIN)
        | {"module.head.weight": torch.ones(2), "loss.centers": torch.ones(2)}
    }
    _, report = fitted(tree, "file.pth", ADAPT, SIZE)
    assert report.dropped == ("head.weight",)
    assert report.unexpected == ("loss.centers",)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("state_dict", "state_dict_ema"), ("model", "model_ema"), ("params", "params_ema"), ("model", "ema.shadow"),
        ("state_dict", "ema_state_dict"), ("teacher", "student"), ("model_state", "averaged_model"),
        ("state_dict", "model"), ("semantic", "other_ema"), ("zeta", "alpha"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("swapped", [False, True])
def test_of_two_networks_one_is_taken_by_rule_the_other_named_and_taken_by_its_key(first, second, swapped):
    parts = [nested(first, PLAIN), nested(second, OTHER)]
    tree = {name: value for part in (parts[::-1] if swapped else parts) for name, value in part.items()}
    tree["optimizer"] = OPTIMISER
    if (first, second) == ("zeta", "alpha") and swapped:
        first, second = second, first  # nothing but the order in the file says which
    one, other = (OTHER, PLAIN) if first == "alpha" else (PLAIN, OTHER)
    weights, report = loaded(tree)
    assert is_of(weights, one)
    assert f"taken: the entry {first}\n" in report.text()
    assert f"beside it: {second}; --weights-key {second} takes it instead" in report.text()
    weights, report = loaded(tree, key=second)
    assert is_of(weights, other)
    assert "beside it" not in report.text()


def test_two_networks_in_one_entry_are_told_apart_by_their_prefixes():
    tree = {
        "state_dict": under("student.backbone.", OTHER) | under("teacher.backbone.", PLAIN) | {"center": torch.ones(1)}
    }
    weights, report = fitted(tree, "file.pth", ADAPT, SIZE)
    assert is_of(weights.weights(), PLAIN)
    assert "names below teacher.backbone." in report.text()
    assert "--weights-key state_dict.student.backbone takes it instead" in report.text()
    assert len(report.dropped) == len(OTHER)
    for key in ("state_dict.student.backbone", "state_dict.student", "student", "student.backbone"):
        if key.startswith("state_dict"):
            assert is_of(loaded(tree, key=key)[0], OTHER)
        else:
            assert is_of(loaded(tree["state_dict"], key=key)[0], OTHER)


def test_an_average_in_the_same_entry_is_no_part_of_the_network():
    tree = PLAIN | under("ema_model.module.", OTHER)
    weights, report = loaded(tree)
    assert is_of(weights, PLAIN)
    assert "taken: the tensors at the top" in report.text()
    assert is_of(loaded(tree, key="ema_model")[0], OTHER)


def test_moco_s_second_encoder_is_named():
    torch.manual_seed(0)
    net = timm.create_model("resnet18", num_classes=0).state_dict()
    other = {name: tensor + 1 for name, tensor in net.items()}
    tree = {
        "state_dict": under("module.encoder_k.", other)
        | under("module.encoder_q.", net)
        | {"module.queue": torch.ones(1)}
    }
    encoder, report = fitted(tree, "moco.pth", resnet, SIZE)
    assert is_of(encoder.weights(), net)
    assert "beside it: state_dict.module.encoder_k" in report.text()
    assert report.complete
    assert len(report.dropped) == len(net) + 1


def test_a_project_s_own_choice_goes_before_the_usual_ones():
    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=SIZE).state_dict()
    other = {name: tensor + 1 for name, tensor in vit.items()}
    tree = {"student": under("module.backbone.", other), "teacher": under("_orig_mod.backbone.", vit)}
    for key, whose, tensors in (("", "teacher", vit), ("student", "student", other)):
        encoder, report = fitted(tree, "dino.pth", adapt_dino, SIZE, told=Told(key=key))
        assert is_of(encoder.weights(), tensors)
        assert f"DINO {whose}" in report.text()
    encoder, _ = fitted({"module": {"net": under("_orig_mod.", vit)}}, "mae.pth", adapt_mae, SIZE)
    assert is_of(encoder.weights(), vit)


def test_what_a_file_says_beside_the_chosen_part_is_kept():
    tree = {"args": {"img_size": 224}, "model": PLAIN, "ema": {"shadow": OTHER}, "optimizer": OPTIMISER}
    assert chosen(tree, "") is tree
    assert set(chosen(tree, "ema")) == {"args", "ema"}
    assert set(chosen(tree, "ema.shadow")) == {"args", "ema.shadow"}
    with pytest.raises(WeightsError, match=r"no part 'ema\.shadov'.*model \(\d+ tensors\), ema") as error:
        chosen(tree, "ema.shadov")
    assert "model, ema.shadow" in error.value.hint


def test_a_refusal_says_what_the_file_holds():
    tree = {
        "net": {"a.weight": torch.zeros(2, 3), "a.bias": torch.zeros(2)},
        "epoch": 3,
        "ema": [1, 2],
        "optimizer": OPTIMISER,
    }
    told = contents(tree)
    assert "entries net (2 tensors), epoch (int), ema (a list of 2), optimizer (2 values)" in told
    assert "2 tensors; the first in net: a.weight (2, 3), a.bias (2,)." in told
    assert contents({"epoch": 3}) == "It holds the entries epoch (int). It holds no tensors by name."
    for adapt, message in ((ADAPT, "does not fit"), (adapt_mae, "is no ViT"), (resnet, "is no ResNet")):
        with pytest.raises(WeightsError, match=message) as error:
            fitted(tree, "file.pth", adapt, SIZE)
        assert "a.weight (2, 3)" in str(error.value)
        assert "epoch (int)" in str(error.value)


def test_an_optimiser_s_tensors_are_no_network():
    tree = {"optimizer": {"model": PLAIN}, "ema": OTHER}
    assert take(tree, ("cls_token",)).state["cls_token"] is OTHER["cls_token"]


def test_layouts_are_recognised_in_any_wrapping():
    one = torch.zeros(1)
    tree = {"a": {"state_dict": {"_orig_mod.model.module.stages.0.blocks.0.attn.w_msa.qkv.weight": one}}}
    assert recognise(tree) == "solider"


@pytest.mark.parametrize("adapt", [ADAPT])
def test_numbers_that_are_not_finite_refuse_a_file_where_the_network_takes_them(adapt):
    bad = {**PLAIN, "head.weight": torch.full((3, 64), torch.nan)}
    assert loaded(bad)[1].not_finite == ()
    for value in (torch.nan, torch.inf, -torch.inf):
        name = "blocks.0.mlp.fc1.weight"
        broken = PLAIN[name].clone()
        broken[0] = value
        for leave in (False, True):
            with pytest.raises(WeightsError, match=r"NaN or infinity in 1 of the \d+ tensors.*fc1\.weight \(64 of"):
                fitted({**bad, name: broken}, "file.pth", adapt, SIZE, allow_partial=leave)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read_as_single(dtype):
    weights, _ = loaded({name: tensor.to(dtype) for name, tensor in PLAIN.items()})
    assert weights["cls_token"].dtype == torch.float32
    assert torch.equal(weights["cls_token"], PLAIN["cls_token"].to(dtype).float())
