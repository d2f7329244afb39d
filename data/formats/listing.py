"""Folders as their owners packed them: where a dataset begins below a root, and what lies in a folder, in order.

Listings are sorted, since label numbers must not depend on a file system; what is no data is left out and counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hcbench.data.card import DatasetCard
from hcbench.data.files.left_out import LeftOut
from hcbench.data.files.names import shown
from hcbench.data.files.walk import folders_in, names_in, walk
from hcbench.errors import DataError

IMAGE_ENDINGS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".ppm", ".pgm",
    ".pbm", ".pnm", ".jp2", ".tga",
)  # fmt: skip
"""Endings of images, lower case; all that Pillow decodes everywhere without other programs."""
_SHOWN = 8
_WRAPPERS = 2
"""Folders around a dataset that are looked through, at the most."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder holds.

    Attributes:
        files: Paths below the folder that was listed, with forward slashes, sorted.
        left_out: What was left out, and why.
    """

    files: tuple[str, ...]
    left_out: LeftOut = field(default_factory=LeftOut)


def list_files(
    folder: Path, *, endings: Sequence[str] = IMAGE_ENDINGS, deep: bool = False, refuse: bool = True
) -> Listing:
    """Files with one of these endings (any case), in `folder` alone or also below it.

    What is left out, and how links are followed, stands in `hcbench.data.files.walk`.

    Args:
        folder: Where to look.
        endings: Endings, each with its dot.
        deep: Whether to look below the folder, too.
        refuse: Whether names that no table of results could hold are an error; else they are left out and counted.

    Raises:
        DataError: There is no such folder, it may not be read, or names are not in UTF-8.
    """
    found = walk(folder, endings=tuple(ending.lower() for ending in endings), deep=deep)
    if refuse:
        found.left_out.refuse_names(folder)
    return Listing(tuple(sorted(name for name, _ in found.files)), found.left_out)


def find_base(root: Path, card: DatasetCard, markers: Iterable[Sequence[str]]) -> tuple[Path, Sequence[str]]:
    """The folder in which a dataset begins: the root, or one of the folders around it that archives bring.

    Args:
        root: What the user named.
        card: Card of the data set; its title and its tree appear in the error.
        markers: For each accepted layout the paths (files or folders) that it is recognised by; the first layout whose
            paths are all there counts.

    Returns:
        The folder, and the layout's markers.

    Raises:
        DataError: The root is no folder, holds no layout, or holds the dataset more than once; with the expected tree.
    """
    found = _only(root, card, [tuple(layout) for layout in markers])
    if found is None:
        raise DataError(f"{root} is not {card.title}: it holds {contents(root)}.", f"Expected:\n{card.tree}")
    return found


def find_annotated(
    root: Path, card: DatasetCard, split: str, layouts: Iterable[tuple[str, str]]
) -> tuple[Path, tuple[str, str]]:
    """The folder in which a data set begins whose splits are a file of annotations and a folder of images each.

    Args:
        root: What the user named.
        card: Card of the data set; its title and its tree appear in the error.
        split: Its split, for the error.
        layouts: Accepted pairs of annotations and image folder, below the data set's folder; the first that is there
            counts.

    Returns:
        The folder, and the pair.

    Raises:
        DataError: As `find_base`; if only one path of a pair is there, the error names the other.
    """
    pairs = list(layouts)
    found = _only(root, card, pairs)
    if found is not None:
        return found[0], (found[1][0], found[1][1])
    annotations, images = (list(dict.fromkeys(names)) for names in zip(*pairs, strict=True))
    folders = [f"{folder}/" for folder in images]
    for there, absent in ((folders, annotations), (annotations, folders)):
        parts = _fitting(root, [(mark,) for mark in there])
        if len(parts) == 1:
            base, (mark,) = parts[0]
            raise DataError(
                f"{base} holds {mark}, but not {' or '.join(absent)}, which {card.title} {split} needs.",
                f"Copy it there. Expected:\n{card.tree}",
            )
    raise DataError(f"{root} is not {card.title} {split}: it holds {contents(root)}.", f"Expected:\n{card.tree}")


def _only(root: Path, card: DatasetCard, layouts: Sequence[Sequence[str]]) -> tuple[Path, Sequence[str]] | None:
    """The one folder that fits a layout, and the layout; None where there is none, errors as `find_base`."""
    if not os.path.isdir(root):
        raise DataError(f"{root} is no folder.", f"Give the folder that holds {card.title}:\n{card.tree}")
    fitting = _fitting(root, layouts)
    if len(fitting) > 1:
        names = ", ".join(folder.relative_to(root).as_posix() for folder, _ in fitting)
        raise DataError(f"{root} holds {card.title} more than once: {names}.", "Give one of these folders.")
    return fitting[0] if fitting else None


def _fitting(root: Path, layouts: Sequence[Sequence[str]]) -> list[tuple[Path, Sequence[str]]]:
    """Folders that fit one of the layouts, each with the first that it fits: the root, else the nearest below it."""
    level = [root]
    for _ in range(_WRAPPERS + 1):
        fitting = [
            (folder, layout)
            for folder in level
            if (layout := next((one for one in layouts if all(os.path.exists(folder / mark) for mark in one)), None))
        ]
        if fitting:
            return fitting
        level = [child for folder in level for child in folders_in(folder)]
    return []


def contents(folder: Path) -> str:
    """The first few names in a folder, and how many more there are."""
    names = names_in(folder)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(map(shown, names[:_SHOWN])) or 'nothing'}{more}"
