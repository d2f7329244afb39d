"""Adapters for plain timm layouts: any ViT state dict, and any model by its timm name.

What a project wraps around them (entries, prefixes, decoders) is taken off in `methods/<name>/weights.py`.
"""

from __future__ import annotations

import re
from typing import Any, Final

import timm
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from hcbench.errors import WeightsError
from hcbench.methods.parts.backbones import EncoderSpec, TimmEncoder, VitEncoder, build_encoder
from hcbench.methods.parts.weights import Adapted, State, Tree, entry, tensors, wanted, without

_VITS: Final = {(192, 12): "tiny", (384, 12): "small", (768, 12): "base", (1024, 24): "large", (1280, 32): "huge"}
_WRAPPERS: Final = ("state_dict", "model", "teacher", "student")
_PREFIXES: Final = ("module.", "encoder_q.", "backbone.", "base.", "model.", "visual.")


def vit(state: State, size: tuple[int, int], *, note: str, dropped: tuple[str, ...] = ()) -> Adapted:
    """A ViT in timm's names, its size read off the tensors; positions are resampled to the input's grid.

    Args:
        state: Names as in timm: `patch_embed.proj.weight`, `blocks.0...`, `norm.weight`.
        size: Input height and width, pixels.
        note: What the file is.
        dropped: Names that were left out before.

    Raises:
        WeightsError: The names or sizes are no timm ViT's.
    """
    wanted(state, ("patch_embed.proj.weight", "cls_token", "pos_embed", "blocks.0.attn.qkv.weight"), "ViT")
    width, patch = state["patch_embed.proj.weight"].shape[0], state["patch_embed.proj.weight"].shape[-1]
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    if (width, depth) not in _VITS:
        raise WeightsError(
            f"A ViT of width {width} and depth {depth} is none that timm has a name for.",
            f"Known are {', '.join(f'{w} x {d} ({name})' for (w, d), name in _VITS.items())}.",
        )
    encoder = build_encoder(EncoderSpec(f"timm:vit_{_VITS[width, depth]}_patch{patch}_224", *size), seed=0)
    state = dict(state)
    state["pos_embed"] = positions(state["pos_embed"], encoder)
    return Adapted(encoder, state, dropped, note)


def positions(table: Tensor, encoder: TimmEncoder) -> Tensor:
    """A position table (1, prefix + h * w, D) of another grid, bicubically resampled to the encoder's.

    Grids of person crops are twice as high as wide; other counts are taken as square.

    Raises:
        WeightsError: The count of positions belongs to neither.
    """
    own = encoder.weights()["pos_embed"]
    if table.shape == own.shape:
        return table
    prefix = own.shape[1] - encoder.grid_size[0] * encoder.grid_size[1]
    count = table.shape[1] - prefix
    old = _grid(count)
    if old is None:
        raise WeightsError(
            f"{count} positions are neither a square grid nor one of twice the height.", "The file is damaged."
        )
    resampled: Tensor = resample_abs_pos_embed(
        table, list(encoder.grid_size), old_size=list(old), num_prefix_tokens=prefix, interpolation="bicubic"
    )
    return resampled


def _grid(count: int) -> tuple[int, int] | None:
    for ratio in (1, 2):
        width = round((count / ratio) ** 0.5)
        if ratio * width * width == count:
            return ratio * width, width
    return None


def timm_model(name: str) -> Any:
    """An adapter for the state dict of a timm or torchvision model of this name, whatever wraps it."""

    def adapt(tree: Tree, size: tuple[int, int]) -> Adapted:
        state = tensors(entry(tree, *_WRAPPERS), *_PREFIXES)
        encoder = build_encoder(EncoderSpec(f"timm:{name}", *size), seed=0)
        classifier = timm.get_pretrained_cfg(name)
        heads = ("head.", "fc.", "classifier.") if classifier is None else _heads(classifier.classifier)
        state, dropped = without(state, *heads)
        state = {key: value for key, value in state.items() if not re.search("relative_position_index$", key)}
        if isinstance(encoder, VitEncoder) and "pos_embed" in state:
            state["pos_embed"] = positions(state["pos_embed"], encoder)
        return Adapted(encoder, state, dropped, f"{name}, backbone only")

    return adapt


def _heads(classifier: str | tuple[str, ...] | None) -> tuple[str, ...]:
    names = (classifier,) if isinstance(classifier, str) else classifier or ()
    return tuple(f"{name}." for name in (*names, "head", "fc"))
