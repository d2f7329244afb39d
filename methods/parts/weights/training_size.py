"""The input size that a weight file tells among the arguments of its training."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from typing import Final

from torch import Tensor

from hcbench.methods.parts.weights.reading import Tree

Size = tuple[int, int]
"""Height and width."""
_KEYS: Final = re.compile(r"(img|image|imgs|input|crop|train|global_crops?)_?(size|res|resolution)|size_train|imgsz")
_SIDES: Final = (("height", "width"), ("img_height", "img_width"), ("image_height", "image_width"), ("img_h", "img_w"))
_DEEPEST: Final = 5


def told_sizes(tree: Tree) -> dict[Size, str]:
    """Input sizes that a file names among its arguments, with where; what says nothing is left out.

    A pair is height and width; one that is wider than high may be width and height (mmpose writes so) and counts as
    both.
    """
    found: dict[Size, str] = {}
    for name, value in _said_in(tree, "", 0):
        for size in _sizes(value):
            found.setdefault(size, f"{name} {size[0]}x{size[1]}")
    return found


def _said_in(node: object, path: str, depth: int) -> Iterator[tuple[str, object]]:
    """Values whose names speak of an input's size, in nested entries and argparse's namespaces."""
    items = vars(node) if isinstance(node, argparse.Namespace) else node
    if not isinstance(items, Mapping) or depth > _DEEPEST:
        return
    plain = {str(key).lower(): value for key, value in items.items() if not isinstance(value, Tensor)}
    for high, wide in _SIDES:
        if high in plain and wide in plain:
            yield f"{path}{high} and {wide}", (plain[high], plain[wide])
    for key, value in plain.items():
        if _KEYS.fullmatch(key):
            yield f"{path}{key}", value
        if isinstance(value, Mapping | argparse.Namespace):
            yield from _said_in(value, f"{path}{key}.", depth + 1)


def _sizes(value: object) -> list[Size]:
    """Sizes that a value may mean: 224, "256x128", (256, 128), [3, 224, 224]."""
    if isinstance(value, Mapping):
        return []
    if isinstance(value, bool) or value is None:
        return []
    numbers = [int(one) for one in re.findall(r"\d+", str(value))] if isinstance(value, str) else _whole(value)
    if len(numbers) == 3 and numbers[0] in (1, 3):
        numbers = numbers[1:]
    if len(numbers) == 1:
        numbers *= 2
    if len(numbers) != 2 or min(numbers) < 1:
        return []
    high, wide = numbers
    return [(high, wide), (wide, high)] if wide > high else [(high, wide)]


def _whole(value: object) -> list[int]:
    if isinstance(value, int):
        return [value]
    if isinstance(value, list | tuple) and all(isinstance(one, int | str) and str(one).isdecimal() for one in value):
        return [int(one) for one in value]
    return []
