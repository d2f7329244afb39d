"""Weight files of other projects, written here in their official layouts with random numbers."""

from __future__ import annotations

import argparse
import pickle
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from hcbench.errors import WeightsError
from hcbench.methods.dino.weights import adapt as adapt_dino
from hcbench.methods.hap.weights import adapt as adapt_hap
from hcbench.methods.mae.weights import adapt as adapt_mae
from hcbench.methods.parts.weights.fitting import load_foreign
from hcbench.methods.parts.weights.foreign import timm_model
from hcbench.methods.parts.weights.reading import read_weights
from hcbench.methods.stablerep.weights import adapt as adapt_stablerep

DIM, DEPTH, HEADS, PATCH = 192, 12, 3, 16
SIZE = (256, 128)


def vit_state(positions, seed=0):
    """A ViT-Ti/16 in the names that MAE, HAP, DINO and timm share."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape, std=0.05):
        return torch.randn(*shape, generator=g) * std

    state = {
        "cls_token": draw(1, 1, DIM),
        "pos_embed": draw(1, 1 + positions, DIM, std=0.3),
        "patch_embed.proj.weight": draw(DIM, 3, PATCH, PATCH),
        "patch_embed.proj.bias": draw(DIM),
        "norm.weight": 1 + draw(DIM),
        "norm.bias": draw(DIM),
    }
    for i in range(DEPTH):
        for name, out, into in (
            ("attn.qkv", 3 * DIM, DIM), ("attn.proj", DIM, DIM), ("mlp.fc1", 4 * DIM, DIM), ("mlp.fc2", DIM, 4 * DIM),
        ):  # fmt: skip
            state[f"blocks.{i}.{name}.weight"] = draw(out, into)
            state[f"blocks.{i}.{name}.bias"] = draw(out)
        for name in ("norm1", "norm2"):
            state[f"blocks.{i}.{name}.weight"], state[f"blocks.{i}.{name}.bias"] = 1 + draw(DIM), draw(DIM)
    return state


def vit_forward(state, x):
    """All tokens after the final norm, straight from the definition."""

    def norm(x, name):
        return F.layer_norm(x, (DIM,), state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-6)

    def linear(x, name):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    patches = F.conv2d(x, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=PATCH)
    x = torch.cat([state["cls_token"].expand(len(x), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
    x = x + state["pos_embed"]
    for i in range(DEPTH):
        b = f"blocks.{i}"
        qkv = linear(norm(x, f"{b}.norm1"), f"{b}.attn.qkv").unflatten(-1, (3, HEADS, DIM // HEADS))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-1, -2) / (DIM // HEADS) ** 0.5).softmax(dim=-1)
        x = x + linear((weights @ v).transpose(1, 2).flatten(2), f"{b}.attn.proj")
        x = x + linear(F.gelu(linear(norm(x, f"{b}.norm2"), f"{b}.mlp.fc1")), f"{b}.mlp.fc2")
    return norm(x, "norm")


DECODER = {"mask_token": torch.zeros(1, 1, 8), "decoder_embed.weight": torch.zeros(8, DIM)}


def wrapped(kind, state):
    """The state in a project's file."""
    return {
        "hap": {"epoch": 399, "arch": "pose_mae", "model": state | DECODER, "optimizer": {"lr": np.float64(0.1)}},
        "mae": {"model": state},
        "dino": {
            "student": {f"module.backbone.{name}": torch.zeros_like(w) for name, w in state.items()},
            "teacher": {f"backbone.{name}": w for name, w in state.items()} | {"head.mlp.0.weight": torch.zeros(2, 2)},
            "args": argparse.Namespace(lr=np.float64(0.5)),
        },
        "stablerep": {
            "model": {f"visual.{name}": w for name, w in state.items()} | {"image_mlp.layer1.weight": torch.ones(2)},
            "args": argparse.Namespace(batch=3),
        },
    }[kind]


@pytest.mark.parametrize(
    ("kind", "adapt"),
    [("hap", adapt_hap), ("mae", adapt_mae), ("dino", adapt_dino), ("stablerep", adapt_stablerep)],
)
def test_a_vit_file_computes_what_its_project_computes(kind, adapt, tmp_path):
    state = vit_state(128)
    torch.save(wrapped(kind, state), tmp_path / "file.pth")
    encoder, report = load_foreign(tmp_path / "file.pth", adapt, SIZE)
    assert report.complete
    assert report.share == 1.0
    x = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found, expected = encoder(x), vit_forward(state, x)
    torch.testing.assert_close(found.pooled, expected[:, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(found.grid.flatten(2).transpose(1, 2), expected[:, 1:], atol=1e-4, rtol=0)


def test_positions_of_a_square_grid_are_resampled(tmp_path):
    state = vit_state(196)
    rows = torch.linspace(0, 1, 14)[:, None].expand(14, 14).reshape(1, 196, 1)
    state["pos_embed"][:, 1:] = rows
    torch.save({"model": state}, tmp_path / "mae.pth")
    encoder, _ = load_foreign(tmp_path / "mae.pth", adapt_mae, SIZE)
    table = encoder.weights()["pos_embed"]
    assert torch.equal(table[:, :1], state["pos_embed"][:, :1])
    grid = table[0, 1:].view(16, 8, DIM)
    assert torch.allclose(grid, grid[:, :1].expand_as(grid), atol=1e-5), "columns say nothing"
    assert (grid[1:, 0, 0] > grid[:-1, 0, 0]).all(), "rows rise"


def test_a_file_that_fits_too_badly_is_refused(tmp_path):
    state = vit_state(128)
    half = {name: w for name, w in state.items() if not name.startswith(tuple(f"blocks.{i}." for i in range(1, 7)))}
    torch.save({"model": half}, tmp_path / "half.pth")
    with pytest.raises(WeightsError, match=r"half\.pth does not fit") as refusal:
        load_foreign(tmp_path / "half.pth", adapt_mae, SIZE)
    assert "blocks.1.norm1.weight" in str(refusal.value)
    assert "--allow-partial" in refusal.value.hint
    encoder, report = load_foreign(tmp_path / "half.pth", adapt_mae, SIZE, allow_partial=True)
    assert 0.4 < report.share < 0.6
    assert len(report.missing) == 6 * 12
    assert torch.equal(encoder.weights()["blocks.7.norm1.weight"], state["blocks.7.norm1.weight"])


@pytest.mark.parametrize(
    ("lacking", "refused"),
    [
        (r".*bias", True),
        (r".*norm\d?\..*", True),
        (r"blocks\.\d+\.attn\.qkv\.bias", True),
        (r"blocks\.11\.attn\..*", False),
        (r"norm\..*", False),
    ],
)
def test_a_file_without_some_small_tensors_is_refused_or_partial(lacking, refused, tmp_path):
    """All of them leave more than 95 % of the numbers."""
    state = {name: w for name, w in vit_state(128).items() if not re.fullmatch(lacking, name)}
    torch.save({"model": state}, tmp_path / "file.pth")
    if refused:
        with pytest.raises(WeightsError, match="does not fit"):
            load_foreign(tmp_path / "file.pth", adapt_mae, SIZE)
    _, report = load_foreign(tmp_path / "file.pth", adapt_mae, SIZE, allow_partial=refused)
    assert report.share > 0.95
    assert report.refused == refused
    assert not report.complete
    assert f"{len(state)} of 150 tensors matched" in report.text()


def test_unknown_tensors_are_named_and_make_a_file_incomplete(tmp_path):
    scales = {f"blocks.{i}.ls1.gamma": torch.full((DIM,), 1e-5) for i in range(DEPTH)}
    torch.save({"model": vit_state(128) | scales}, tmp_path / "file.pth")
    _, report = load_foreign(tmp_path / "file.pth", adapt_mae, SIZE)
    assert report.unexpected == tuple(scales)
    assert not report.complete
    assert not report.refused
    assert "unexpected (12): blocks.0.ls1.gamma" in report.text()


def test_an_mae_that_was_fine_tuned_on_the_mean_is_told_of(tmp_path):
    state = vit_state(128)
    state |= {f"fc_norm.{name}": state.pop(f"norm.{name}") for name in ("weight", "bias")}
    torch.save({"model": state | {"head.weight": torch.zeros(7, DIM)}}, tmp_path / "file.pth")
    encoder, report = load_foreign(tmp_path / "file.pth", adapt_mae, SIZE)
    assert "its fc_norm, which follows that mean, has no place here" in report.note
    assert report.missing == ("norm.weight", "norm.bias")
    assert report.unexpected == ("fc_norm.weight", "fc_norm.bias")
    assert report.dropped == ("head.weight",)
    assert torch.equal(encoder.weights()["norm.weight"], torch.ones(DIM))


def test_another_architecture_is_named(tmp_path):
    torch.save({"model": {"conv1.weight": torch.zeros(2)}}, tmp_path / "resnet.pth")
    with pytest.raises(WeightsError, match=r"no ViT: it has no patch_embed\.proj\.weight.*conv1\.weight"):
        load_foreign(tmp_path / "resnet.pth", adapt_mae, SIZE)
    with pytest.raises(WeightsError, match="no name begins with visual"):
        load_foreign(tmp_path / "resnet.pth", adapt_stablerep, SIZE)


def test_any_timm_model_is_taken_with_its_wrapping(tmp_path):
    import timm

    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=7).eval()
    save_file(model.state_dict(), tmp_path / "plain.safetensors")
    moco = {f"module.encoder_q.{name}": w for name, w in model.state_dict().items()}
    torch.save({"state_dict": moco}, tmp_path / "moco.pth")
    x = torch.randn(1, 3, 64, 32)
    with torch.no_grad():
        expected = model.forward_features(x)
    for name in ("plain.safetensors", "moco.pth"):
        encoder, report = load_foreign(tmp_path / name, timm_model("resnet18"), (64, 32))
        assert report.complete
        assert set(report.dropped) == {"fc.weight", "fc.bias"}
        with torch.no_grad():
            torch.testing.assert_close(encoder(x).grid, expected)


class Bomb:
    """Unpickled freely, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_code_in_a_file_is_refused_and_not_run(tmp_path):
    target = tmp_path / "executed"
    torch.save({"model": Bomb(target)}, tmp_path / "bomb.pth")
    with pytest.raises(WeightsError, match=r"bomb\.pth holds more than tensors"):
        read_weights(tmp_path / "bomb.pth")
    assert not target.exists()
    with (tmp_path / "plain.pkl").open("wb") as file:
        pickle.dump(Bomb(target), file)
    with pytest.raises(WeightsError):
        read_weights(tmp_path / "plain.pkl")
    assert not target.exists()


def test_damaged_and_missing_files_are_told_of(tmp_path):
    torch.save({"model": {"a": torch.zeros(4000)}}, tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(content[: len(content) // 2])
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\x00\x00")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "page.pth").write_text("hello world\n" * 100)
    for name, words in (("cut.pth", "cannot be read"), ("cut.safetensors", "cannot be read"),
                        ("page.pth", r"page\.pth is no weight file, or is damaged"),
                        ("list.pth", "not tensors by name"), ("none.pth", "There is no weight file")):  # fmt: skip
        with pytest.raises(WeightsError, match=words):
            read_weights(tmp_path / name)


def test_files_in_torchs_old_format_are_refused_wherever_they_end(tmp_path):
    torch.save({"a": torch.zeros(40), "epoch": 1}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "old.pth").read_bytes()
    assert read_weights(tmp_path / "old.pth")["epoch"] == 1
    for length in range(len(content)):
        (tmp_path / "cut.pth").write_bytes(content[:length])
        with pytest.raises(WeightsError, match=r"cut\.pth"):
            read_weights(tmp_path / "cut.pth")
