"""Every layout of weight files that can be read, and which one a file is in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from torch import Tensor

from hcbench.data.augment import IMAGENET_MEAN, IMAGENET_STD
from hcbench.errors import WeightsError
from hcbench.methods.checkpoint.card import LAYOUTS, OWN, TIMM, check_layout
from hcbench.methods.dino.weights import adapt as dino
from hcbench.methods.hap.weights import adapt as hap
from hcbench.methods.mae.weights import adapt as mae
from hcbench.methods.parts.backbones import TimmEncoder
from hcbench.methods.parts.foreign import resnet, timm_model
from hcbench.methods.parts.weights import Adapted, Adapter, Tree, read_weights
from hcbench.methods.plip.weights import adapter as plip
from hcbench.methods.solider.weights import adapt as solider
from hcbench.methods.stablerep.weights import adapt as stablerep

ADAPTERS: Final[Mapping[str, Adapter]] = {
    "solider": solider,
    "hap": hap,
    "mae": mae,
    "dino": dino,
    "stablerep": stablerep,
    "resnet": resnet,
}
"""Adapters by the name of their layout; PLIP's also needs a word list, see `adapter`."""
_PIXELS: Final = {"imagenet": (IMAGENET_MEAN, IMAGENET_STD), "half": ((0.5,) * 3, (0.5,) * 3)}


def adapter(layout: str, vocabulary: Path | None = None) -> Adapter:
    """The adapter of a layout.

    Args:
        layout: A name of `LAYOUTS` but hcbench's own, or `timm:NAME`.
        vocabulary: Word list for the text tower of PLIP.

    Raises:
        WeightsError: There is no such layout, or no such model in timm.
    """
    check_layout(layout)
    if layout.startswith(TIMM):
        return timm_model(layout.removeprefix(TIMM))
    if layout == "plip":
        return plip(vocabulary)
    return ADAPTERS[layout]


def normalising(adapt: Adapter, name: str) -> Adapter:
    """The adapter with the normalisation of pixels that `NORMALISATIONS` names; with its own where `name` is empty."""

    def adapted(tree: Tree, size: tuple[int, int]) -> Adapted:
        found = adapt(tree, size)
        if not isinstance(found.encoder, TimmEncoder):
            raise WeightsError(f"{found.note} normalises pixels in its own way.", "Leave out --normalise.")
        found.encoder.spec = replace(found.encoder.spec, mean=_PIXELS[name][0], std=_PIXELS[name][1])
        return found

    return adapted if name else adapt


def named(path: Path) -> str:
    """The layout that a file or folder makes plain.

    Raises:
        WeightsError: It cannot be read, or several projects write such files.
    """
    if path.is_dir():
        return OWN
    layout = recognise(read_weights(path))
    if layout is None:
        raise WeightsError(
            f"{path.name} does not say whose it is: several projects write such files.",
            f"Name it with --as: {', '.join(name for name in LAYOUTS if name != OWN)} or {TIMM}NAME, for example "
            f"--as {TIMM}vit_base_patch16_224.",
        )
    return layout


def guessed(path: Path) -> str | None:
    """As `named`, None where that would be an error."""
    try:
        return named(path)
    except WeightsError:
        return None


def recognise(tree: Tree) -> str | None:
    """The layout that a file's names make plain; None where several projects write such files.

    A bare ViT state dict is in the last group: MAE, HAP, DINO and timm share its names and disagree on the pixels.
    """
    levels = [tree, *(value for value in tree.values() if isinstance(value, Mapping))]
    names = {_bare(str(name)) for level in levels for name, value in level.items() if isinstance(value, Tensor)}
    if "stages.0.blocks.0.attn.w_msa.qkv.weight" in names:
        return "solider"
    if "attnpool.positional_embedding" in names:
        return "plip" if "token_embedding.weight" not in names else None  # CLIP's own files hold its text tower
    if "visual.patch_embed.proj.weight" in names and any(name.startswith("image_mlp.") for name in names):
        return "stablerep"
    if "patch_embed.proj.weight" in names:
        if "teacher" in tree and "student" in tree:
            return "dino"
        if "decoder_embed.weight" in names:
            return "hap" if "pose" in str(tree.get("arch", "")) else "mae"
        return None
    return "resnet" if {"layer1.0.conv2.weight", "layer4.0.conv2.weight"} <= names else None


def _bare(name: str) -> str:
    for prefix in ("module.", "encoder_q.", "backbone.", "base.", "model."):
        name = name.removeprefix(prefix)
    return name
