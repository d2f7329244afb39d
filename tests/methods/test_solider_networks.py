"""SOLIDER's semantic controller on Swin and ViT, and the encoder that keeps it as a knob."""

from __future__ import annotations

import json

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from solider_toys import SIZE, batch, encoder, generator, make

from hcbench.errors import ConfigError, MethodError
from hcbench.methods.parts.checkpoint import load_encoder, save_encoder
from hcbench.methods.parts.encoder import encode_all
from hcbench.methods.solider.networks import ControlledSwin, ControlledVit, Controller, controlled


def test_controller_of_a_swin_t_has_the_official_parameters():
    controller = Controller([192, 384, 768], start="official", dead=[768])
    assert sum(p.numel() for p in controller.parameters()) == 12_672
    assert [p.requires_grad for p in controller.scale.parameters()] == [True] * 6 + [False] * 2
    assert 0.015 < controller.scale[2].weight.std() < 0.025
    # softplus(~0): features shrink at first.
    shrunk = controller(torch.ones(2, 5, 192), 0, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(shrunk, torch.full_like(shrunk, 0.6931), atol=0.15, rtol=0)


def test_controller_is_the_affine_map_of_the_paper():
    torch.manual_seed(0)
    controller = Controller([6], start="official")
    x, lam = torch.randn(2, 3, 4, 6), torch.tensor([0.3, 1.0])
    out = controller(x, 0, lam)
    for image in range(2):
        s = torch.tensor([lam[image], 1 - lam[image]])
        w = F.softplus(controller.scale[0].weight @ s + controller.scale[0].bias)
        expected = x[image] * w + controller.shift[0].weight @ s + controller.shift[0].bias
        torch.testing.assert_close(out[image], expected)


@torch.no_grad()
def test_reach_of_the_controller():
    controller = Controller([6, 4], start="identity", dead=[4])
    assert controller.reach() == 0
    controller.shift[1].weight[:, 0] = 3.0  # 4 of the 20 numbers that lambda may change
    assert controller.reach() == pytest.approx((4 * 9 / 20) ** 0.5)
    controller.scale[2].weight.fill_(5.0)  # nothing reads it
    assert controller.reach() == pytest.approx((4 * 9 / 20) ** 0.5)
    assert make().diagnostics() == {"lambda_reach": 0.0}


@torch.no_grad()
def test_lambda_changes_maps_two_to_four_of_a_swin_and_not_the_first():
    swin = controlled(encoder("swin-mini", (64, 32)), default_lambda=0.25).eval()
    assert isinstance(swin, ControlledSwin)
    images = torch.randn(3, 3, 64, 32, generator=generator())
    none, full = (swin(images, **{"lambda": value}) for value in (0.0, 1.0))
    assert torch.equal(none.maps[0], full.maps[0])
    assert all(not torch.allclose(a, b, atol=1e-5) for a, b in zip(none.maps[1:], full.maps[1:], strict=True))
    assert torch.equal(none.maps[3], none.grid)
    torch.testing.assert_close(none.pooled, none.grid.mean(dim=(2, 3)))
    # One number, one per image, and the default.
    mixed = swin(images, **{"lambda": torch.tensor([0.0, 1.0, 0.25])}).pooled
    for image, value in enumerate((0.0, 1.0, None)):
        alone = swin(images, **({} if value is None else {"lambda": value})).pooled
        torch.testing.assert_close(mixed[image], alone[image], atol=1e-5, rtol=1e-5)
    swin.controller.scale[3].weight.fill_(9.0)
    assert torch.equal(swin(images, **{"lambda": 1.0}).pooled, full.pooled)


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["swin-mini", "vit-mini8", "vit-mini16-res"])
def test_identity_start_is_the_plain_backbone(backbone):
    plain = encoder(backbone, (64, 32)).eval()
    images = torch.randn(2, 3, 64, 32, generator=generator())
    expected = plain(images)
    found = controlled(plain, default_lambda=0.0, start="identity").eval()(images, **{"lambda": 0.7})
    torch.testing.assert_close(found.pooled, expected.pooled, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.grid, expected.grid, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_first_quarter_of_a_vit_stays_free_of_lambda():
    vit = controlled(encoder(), default_lambda=0.0, start="official").eval()
    assert isinstance(vit, ControlledVit)
    assert vit.entries == [1, 3, 4]
    assert controlled(encoder("vit-mini16-res", (64, 32)), default_lambda=0.0).entries == [1, 2, 3]
    seen = {}
    for index, block in enumerate(vit.backbone.blocks):
        block.register_forward_hook(lambda m, i, out, index=index: seen.setdefault(index, []).append(out))
    images = torch.randn(2, 3, *SIZE, generator=generator())
    for value in (0.0, 1.0):
        vit(images, **{"lambda": value})
    assert torch.equal(*seen[0])
    assert all(not torch.allclose(*seen[index], atol=1e-6) for index in range(1, 6))


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["vit-mini8", "swin-mini"])
def test_checkpoint_keeps_the_knob(backbone, tmp_path):
    encoded = controlled(encoder(backbone, (64, 32)), default_lambda=0.3, start="official").eval()
    save_encoder(encoded, tmp_path)
    loaded = load_encoder(tmp_path)
    images = torch.randn(2, 3, 64, 32, generator=generator())
    for knobs in ({}, {"lambda": 0.3}, {"lambda": 1.0}):
        assert torch.equal(loaded(images, **knobs).pooled, encoded(images, **knobs).pooled)
    assert torch.equal(loaded(images).pooled, loaded(images, **{"lambda": 0.3}).pooled)
    assert not torch.equal(loaded(images).pooled, loaded(images, **{"lambda": 1.0}).pooled)
    pixels = batch(3, (64, 32)).images.numpy()
    assert not torch.equal(encode_all(loaded, pixels).pooled, encode_all(loaded, pixels, **{"lambda": 1.0}).pooled)
    # Plain timm takes the backbone's part, as networks.py says.
    facts = json.loads((tmp_path / "encoder.json").read_text())
    model = timm.create_model(facts["timm"]["model"], **facts["timm"]["arguments"])
    weights = load_file(tmp_path / "encoder.safetensors")
    assert any(name.startswith("controller.") for name in weights)
    model.load_state_dict({name: w for name, w in weights.items() if not name.startswith("controller.")})


def test_knob_errors():
    vit = controlled(encoder(), default_lambda=0.0)
    images = torch.zeros(1, 3, *SIZE)
    with pytest.raises(ConfigError, match="mu"):
        vit(images, mu=0.2)
    with pytest.raises(ConfigError, match=r"1\.2"):
        vit(images, **{"lambda": 1.2})
    with pytest.raises(MethodError, match="no"):
        make("resnet18", (64, 32))
