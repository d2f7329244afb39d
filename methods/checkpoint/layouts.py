"""Every layout of weight files that can be read, and which one a file is in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from hcbench.data.augment import IMAGENET_MEAN, IMAGENET_STD
from hcbench.errors import WeightsError
from hcbench.methods.checkpoint.card import OWN, TIMM, check_layout
from hcbench.methods.parts.backbones import TimmEncoder
from hcbench.methods.parts.weights.fitting import Adapted, Adapter
from hcbench.methods.parts.weights.foreign import timm_model
from hcbench.methods.parts.weights.reading import Tree, read_weights
from hcbench.methods.parts.weights.wrappers import contents, levels
from hcbench.methods.weight_layout import imported, known_layouts

_WRAPPERS: Final = frozenset(
    (
        "module",
        "_orig_mod",
        "model",
        "net",
        "network",
        "backbone",
        "base",
        "base_model",
        "encoder_q",
        "student",
        "teacher",
    )
)
_PIXELS: Final = {"imagenet": (IMAGENET_MEAN, IMAGENET_STD), "half": ((0.5,) * 3, (0.5,) * 3)}


def adapter(layout: str, vocabulary: Path | None = None) -> Adapter:
    """The adapter of a layout.

    Args:
        layout: A name of `known_layouts`, or `timm:NAME`.
        vocabulary: Word list for the text tower of a layout that has one.

    Raises:
        WeightsError: There is no such layout, or no such model in timm.
    """
    check_layout(layout)
    if layout.startswith(TIMM):
        return timm_model(layout.removeprefix(TIMM))
    found = known_layouts()[layout]
    made: Adapter = imported(found.adapter)(vocabulary) if found.vocabulary else imported(found.adapter)
    return made


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
    tree = read_weights(path)
    layout = recognise(tree)
    if layout is None:
        raise WeightsError(
            f"{path.name} does not say whose it is: several projects write such files. {contents(tree)}",
            f"Name it with --as: {', '.join(known_layouts())} or {TIMM}NAME, for example "
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
    """The layout that a file's names make plain; None where several projects write such files, or nobody knows them.

    A bare ViT state dict is among these: MAE, HAP, DINO and timm share its names and disagree on the pixels.
    """
    names = frozenset(_bare(name) for _, level in levels(tree) for name in level)
    found = [
        layout.name
        for layout in known_layouts().values()
        if layout.recognises and imported(layout.recognises)(names, tree)
    ]
    return found[0] if len(found) == 1 else None


def _bare(name: str) -> str:
    """A name without the words that training code puts before those of a network, in any order."""
    first, _, rest = name.partition(".")
    return _bare(rest) if first in _WRAPPERS and rest else name
