from __future__ import annotations

import importlib
import json
import re

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

from hcbench.errors import ConfigError, WeightsError
from hcbench.methods.parts.backbones import PRESETS, EncoderSpec, VitEncoder, build_encoder, sincos_positions
from hcbench.methods.parts.checkpoint import load_encoder, save_encoder
from hcbench.methods.parts.encoder import encode_all, normalise

VITS = [name for name in PRESETS if name.startswith("vit")]


def build(backbone="vit-mini16", extra_tokens=(), seed=0, height=64, width=32):
    return build_encoder(EncoderSpec(backbone, height, width, extra_tokens), seed)


def images(batch=2, height=64, width=32):
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "backbone", [*PRESETS, "timm:resnet18", "swin_tiny_patch4_window7_224", "vit_tiny_patch16_224"]
)
def test_every_backbone_gives_pooled_and_grid(backbone):
    encoder = build(backbone)
    out = encoder(images())
    assert out.pooled.shape == (2, encoder.dim)
    assert out.grid.shape == (2, encoder.dim, *encoder.grid_size)
    assert out.tokens == {}
    assert encoder.input_size == (64, 32)
    assert not torch.allclose(out.pooled[0], out.pooled[1])


@pytest.mark.parametrize("backbone", VITS)
def test_extra_tokens_are_named_in_order(backbone):
    encoder = build(backbone, ("pose", "view"))
    with torch.no_grad():
        tokens = encoder.backbone.forward_features(images())
        out = encoder(images())
    torch.testing.assert_close(out.pooled, tokens[:, 0])
    torch.testing.assert_close(out.tokens["pose"], tokens[:, 1])
    torch.testing.assert_close(out.tokens["view"], tokens[:, 2])
    torch.testing.assert_close(out.grid[:, :, 0, 1], tokens[:, 3 + 1])
    torch.testing.assert_close(out.grid[:, :, 1, 0], tokens[:, 3 + encoder.grid_size[1]])


def test_same_seed_same_weights_whatever_ran_before():
    first = build(seed=3).state_dict()
    torch.rand(17)
    again, other = build(seed=3).state_dict(), build(seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["backbone.blocks.0.attn.qkv.weight"], other["backbone.blocks.0.attn.qkv.weight"])


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build()
    assert torch.equal(torch.rand(3), expected)


def test_initialisation_is_maes():
    vit = build(extra_tokens=("pose",)).backbone
    weight = vit.blocks[0].attn.qkv.weight
    bound = (6 / sum(weight.shape)) ** 0.5
    assert weight.abs().max() <= bound
    assert weight.abs().max() > 0.99 * bound
    assert not vit.blocks[0].attn.qkv.bias.any()
    assert 0.015 < vit.reg_token.std() < 0.025
    assert not vit.pos_embed.requires_grad
    assert not vit.pos_embed[0, :2].any()
    torch.testing.assert_close(vit.pos_embed[0, 2:], sincos_positions((4, 2), 192))


def test_positions_literally():
    got = sincos_positions((3, 2), 16)
    for row in range(3):
        for column in range(2):
            omega = [1 / 10000 ** (i / 4) for i in range(4)]
            expected = [f(c * w) for c in (column, row) for f in (np.sin, np.cos) for w in omega]
            np.testing.assert_allclose(got[row * 2 + column], expected, atol=1e-6)
    with pytest.raises(ConfigError, match="18"):
        sincos_positions((3, 2), 18)


@pytest.mark.parametrize("backbone", VITS)
def test_all_patches_visible_equals_the_plain_forward(backbone):
    encoder = build(backbone, ("pose",)).eval()
    batch, count = images(), encoder.grid_size[0] * encoder.grid_size[1]
    with torch.no_grad():
        tokens = encoder.encode_visible(batch, torch.arange(count).expand(2, count))
        out = encoder(batch)
    torch.testing.assert_close(tokens[:, 0], out.pooled, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(tokens[:, 2:].transpose(1, 2).reshape(out.grid.shape), out.grid, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("backbone", VITS)
def test_hidden_patches_do_not_leak(backbone):
    """Changing the pixels of hidden patches changes no visible token, in training mode too."""
    encoder = build(backbone, ("pose",)).train()
    if "stem" in backbone:
        encoder.eval()  # batch norm of the overlapping stem takes statistics over places, hidden ones are constant
    size, (rows, columns) = encoder.patch_size, encoder.grid_size
    first, second = images(), images()
    second[:, :, : size[0], : size[1]] = 9.0  # patch 0
    keep = torch.arange(1, rows * columns).expand(2, -1)
    with torch.no_grad():
        assert torch.equal(encoder.encode_visible(first, keep), encoder.encode_visible(second, keep))
        seen = torch.arange(rows * columns - 1).expand(2, -1)
        assert not torch.allclose(encoder.encode_visible(first, seen), encoder.encode_visible(second, seen))


@pytest.mark.parametrize("backbone", ["vit-mini16", "vit-mini16-res", "vit-mini16-stem"])
def test_several_masks_at_once_equal_one_by_one(backbone):
    encoder = build(backbone).eval()
    keeps = torch.tensor([[0, 3, 5], [1, 2, 7], [2, 4, 6], [0, 1, 2]])
    with torch.no_grad():
        both = encoder.encode_visible(images(), keeps)
        each = torch.cat([encoder.encode_visible(images(), part) for part in keeps.chunk(2)])
    torch.testing.assert_close(both, each, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("backbone", VITS)
def test_other_sizes_are_encoded_too(backbone):
    encoder = build(backbone)
    out = encoder(images(height=32, width=32))
    assert out.grid.shape[2:] == (32 // encoder.patch_size[0], 32 // encoder.patch_size[1])


@pytest.mark.parametrize("backbone", [*PRESETS, "resnet18"])
def test_checkpoint_round_trip(backbone, tmp_path):
    encoder = build(backbone, ("pose",) if backbone.startswith("vit") else ()).eval()
    save_encoder(encoder, tmp_path)
    loaded = load_encoder(tmp_path)
    with torch.no_grad():
        assert torch.equal(loaded(images()).grid, encoder(images()).grid)
    assert not loaded.training
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("backbone", VITS)
def test_plain_timm_loads_the_checkpoint(backbone, tmp_path):
    encoder = build(backbone, ("pose",)).eval()
    save_encoder(encoder, tmp_path)
    facts = json.loads((tmp_path / "encoder.json").read_text())
    stem = {}
    if "stem" in facts:
        module, _, name = facts["stem"].partition(":")
        stem = {"embed_layer": getattr(importlib.import_module(module), name)}
    assert bool(stem) == (PRESETS[backbone].stem is not None)
    plain = timm.create_model(facts["timm"]["model"], **facts["timm"]["arguments"], **stem).eval()
    plain.load_state_dict(load_file(tmp_path / "encoder.safetensors"))
    with torch.no_grad():
        torch.testing.assert_close(plain(images()), encoder(images()).pooled)


def test_checkpoint_errors(tmp_path):
    with pytest.raises(WeightsError, match=r"encoder\.safetensors"):
        load_encoder(tmp_path)
    save_encoder(build(), tmp_path)
    text = (tmp_path / "encoder.json").read_text()
    (tmp_path / "encoder.json").write_text(text.replace("vit-mini16", "vit-mini8"))
    with pytest.raises(WeightsError, match="does not fit"):
        load_encoder(tmp_path)
    (tmp_path / "encoder.json").write_text(text.replace("VitEncoder", "EncoderSpec"))
    with pytest.raises(WeightsError, match="no encoder class"):
        load_encoder(tmp_path)
    (tmp_path / "encoder.json").write_text(text.replace("VitEncoder", "Missing"))
    with pytest.raises(WeightsError, match="cannot be imported"):
        load_encoder(tmp_path)


def test_damaged_checkpoints_are_told_of(tmp_path):
    save_encoder(build(), tmp_path)
    for name in ("encoder.safetensors", "encoder.json"):
        content = (tmp_path / name).read_bytes()
        for length in (0, 5, len(content) // 2, len(content) - 3):
            (tmp_path / name).write_bytes(content[:length])
            with pytest.raises(WeightsError, match=rf"{re.escape(name)} cannot be read"):
                load_encoder(tmp_path)
        (tmp_path / name).write_bytes(content)
    facts = json.loads((tmp_path / "encoder.json").read_text())
    for wrong, words in (
        ({name: facts[name] for name in facts if name != "arguments"}, "has no entry arguments"),
        ([], "has no entry implementation and no entry arguments"),
        (facts | {"arguments": {}}, "build no VitEncoder"),
        (facts | {"arguments": facts["arguments"] | {"spec": {"breadth": 3}}}, "build no VitEncoder"),
    ):
        (tmp_path / "encoder.json").write_text(json.dumps(wrong))
        with pytest.raises(WeightsError, match=words):
            load_encoder(tmp_path)


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        (EncoderSpec("vit-mini61", 64, 32), "vit-mini61", "'vit-mini16'"),
        (EncoderSpec("timm:nothing", 64, 32), "nothing", "timm.list_models"),
        (EncoderSpec("resnet18", 64, 32, ("pose",)), "pose", "ViT"),
        (EncoderSpec("vit-mini16", 60, 32), "60x32", "multiples of the patch size; the nearest is 64x32: --size 64x32"),
        (EncoderSpec("vit_small_patch14_dinov2", 128, 64), "128x64", "the nearest is 126x70"),
        (EncoderSpec("swin_tiny_patch4_window7_224", 126, 70), "patches of 4x4", "the nearest is 128x72"),
        (EncoderSpec("mixer_s16_224", 224, 224), "mixer_s16_224", "Swin"),
    ],
)
def test_build_errors(spec, message, hint):
    with pytest.raises(ConfigError, match=message) as error:
        build_encoder(spec, 0)
    assert hint in error.value.hint


def test_knobs_are_refused_by_encoders_without_them():
    for backbone in ("vit-mini16", "resnet18"):
        with pytest.raises(ConfigError, match="semantic"):
            build(backbone)(images(), semantic=0.5)


def test_encode_all_is_evaluation_mode_in_batches():
    encoder = build("vit-mini16-stem", ("pose",)).train()
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 64, 32), dtype=np.uint8)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    out = encode_all(encoder, pixels, batch_size=2)
    assert encoder.training
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    encoder.eval()
    whole = encoder(normalise(torch.from_numpy(pixels)))
    torch.testing.assert_close(out.pooled, whole.pooled, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(out.grid, whole.grid, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(out.tokens["pose"], whole.tokens["pose"], atol=1e-5, rtol=1e-4)
    assert not out.pooled.requires_grad
    empty = encode_all(encoder, pixels[:0])
    assert empty.pooled.shape == (0, 192)


def test_subclasses_come_back_as_themselves(tmp_path):
    encoder = Shifted(EncoderSpec("vit-mini16", 64, 32), build().backbone, shift=2.0).eval()
    save_encoder(encoder, tmp_path)
    # importlib mode gives test modules names that cannot be imported; the class is looked up where it is
    facts = json.loads((tmp_path / "encoder.json").read_text())
    assert facts["implementation"].endswith(":Shifted")
    loaded = Shifted.from_arguments(facts["arguments"])
    loaded.load_weights(load_file(tmp_path / "encoder.safetensors"))
    assert isinstance(loaded, Shifted)
    torch.testing.assert_close(loaded.eval()(images()).pooled, encoder(images()).pooled)


class Shifted(VitEncoder):
    """An encoder of one's own, with an argument more."""

    def __init__(self, spec, model, shift):
        super().__init__(spec, model)
        self.shift = shift

    def arguments(self):
        return {**super().arguments(), "shift": self.shift}

    def embed(self, images):
        return super().embed(images) + self.shift
