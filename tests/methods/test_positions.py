"""On which grid a file's positions lie, and how they come to the input's."""

from __future__ import annotations

import argparse

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed
from timm.models.swin_transformer import checkpoint_filter_fn as swin_filter
from timm.models.vision_transformer import checkpoint_filter_fn as vit_filter

from hcbench.data.augment import IMAGENET_MEAN, IMAGENET_STD
from hcbench.errors import WeightsError
from hcbench.methods.hap.weights import adapt as adapt_hap
from hcbench.methods.parts.backbones import sincos_positions
from hcbench.methods.parts.weights.fitting import Told, fitted, load_foreign
from hcbench.methods.parts.weights.foreign import timm_model
from hcbench.methods.parts.weights.positions import Known, fit_positions
from hcbench.methods.parts.weights.training_size import told_sizes

WIDTH = 16
PIXELS = (16, 16)
SEEDS = range(3)


def noise(count, seed=0):
    return torch.randn(1, count, WIDTH, generator=torch.Generator().manual_seed(seed))


def learned(grid, prefix=1, seed=0):
    """A table as training leaves it: sin-cos positions with noise of a third of their deviation."""
    table = sincos_positions(grid, WIDTH)[None]
    table = table + 0.3 * table.std() * noise(table.shape[1], seed)
    return torch.cat([noise(prefix, seed + 1), table], dim=1)


def fit(table, target, prefix=1, **known):
    state, said = fit_positions(
        {"pos_embed": table}, "pos_embed", torch.zeros(1, prefix + target[0] * target[1], WIDTH), target, PIXELS,
        Known(**known),
    )  # fmt: skip
    return state["pos_embed"], said


def resampled(table, old, new, prefix=1):
    return resample_abs_pos_embed(table, list(new), old_size=list(old), num_prefix_tokens=prefix)


@pytest.mark.parametrize("grid", [(14, 14), (16, 8), (15, 5), (32, 16), (37, 37), (2, 1)])
@pytest.mark.parametrize("target", [(16, 8), (24, 8), (16, 12)])
def test_a_number_that_fits_one_shape_of_the_field_is_that_grid(grid, target):
    table = torch.cat([noise(1), noise(grid[0] * grid[1], 1)], dim=1)
    found, said = fit(table, target)
    assert torch.equal(found, table if grid == target else resampled(table, grid, target))
    assert said == () if grid == target else f"{grid[0]} x {grid[1]}" in said[0]


@pytest.mark.parametrize("target", [(24, 8), (16, 12), (16, 8)])
@pytest.mark.parametrize(("size", "grid"), [((256, 192), (16, 12)), ((384, 128), (24, 8)), ((390, 135), (24, 8))])
@pytest.mark.parametrize("teller", ["user", "file", "layout"])
def test_what_is_said_decides_between_grids_of_one_number(teller, size, grid, target):
    """192 positions are 16 x 12 and 24 x 8; what is left over at the edges of an input has no position."""
    table = torch.cat([noise(1), noise(192, 1)], dim=1)
    known = {"user": {"user": size}, "file": {"file": {size: "args.img_size"}}, "layout": {"layout": [size]}}[teller]
    found, said = fit(table, target, **known)
    assert torch.equal(found, resampled(table, grid, target))
    assert torch.equal(found, table) == (grid == target)
    assert f"a grid of {grid[0]} x {grid[1]}" in said[0]


@pytest.mark.parametrize("target", [(24, 8), (16, 12), (14, 14)])
@pytest.mark.parametrize("grid", [(24, 8), (16, 12)])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_learned_table_tells_its_grid_itself(grid, target, seed):
    table = learned(grid, seed=seed)
    found, said = fit(table, target)
    assert torch.equal(found, resampled(table, grid, target))
    assert "neighbours in the table say" in said[0]


@pytest.mark.parametrize("target", [(24, 8), (16, 12), (14, 14)])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_nobody_says_is_refused_with_the_candidates(target, seed):
    """Also where the input's own grid is among them."""
    with pytest.raises(WeightsError, match=r"24 x 8 \(384x128\) or 16 x 12 \(256x192\)") as refusal:
        fit(torch.cat([noise(1), noise(192, seed)], dim=1), target)
    assert "--weights-size 384x128 or --weights-size 256x192" in refusal.value.hint


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("grid", [(12, 16), (8, 24)])
def test_a_learned_table_of_a_grid_that_nobody_thought_of_is_refused(grid, seed):
    with pytest.raises(WeightsError, match="nothing in the file says"):
        fit(learned(grid, seed=seed), (24, 8))
    found, _ = fit(learned(grid, seed=seed), (24, 8), user=(16 * grid[0], 16 * grid[1]))
    assert torch.equal(found, resampled(learned(grid, seed=seed), grid, (24, 8)))


def test_an_input_of_no_usual_shape_with_as_many_positions_is_one_candidate():
    table = torch.cat([noise(1), noise(84, 1)], dim=1)
    found, said = fit(table, (14, 6))
    assert torch.equal(found, table)
    assert "no usual shape" in said[0]
    square = torch.cat([noise(1), noise(196, 1)], dim=1)
    with pytest.raises(WeightsError, match=r"14 x 14 \(224x224\) or 28 x 7 \(448x112\)"):
        fit(square, (28, 7))
    found, said = fit(square, (28, 7), layout=[(224, 224)])
    assert torch.equal(found, resampled(square, (14, 14), (28, 7)))
    assert "this layout's 224x224" in said[0]


def test_numbers_of_no_grid_and_sizes_of_another_number_are_refused():
    with pytest.raises(WeightsError, match="table of 211 positions, 210 of them of patches, is no grid") as refusal:
        fit(noise(211), (16, 8))
    assert "210 positions fit 240x224, 336x160." in refusal.value.hint
    found, _ = fit(noise(211), (16, 8), user=(336, 160))
    assert torch.equal(found, resampled(noise(211), (21, 10), (16, 8)))
    with pytest.raises(WeightsError, match="trained at 256x128 have 16 x 8 = 128 positions; the table of the file has"):
        fit(noise(211), (16, 8), user=(256, 128))


def test_sizes_that_do_not_fit_the_number_say_nothing_and_two_that_do_are_refused():
    table = torch.cat([noise(1), noise(192, 1)], dim=1)
    with pytest.raises(WeightsError, match="nothing in the file says"):
        fit(table, (24, 8), file={(224, 224): "args.input_size"})
    both = {(256, 192): "a", (192, 256): "a"}
    with pytest.raises(WeightsError, match="the file names sizes of several"):
        fit(table, (24, 8), file=both)
    found, _ = fit(learned((16, 12)), (24, 8), file=both)
    assert torch.equal(found, resampled(learned((16, 12)), (16, 12), (24, 8)))


@pytest.mark.parametrize(("given", "needed"), [(0, 1), (1, 1), (2, 1), (1, 0), (5, 5), (0, 0)])
def test_positions_before_those_of_patches_are_told_apart(given, needed):
    table = torch.cat([noise(given, 3), noise(196, 1)], dim=1) if given else noise(196, 1)
    found, _ = fit(table, (16, 8), prefix=needed)
    assert torch.equal(found[:, needed:], resampled(table[:, given:], (14, 14), (16, 8), prefix=0))
    kept = min(given, needed)
    assert torch.equal(found[:, :kept], table[:, :kept])
    assert not found[:, kept:needed].any(), "a token without a position gets none"


def test_a_table_of_four_axes_says_its_grid():
    table = noise(192).view(1, 12, 16, WIDTH)
    found, said = fit(table, (24, 8))
    assert torch.equal(found[:, 1:], resampled(table.flatten(1, 2), (12, 16), (24, 8), prefix=0))
    assert "12 x 16, by the table's own shape" in said[0]


@pytest.mark.parametrize(
    ("tree", "sizes"),
    [
        ({"args": argparse.Namespace(input_size=224)}, [(224, 224)]),
        ({"args": {"img_size": [256, 192]}}, [(256, 192)]),
        ({"hyper_parameters": {"model": {"image_size": (256, 128)}}}, [(256, 128)]),
        ({"config": {"INPUT": {"SIZE_TRAIN": [384, 128]}}}, [(384, 128)]),
        ({"cfg": {"height": 384, "width": 192}}, [(384, 192)]),
        ({"pretrained_cfg": {"input_size": (3, 256, 128)}}, [(256, 128)]),
        ({"__metadata__": {"img_size": "256x192"}}, [(256, 192)]),
        ({"meta": {"image_size": [192, 256]}}, [(192, 256), (256, 192)]),
        ({"args": {"img_size": None, "resize_mode": "a", "local_crops_size": 96, "size": 7}}, []),
        ({"args": {"img_size": True, "input_size": [1.5, 2], "crop_size": []}}, []),
        ({"img_size": torch.zeros(2)}, []),
    ],
)
def test_sizes_are_read_off_what_training_code_stores(tree, sizes):
    assert list(told_sizes(tree)) == sizes


def test_a_file_computes_at_its_own_size_what_its_network_does(tmp_path):
    """End to end, at 64x48: 4 x 3 positions, as 6 x 2 has."""
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=0, img_size=(64, 48)).eval()
    torch.save({"model": model.state_dict(), "args": {"img_size": (64, 48)}}, tmp_path / "said.pth")
    torch.save(model.state_dict(), tmp_path / "bare.pth")
    x = torch.randn(1, 3, 64, 48)
    adapt = timm_model("test_vit")
    with torch.no_grad():
        for name, told in (("said.pth", None), ("bare.pth", Told(size=(64, 48)))):
            encoder, report = load_foreign(tmp_path / name, adapt, (64, 48), told=told)
            expected = model.forward_features(encoder.adjusted(x))[:, 0]  # this model wants pixels of mean .5
            torch.testing.assert_close(encoder(x).pooled, expected, atol=1e-5, rtol=0)
            wide, report = load_foreign(tmp_path / name, adapt, (96, 32), told=told)
            assert report.complete
            assert "4 x 3" in report.text()
            expected = resampled(model.pos_embed, (4, 3), (6, 2), prefix=wide.weights()["pos_embed"].shape[1] - 12)
            torch.testing.assert_close(wide.weights()["pos_embed"], expected)
    with pytest.raises(WeightsError, match=r"bare\.pth: 12 positions may be a grid"):
        load_foreign(tmp_path / "bare.pth", adapt, (96, 32))


def test_a_size_of_training_is_refused_where_nothing_depends_on_it(tmp_path):
    state = timm.create_model("resnet18", num_classes=0).state_dict()
    with pytest.raises(WeightsError, match="no table of positions") as refusal:
        fitted(state, "r.pth", timm_model("resnet18"), (64, 32), told=Told(size=(224, 224)))
    assert "Leave out --weights-size" in refusal.value.hint


def test_a_layout_of_person_crops_has_their_shape():
    """HAP's 16 x 8, scored at an input with as many positions."""
    state = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=(256, 128)).state_dict()
    encoder, _ = fitted({"model": state}, "hap.pth", adapt_hap, (512, 64))
    expected = resampled(state["pos_embed"], (16, 8), (32, 4))
    torch.testing.assert_close(encoder.weights()["pos_embed"], expected)


def test_dinov2_with_registers_computes_what_timm_makes_of_it():
    """Facebook's names: 37 x 37 positions and one of [CLS], registers without."""
    name, size = "vit_small_patch14_reg4_dinov2", (126, 70)
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, img_size=size, depth=2).eval()
    state = {n: t.clone() for n, t in timm.create_model(name, num_classes=0, depth=2).state_dict().items()}
    state["register_tokens"] = state.pop("reg_token") + torch.randn(1, 4, model.embed_dim)
    state["pos_embed"] = torch.randn(1, 1 + 37 * 37, model.embed_dim)
    state["mask_token"] = torch.zeros(1, model.embed_dim)
    model.load_state_dict(vit_filter(dict(state), model))
    encoder, report = fitted(state, "dinov2.pth", timm_model(name), size, allow_partial=True)  # 2 of 12 blocks
    assert report.unexpected == ()
    assert "37 x 37" in report.text()
    own = encoder.weights()
    for tensor in ("reg_token", "cls_token", "pos_embed"):
        torch.testing.assert_close(own[tensor], model.state_dict()[tensor])
    encoder.backbone.blocks = encoder.backbone.blocks[:2]
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x).pooled, model.forward_features(x)[:, 0], atol=1e-4, rtol=0)
        assert encoder(x).grid.shape[-2:] == (9, 5)


def test_tables_of_a_swin_follow_its_windows_as_timm_does():
    name, size = "swin_tiny_patch4_window7_224", (64, 32)
    torch.manual_seed(0)
    state = timm.create_model(name, num_classes=0).state_dict()
    model = timm.create_model(name, num_classes=0, img_size=size, strict_img_size=False).eval()
    model.load_state_dict(swin_filter(dict(state), model))
    encoder, report = fitted(state, "swin.pth", timm_model(name), size)
    assert report.complete
    assert "tables resampled to the windows" in report.text()
    mean, std = (torch.tensor(one)[:, None, None] for one in (IMAGENET_MEAN, IMAGENET_STD))
    x = torch.rand(1, 3, *size)
    with torch.no_grad():
        grid = encoder((x - mean) / std).grid
        torch.testing.assert_close(grid, model.forward_features((x - mean) / std).permute(0, 3, 1, 2))
