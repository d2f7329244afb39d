"""`WeightLayout`: what a project's files of weights look like, readable without torch; a part of its method's card.

`hcbench evaluate FILE --as NAME` finds layouts here by name: those of the built-in cards, and of every plug-in's.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hcbench.errors import WeightsError


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightLayout:
    """One layout of weight files.

    Attributes:
        name: What `--as` takes.
        title: How tables write it.
        adapter: "module:function", an `Adapter` of `hcbench.methods.parts.weights.fitting`: from a file's tree and an
            input size to an encoder and the tensors for it. With a `vocabulary`, a function that takes the path of a
            word list (or None) and gives the adapter.
        recognises: "module:function" that tells from the names of all tensors (wrappers such as "module." removed) and
            the file's tree whether a file is of this layout; empty where its names are those of other projects, too.
        published_on: What the authors' own files were trained on, by their paper; empty where nobody says.
        vocabulary: File name of the word list that a text tower needs, looked for beside the weights; empty without.
    """

    name: str
    title: str
    adapter: str
    recognises: str = ""
    published_on: str = ""
    vocabulary: str = ""


_registered: dict[str, WeightLayout] = {}


def register(layouts: Iterable[WeightLayout]) -> None:
    """Make the layouts of a plug-in's card known to this process.

    Raises:
        WeightsError: Another layout has the name.
    """
    for layout in layouts:
        if known_layouts().get(layout.name, layout) != layout:
            raise WeightsError(f"Two layouts of weights are called {layout.name!r}.", "Give one another name.")
        _registered[layout.name] = layout


def known_layouts() -> Mapping[str, WeightLayout]:
    """All layouts by name, built-in ones first."""
    return {**_built_in(), **_registered}


@functools.cache
def _built_in() -> Mapping[str, WeightLayout]:
    package = importlib.import_module("hcbench.methods")
    names = sorted(path.parent.name for root in package.__path__ for path in Path(root).glob("*/card.py"))
    cards = [importlib.import_module(f"hcbench.methods.{name}.card").CARD for name in names]
    return {layout.name: layout for card in cards for layout in card.weight_layouts}


def imported(name: str) -> Any:
    """What "module:function" names.

    Raises:
        WeightsError: It cannot be imported.
    """
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise WeightsError(f"A layout of weights names {name!r}, which cannot be imported: {error}.") from error
