"""Which layout a file is in, and what the method `checkpoint` makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
import torch.nn.functional as F

from hcbench.data.augment import normalise
from hcbench.errors import WeightsError
from hcbench.methods.base import Context
from hcbench.methods.checkpoint.card import OWN, Config, check_layout, layout_title
from hcbench.methods.checkpoint.layouts import adapter, recognise
from hcbench.methods.checkpoint.method import Checkpoint, load
from hcbench.methods.imagenet.method import ImageNet
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder
from hcbench.methods.parts.checkpoint import load_encoder, save_encoder
from hcbench.methods.parts.weights.fitting import load_foreign
from hcbench.methods.parts.weights.foreign import resnet, timm_model
from hcbench.methods.weight_layout import known_layouts

SIZE = (64, 32)
W = torch.zeros(1)
VIT = {"patch_embed.proj.weight": W, "cls_token": W, "blocks.0.attn.qkv.weight": W}


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    return timm.create_model("test_vit", num_classes=5).eval()


@pytest.mark.parametrize(
    ("tree", "layout"),
    [
        ({"teacher": {"backbone.stages.0.blocks.0.attn.w_msa.qkv.weight": W}}, "solider"),
        ({"base.stages.0.blocks.0.attn.w_msa.qkv.weight": W, "classifier.weight": W}, "solider"),
        ({"ImgEncoder_state_dict": {"attnpool.positional_embedding": W}}, "plip"),
        ({"model": {"visual.patch_embed.proj.weight": W, "image_mlp.bn1.weight": W}}, "stablerep"),
        ({"student": {f"module.backbone.{n}": W for n in VIT}, "teacher": {f"backbone.{n}": W for n in VIT}}, "dino"),
        ({"arch": "pose_mae_vit", "model": {**VIT, "decoder_embed.weight": W}}, "hap"),
        ({"model": {**VIT, "decoder_embed.weight": W}}, "mae"),
        ({"state_dict": {"module.encoder_q.layer1.0.conv2.weight": W, "module.encoder_q.layer4.0.conv2.weight": W}},
         "resnet"),
        ({"model": VIT}, None),
        (VIT, None),
        ({"visual.attnpool.positional_embedding": W, "token_embedding.weight": W}, None),
        ({"anything": W}, None),
        ({"epoch": 3}, None),
    ],
)  # fmt: skip
def test_only_plain_layouts_are_recognised(tree, layout):
    assert recognise(tree) == layout


def test_every_layout_has_an_adapter():
    for name in known_layouts():
        assert callable(adapter(name)), name
    assert layout_title("solider") == "SOLIDER"
    assert layout_title("timm:vit_tiny") == "timm:vit_tiny"
    assert callable(adapter("plip"))
    assert callable(adapter("timm:resnet18"))
    with pytest.raises(WeightsError, match="'stablrep'") as error:
        check_layout("stablrep")
    assert "'stablerep'" in error.value.hint
    with pytest.raises(WeightsError, match="no model 'resnet5'") as error:
        adapter("timm:resnet5")
    assert "resnet50" in error.value.hint
    for wrong in ("timm:", OWN):
        with pytest.raises(WeightsError, match="No layout"):
            adapter(wrong)


def resnet_state(blocks, deep, g):
    """A ResNet in torchvision's names."""
    out = {}

    def unit(conv, norm, o, i, k, gain=1.0):
        out[f"{conv}.weight"] = torch.randn(o, i, k, k, generator=g) * (2 / (i * k * k)) ** 0.5
        out[f"{norm}.weight"] = gain + 0.1 * torch.randn(o, generator=g)
        for name in ("bias", "running_mean"):
            out[f"{norm}.{name}"] = 0.1 * torch.randn(o, generator=g)
        out[f"{norm}.running_var"] = 0.5 + torch.rand(o, generator=g)
        out[f"{norm}.num_batches_tracked"] = torch.tensor(3)

    unit("conv1", "bn1", 64, 3, 7)
    width = 64
    for layer, count in enumerate(blocks, 1):
        inner = 32 * 2**layer
        outer = 4 * inner if deep else inner
        sizes = [(inner, 0, 1), (inner, inner, 3), (outer, inner, 1)] if deep else [(inner, 0, 3), (inner, inner, 3)]
        for block in range(count):
            b = f"layer{layer}.{block}"
            for number, (o, i, k) in enumerate(sizes, 1):
                unit(f"{b}.conv{number}", f"{b}.bn{number}", o, i or width, k, 0.3 if number == len(sizes) else 1.0)
            if block == 0 and (width != outer or layer > 1):
                unit(f"{b}.downsample.0", f"{b}.downsample.1", outer, width, 1)
            width = outer
    return out | {"fc.weight": torch.zeros(10, width), "fc.bias": torch.zeros(10)}


def resnet_map(state, x, blocks, deep):
    """The last map from torchvision's definition: the stride stands in the 3x3 convolution of a bottleneck."""

    def unit(x, conv, norm, stride=1):
        weight = state[f"{conv}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        return F.batch_norm(x, *(state[f"{norm}.{n}"] for n in ("running_mean", "running_var", "weight", "bias")))

    x = F.max_pool2d(F.relu(unit(x, "conv1", "bn1", 2)), 3, stride=2, padding=1)
    for layer, count in enumerate(blocks, 1):
        for block in range(count):
            b, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            if deep:
                y = F.relu(unit(x, f"{b}.conv1", f"{b}.bn1"))
                y = F.relu(unit(y, f"{b}.conv2", f"{b}.bn2", stride))
                y = unit(y, f"{b}.conv3", f"{b}.bn3")
            else:
                y = unit(F.relu(unit(x, f"{b}.conv1", f"{b}.bn1", stride)), f"{b}.conv2", f"{b}.bn2")
            if f"{b}.downsample.0.weight" in state:
                x = unit(x, f"{b}.downsample.0", f"{b}.downsample.1", stride)
            x = F.relu(x + y)
    return x


@pytest.mark.parametrize(
    ("blocks", "deep", "prefix"), [((2, 2, 2, 2), False, ""), ((3, 4, 6, 3), True, "module.encoder_q.")]
)
def test_a_resnet_computes_what_torchvisions_does(blocks, deep, prefix, tmp_path):
    g = torch.Generator().manual_seed(0)
    state = resnet_state(blocks, deep, g)
    torch.save({"state_dict": {f"{prefix}{name}": w for name, w in state.items()}}, tmp_path / "moco.pth")
    encoder, report = load_foreign(tmp_path / "moco.pth", resnet, SIZE)
    assert report.complete
    assert report.share == 1.0
    assert report.dropped == ("fc.weight", "fc.bias")
    assert report.note.startswith("resnet50" if deep else "resnet18")
    x = torch.randn(2, 3, *SIZE, generator=g)
    with torch.no_grad():
        expected = resnet_map(state, x, blocks, deep)
        torch.testing.assert_close(encoder(x).grid, expected, atol=1e-4, rtol=1e-4)
    assert expected.abs().mean() > 0.1, "the reference's map says something"


def test_counters_may_lack_and_moco_may_hold_its_keys(tmp_path):
    """Files of before torch .4.1 count no batches; MoCo's hold a second encoder and a queue."""
    state = resnet_state((2, 2, 2, 2), False, torch.Generator().manual_seed(0))
    state = {name: w for name, w in state.items() if not name.endswith("num_batches_tracked")}
    keys = {"module.encoder_k.conv1.weight": torch.zeros(1), "module.queue": torch.zeros(2, 3), "module.queue_ptr": W}
    torch.save({"state_dict": {f"module.encoder_q.{n}": w for n, w in state.items()} | keys}, tmp_path / "moco.pth")
    _, report = load_foreign(tmp_path / "moco.pth", resnet, SIZE)
    assert report.complete
    assert report.dropped == ("encoder_k.conv1.weight", "queue", "queue_ptr", "fc.weight", "fc.bias")


def test_the_imagenet_control_takes_whole_files_alone(vit, tmp_path):
    state = {name: w for name, w in vit.state_dict().items() if name != "norm.weight"}
    for name, given in (("whole", vit.state_dict()), ("part", state)):
        torch.save(given, tmp_path / f"{name}.pth")
    context = Context(input_size=SIZE, backbone="timm:test_vit", files={"weights": str(tmp_path / "whole.pth")})
    encoder = ImageNet.own_encoder(None, context)
    assert torch.equal(encoder.weights()["cls_token"], vit.state_dict()["cls_token"])
    with pytest.raises(WeightsError, match=r"part\.pth is not all of timm:test_vit") as refusal:
        ImageNet.own_encoder(None, replace(context, files={"weights": str(tmp_path / "part.pth")}))
    assert "--as timm:test_vit" in refusal.value.hint


def test_a_resnet_of_no_known_depth_is_told_of(tmp_path):
    state = resnet_state((1, 2, 2, 2), False, torch.Generator().manual_seed(0))
    with pytest.raises(WeightsError, match=r"1, 2, 2, 2 blocks .* none of torchvision's"):
        resnet(state, SIZE)


def test_pixels_are_normalised_as_the_weights_expect(tmp_path):
    """timm's ViT-Ti was trained with mean and deviation .5, hcbench feeds ImageNet's."""
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=SIZE).eval()
    torch.save(model.state_dict(), tmp_path / "vit.pth")
    encoder, report = load_foreign(tmp_path / "vit.pth", timm_model("vit_tiny_patch16_224"), SIZE)
    assert report.complete
    images = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8)
    save_encoder(encoder, tmp_path / "cell")
    with torch.no_grad():
        expected = model(images / 127.5 - 1)
        torch.testing.assert_close(encoder(normalise(images)).pooled, expected, atol=1e-4, rtol=0)
        again = load_encoder(tmp_path / "cell")
        torch.testing.assert_close(again(normalise(images)).pooled, expected, atol=1e-4, rtol=0)


def test_the_control_has_the_same_network_and_other_weights(vit, tmp_path):
    torch.save(vit.state_dict(), tmp_path / "file.pth")
    files = {"weights": tmp_path / "file.pth"}
    given, report = load(Config(layout="timm:test_vit"), files, SIZE)
    random, none = load(Config(layout="timm:test_vit", random=True), files, SIZE)
    assert report is not None
    assert none is None
    assert {n: w.shape for n, w in random.weights().items()} == {n: w.shape for n, w in given.weights().items()}
    name = "blocks.0.attn.qkv.weight"
    assert torch.equal(given.weights()[name], vit.state_dict()[name])
    assert not torch.equal(random.weights()[name], vit.state_dict()[name])
    again, _ = load(Config(layout="timm:test_vit", random=True), files, SIZE)
    assert torch.equal(again.weights()[name], random.weights()[name])


def test_a_checkpoint_of_hcbench_is_taken_as_it_is(tmp_path):
    encoder = build_encoder(EncoderSpec("timm:test_vit", *SIZE), seed=3)
    save_encoder(encoder, tmp_path / "checkpoint")
    context = Context(input_size=(32, 32), files={"weights": str(tmp_path / "checkpoint")})
    own = Checkpoint.own_encoder(Config(layout=OWN), context)
    assert own.input_size == SIZE
    assert all(torch.equal(w, encoder.weights()[name]) for name, w in own.weights().items())
    random = Checkpoint.own_encoder(Config(layout=OWN, random=True), context)
    assert not torch.equal(random.weights()["cls_token"], encoder.weights()["cls_token"])
    with pytest.raises(WeightsError, match="given no file"):
        Checkpoint.own_encoder(Config(layout=OWN), Context(input_size=SIZE))
