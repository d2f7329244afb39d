"""SOLIDER's released backbone against a reference written from the official forward's definition."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from hcbench.errors import WeightsError
from hcbench.methods.parts.checkpoint import load_encoder, save_encoder
from hcbench.methods.parts.weights.fitting import load_foreign
from hcbench.methods.solider.weights import adapt, merged_order

WINDOW, HEAD = 7, 32
"""Tokens of a window's side, width of an attention head."""


@pytest.fixture(scope="module")
def state():
    """Swin-T."""
    return official(96, 6)


def official(width, third):
    """A Swin of so many blocks in its third stage, with controller, in official names; random numbers."""
    g = torch.Generator().manual_seed(0)

    def draw(*shape, std=0.05):
        return torch.randn(*shape, generator=g) * std

    def norm(name, width):
        return {f"{name}.weight": 1 + draw(width), f"{name}.bias": draw(width)}

    out = {"patch_embed.projection.weight": draw(width, 3, 4, 4, std=0.2), "patch_embed.projection.bias": draw(width)}
    out |= norm("patch_embed.norm", width)
    for i, depth in enumerate((2, 2, third, 2)):
        c = width * 2**i
        for j in range(depth):
            b = f"stages.{i}.blocks.{j}"
            out |= norm(f"{b}.norm1", c) | norm(f"{b}.norm2", c)
            for name, rows, columns in (
                ("attn.w_msa.qkv", 3 * c, c), ("attn.w_msa.proj", c, c),
                ("ffn.layers.0.0", 4 * c, c), ("ffn.layers.1", c, 4 * c),
            ):  # fmt: skip
                out[f"{b}.{name}.weight"], out[f"{b}.{name}.bias"] = draw(rows, columns), draw(rows)
            out[f"{b}.attn.w_msa.relative_position_bias_table"] = draw((2 * WINDOW - 1) ** 2, c // HEAD, std=0.5)
            out[f"{b}.attn.w_msa.relative_position_index"] = torch.zeros(49, 49, dtype=torch.int64)
        out |= norm(f"norm{i}", c)
        if i < 3:
            out |= norm(f"stages.{i}.downsample.norm", 4 * c)
            out[f"stages.{i}.downsample.reduction.weight"] = draw(2 * c, 4 * c)
        last = width * 2 ** min(i + 1, 3)
        for kind in "wb":
            out[f"semantic_embed_{kind}.{i}.weight"] = draw(last, 2, std=0.5)
            out[f"semantic_embed_{kind}.{i}.bias"] = draw(last, std=0.5)
    return out


def official_maps(state, x, lam):
    """The four normalised maps, (B, C, h, w) each."""

    def norm(x, name):
        weight = state[f"{name}.weight"]
        return F.layer_norm(x, weight.shape, weight, state[f"{name}.bias"])

    def linear(x, name):
        return F.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))

    x = F.conv2d(x, state["patch_embed.projection.weight"], state["patch_embed.projection.bias"], stride=4)
    x = norm(x.permute(0, 2, 3, 1), "patch_embed.norm")
    maps = []
    for i in range(4):
        for j in range(sum(f"stages.{i}.blocks.{k}.norm1.weight" in state for k in range(99))):
            b = f"stages.{i}.blocks.{j}"
            x = x + attend(state, norm(x, f"{b}.norm1"), b, x.shape[-1] // HEAD, 3 * (j % 2), linear)
            x = x + linear(F.gelu(linear(norm(x, f"{b}.norm2"), f"{b}.ffn.layers.0.0")), f"{b}.ffn.layers.1")
        maps.append(norm(x, f"norm{i}").permute(0, 3, 1, 2))
        if i < 3:
            batch, h, w, _ = x.shape
            merged = F.unfold(x.permute(0, 3, 1, 2), 2, stride=2).transpose(1, 2)
            merged = linear(norm(merged, f"stages.{i}.downsample.norm"), f"stages.{i}.downsample.reduction")
            x = merged.view(batch, h // 2, w // 2, -1)
            s = torch.tensor([lam, 1 - lam])
            x = x * F.softplus(linear(s, f"semantic_embed_w.{i}")) + linear(s, f"semantic_embed_b.{i}")
    return maps


def attend(state, x, b, heads, shift, linear):
    """Window attention one window at a time."""
    _, h, w, c = x.shape
    high, wide = -(-h // WINDOW) * WINDOW, -(-w // WINDOW) * WINDOW
    x = F.pad(x, (0, 0, 0, wide - w, 0, high - h)).roll((-shift, -shift), (1, 2))
    region = torch.zeros(high, wide)
    for side, extent in ((0, high), (1, wide)):
        place = torch.arange(extent)
        part = (place >= extent - WINDOW).int() + (place >= extent - shift).int() if shift else torch.zeros(extent)
        region = region + (part[:, None] * 3 if side == 0 else part[None, :])
    table = state[f"{b}.attn.w_msa.relative_position_bias_table"]
    at = torch.stack(torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")).flatten(1)
    gap = at[:, :, None] - at[:, None, :] + WINDOW - 1
    bias = table[gap[0] * (2 * WINDOW - 1) + gap[1]].permute(2, 0, 1)
    out = torch.zeros_like(x)
    for top in range(0, high, WINDOW):
        for left in range(0, wide, WINDOW):
            area = (slice(None), slice(top, top + WINDOW), slice(left, left + WINDOW))
            tokens = x[area].flatten(1, 2)
            q, k, v = linear(tokens, f"{b}.attn.w_msa.qkv").unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
            logits = q @ k.transpose(-1, -2) * (c // heads) ** -0.5 + bias
            zone = region[area[1:]].flatten()
            logits = logits - 100.0 * (zone[:, None] != zone[None, :])
            mixed = (logits.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
            out[area] = linear(mixed, f"{b}.attn.w_msa.proj").unflatten(1, (WINDOW, WINDOW))
    return out.roll((shift, shift), (1, 2))[:, :h, :w]


def teacher_file(state, path):
    """A file as the official converter writes it, with a head."""
    torch.save({f"backbone.{n}": w for n, w in state.items()} | {"head.mlp.0.weight": torch.zeros(3, 3)}, path)
    return path


@pytest.mark.parametrize("size", [(128, 64), (224, 224), (256, 128)])
def test_maps_equal_the_official_ones(state, size, tmp_path):
    encoder, report = load_foreign(teacher_file(state, tmp_path / "t.pth"), adapt, size)
    assert report.complete
    assert report.share == 1.0
    assert "Swin-T" in report.note
    x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for lam in (0.0, 0.2, 1.0):
            found, expected = encoder(x, **{"lambda": lam}), official_maps(state, x, lam)
            for ours, theirs in zip(found.maps, expected, strict=True):
                torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
            torch.testing.assert_close(found.pooled, expected[3].mean(dim=(2, 3)), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("letter", "width", "third"), [("S", 96, 18), ("B", 128, 18)])
def test_the_larger_ones_are_told_by_their_numbers(letter, width, third, tmp_path):
    larger = official(width, third)
    encoder, report = load_foreign(teacher_file(larger, tmp_path / "t.pth"), adapt, (128, 64))
    assert report.complete
    assert f"Swin-{letter}" in report.note
    x = torch.randn(1, 3, 128, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found, expected = encoder(x, **{"lambda": 0.4}), official_maps(larger, x, 0.4)
    torch.testing.assert_close(found.grid, expected[3], atol=1e-4, rtol=0)


def test_a_training_checkpoint_gives_its_teacher(state, tmp_path):
    noise = {f"module.backbone.{n}": torch.zeros_like(w) for n, w in state.items()}
    teacher = {f"backbone.{n}": w for n, w in state.items()}
    torch.save({"student": noise, "teacher": teacher, "epoch": 3}, tmp_path / "checkpoint.pth")
    encoder, _ = load_foreign(tmp_path / "checkpoint.pth", adapt, (64, 32))
    assert torch.equal(encoder.weights()["norm.weight"], state["norm3.weight"])


def test_it_is_saved_and_read_back(state, tmp_path):
    encoder, _ = load_foreign(teacher_file(state, tmp_path / "t.pth"), adapt, (64, 32))
    save_encoder(encoder, tmp_path / "cell")
    again = load_encoder(tmp_path / "cell")
    x = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(again(x, **{"lambda": 0.7}).grid, encoder(x, **{"lambda": 0.7}).grid)


def test_names_of_another_kind_are_told_of(state, tmp_path):
    with pytest.raises(WeightsError, match=r"no SOLIDER: it has no patch_embed\.projection\.weight"):
        adapt({"layers.0.weight": torch.zeros(1)}, (64, 32))
    deeper = state | {f"stages.2.blocks.6.{n}.weight": torch.zeros(1) for n in ("norm1", "norm2")}
    with pytest.raises(WeightsError, match="width 96 with 7 blocks"):
        adapt(deeper, (64, 32))
    path = teacher_file(
        {n: w for n, w in state.items() if "stages.2." not in n or "blocks.0" in n or "5" in n}, tmp_path / "x"
    )
    with pytest.raises(WeightsError):
        load_foreign(path, adapt, (64, 32))


def test_a_file_without_a_controller_gets_one_that_changes_nothing(state, tmp_path):
    plain = {name: w for name, w in state.items() if not name.startswith("semantic_embed")}
    encoder, report = load_foreign(teacher_file(plain, tmp_path / "t.pth"), adapt, (64, 32))
    assert report.complete
    assert report.share == 1.0
    assert len(report.absent) == 16
    assert "without semantic controller: lambda changes nothing" in report.note
    x = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    identity = dict(plain)
    for i in range(4):
        for kind, bias in (("w", math.log(math.e - 1)), ("b", 0.0)):
            like = state[f"semantic_embed_{kind}.{i}.bias"]
            identity[f"semantic_embed_{kind}.{i}.weight"] = torch.zeros(len(like), 2)
            identity[f"semantic_embed_{kind}.{i}.bias"] = torch.full_like(like, bias)
    with torch.no_grad():
        expected = official_maps(identity, x, 0.0)[3]
        for lam in (0.0, 1.0):
            torch.testing.assert_close(encoder(x, **{"lambda": lam}).grid, expected, atol=1e-4, rtol=0)


def test_a_name_outside_the_table_refuses_a_file(state, tmp_path):
    path = teacher_file(state | {"mystery.weight": torch.ones(3)}, tmp_path / "t.pth")
    with pytest.raises(WeightsError, match=r"unexpected \(1\): mystery\.weight"):
        load_foreign(path, adapt, (64, 32))
    _, report = load_foreign(path, adapt, (64, 32), allow_partial=True)
    assert not report.complete


def test_a_file_without_bias_tables_is_refused(state, tmp_path):
    path = teacher_file({n: w for n, w in state.items() if not n.endswith("bias_table")}, tmp_path / "t.pth")
    with pytest.raises(WeightsError, match=r"181 of 193 tensors matched, 99\.9% of the encoder"):
        load_foreign(path, adapt, (64, 32))


def test_the_order_of_merged_tokens(state):
    numbers = torch.arange(8)  # two channels, four tokens each
    assert merged_order(numbers).tolist() == [0, 4, 2, 6, 1, 5, 3, 7]
