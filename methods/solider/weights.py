"""SOLIDER's published weights (tinyvision/SOLIDER: Swin-T, -S, -B; also fine-tuned SOLIDER-REID files).

Layouts: a training checkpoint (`student`, `teacher`, ...), the teacher's dict alone, or a ReID file (`base.*`). The
table of names and the order of merged tokens are facts of the two implementations; any other name refuses the file
(`--allow-partial` takes it, and marks its row).
"""

from __future__ import annotations

import re
from typing import Final

from torch import Tensor

from hcbench.errors import WeightsError
from hcbench.methods.parts.backbones import EncoderSpec, TimmEncoder, build_encoder
from hcbench.methods.parts.weights.fitting import Adapted, require_names, without
from hcbench.methods.parts.weights.reading import State, Tree
from hcbench.methods.parts.weights.wrappers import take
from hcbench.methods.solider.released import ReleasedSwin

_SIZES: Final = {(96, 6): "tiny", (96, 18): "small", (128, 18): "base"}
"""Patch width and blocks of the third stage."""
_RULES: Final = (
    (r"patch_embed\.projection\.(.+)", r"patch_embed.proj.\1"),
    (r"patch_embed\.norm\.(.+)", r"patch_embed.norm.\1"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.norm([12])\.(.+)", r"layers.\1.blocks.\2.norm\3.\4"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.attn\.w_msa\.(.+)", r"layers.\1.blocks.\2.attn.\3"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.ffn\.layers\.0\.0\.(.+)", r"layers.\1.blocks.\2.mlp.fc1.\3"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.ffn\.layers\.1\.(.+)", r"layers.\1.blocks.\2.mlp.fc2.\3"),
    (r"norm3\.(.+)", r"norm.\1"),
    (r"norm([0-2])\.(.+)", r"norms.\1.\2"),
    (r"semantic_embed_w\.(\d)\.(.+)", r"controller.scale.\1.\2"),
    (r"semantic_embed_b\.(\d)\.(.+)", r"controller.shift.\1.\2"),
)
_DOWNSAMPLE = re.compile(r"stages\.(\d+)\.downsample\.(norm|reduction)\.(weight|bias)")


def adapt(tree: Tree, size: tuple[int, int]) -> Adapted:
    """The teacher's backbone with its controller; see `hcbench.methods.parts.weights.fitting.Adapter`.

    Raises:
        WeightsError: The names are not SOLIDER's, or the depth is none of Swin-T, -S and -B.
    """
    taken = take(tree, ("patch_embed.projection.weight",), prefer=("teacher", "student", "state_dict", "model"))
    state, dropped = without(taken.state, "head.", "bottleneck.", "classifier.")
    dropped += taken.dropped
    require_names(
        state, ("patch_embed.projection.weight", "norm3.weight", "stages.0.blocks.0.attn.w_msa.qkv.weight"), "SOLIDER"
    )
    name = _size(state)
    spec = EncoderSpec(f"timm:swin_{name}_patch4_window7_224", *size)
    built = build_encoder(spec, seed=0)
    if not isinstance(built, TimmEncoder):
        raise WeightsError(f"timm's {spec.backbone} is no Swin.", "Use a tested version of timm.")
    note = f"SOLIDER Swin-{name[0].upper()}, backbone"
    if any(name.startswith("semantic_embed_") for name in state):
        encoder = ReleasedSwin(spec, built.backbone)
        return Adapted(
            encoder, renamed(state), dropped, f"{note} with semantic controller", closed=True, said=taken.said
        )
    # The file's network has none (official: a negative semantic_weight), so ours is to change nothing.
    encoder = ReleasedSwin(spec, built.backbone, start="identity")
    absent = tuple(name for name in encoder.weights() if name.startswith("controller."))
    note += " without semantic controller: lambda changes nothing"
    return Adapted(encoder, renamed(state), dropped, note, absent, closed=True, said=taken.said)


def renamed(state: State) -> State:
    """Official names and orders (without prefixes) to those of `ReleasedSwin`; unknown names stay as they are."""
    out = {}
    for name, tensor in state.items():
        if name.endswith("relative_position_index"):
            continue  # a table of constants; timm computes it
        found = _DOWNSAMPLE.fullmatch(name)
        if found:
            # timm merges at the start of the next stage, mmdetection at the end of this one.
            out[f"layers.{int(found[1]) + 1}.downsample.{found[2]}.{found[3]}"] = merged_order(tensor)
            continue
        rules = (re.sub(pattern, new, name) for pattern, new in _RULES if re.fullmatch(pattern, name))
        out[next(rules, name)] = tensor
    return out


def merged_order(tensor: Tensor) -> Tensor:
    """The last axis from channel-major merged tokens (nn.Unfold) to timm's token-major order, (..., 4C) each.

    nn.Unfold puts the four tokens of a channel beside each other in row order; timm puts whole tokens one after the
    other in the order of its own reshape (row 0 and 1 of column 0, then of column 1).
    """
    tokens = tensor.unflatten(-1, (-1, 4))[..., [0, 2, 1, 3]]
    reordered: Tensor = tokens.transpose(-1, -2).flatten(-2)
    return reordered.contiguous()


def _size(state: State) -> str:
    width = state["patch_embed.projection.weight"].shape[0]
    blocks = {int(found[1]) for name in state if (found := re.match(r"stages\.2\.blocks\.(\d+)\.", name))}
    if (width, len(blocks)) not in _SIZES:
        raise WeightsError(
            f"A Swin of width {width} with {len(blocks)} blocks in its third stage is none of SOLIDER's.",
            "Swin-T has 96 and 6, Swin-S 96 and 18, Swin-B 128 and 18.",
        )
    return _SIZES[width, len(blocks)]


def recognises(names: frozenset[str], tree: Tree) -> bool:
    """The names of a Swin in mmcv's spelling are SOLIDER's alone."""
    return "stages.0.blocks.0.attn.w_msa.qkv.weight" in names
