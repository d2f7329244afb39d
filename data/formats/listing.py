"""Folders as their owners packed them: where a dataset begins below a root, and what lies in a folder, in order.

Listings are sorted, since label numbers must not depend on a file system; files of operating systems and archivers are
left out and counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hcbench.data.card import DatasetCard
from hcbench.errors import DataError

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_JUNK_NAMES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir"})
_JUNK_START = "._"
_SHOWN = 8
_WRAPPERS = 2
"""Folders around a dataset that are looked through, at the most."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder holds.

    Attributes:
        files: Paths below the folder that was listed, with forward slashes, sorted.
        junk: How many files of operating systems were left out.
    """

    files: tuple[str, ...]
    junk: int = 0


def is_junk(name: str) -> bool:
    """Whether a file or folder was left by an operating system or an archiver (`._*`, `.DS_Store` ...)."""
    return name in _JUNK_NAMES or name.startswith(_JUNK_START)


def list_files(folder: Path, *, endings: Sequence[str] = IMAGE_ENDINGS, deep: bool = False) -> Listing:
    """Files with one of these endings (any case), in `folder` alone or also below it.

    Raises:
        DataError: There is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder.", "Check the dataset with `hcbench data verify`.")
    lower_endings, files, junk = tuple(ending.lower() for ending in endings), [], 0
    for place, folders, names in os.walk(folder):
        junk += sum(map(is_junk, names)) + sum(map(is_junk, folders))
        folders[:] = [name for name in folders if not is_junk(name)] if deep else []
        below = Path(place).relative_to(folder)
        files += [
            (below / name).as_posix() for name in names if name.lower().endswith(lower_endings) and not is_junk(name)
        ]
    return Listing(tuple(sorted(files)), junk)


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
        raise DataError(f"{root} is not {card.title}: it holds {_content(root)}.", f"Expected:\n{card.tree}")
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
    raise DataError(f"{root} is not {card.title} {split}: it holds {_content(root)}.", f"Expected:\n{card.tree}")


def _only(root: Path, card: DatasetCard, layouts: Sequence[Sequence[str]]) -> tuple[Path, Sequence[str]] | None:
    """The one folder that fits a layout, and the layout; None where there is none, errors as `find_base`."""
    if not root.is_dir():
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
            if (layout := next((one for one in layouts if all((folder / mark).exists() for mark in one)), None))
        ]
        if fitting:
            return fitting
        level = [child for folder in level for child in _folders(folder)]
    return []


def _content(folder: Path) -> str:
    """The first few names in a folder, and how many more there are."""
    names = sorted(path.name for path in folder.iterdir() if not is_junk(path.name))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN]) or 'nothing'}{more}"


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_junk(path.name))
