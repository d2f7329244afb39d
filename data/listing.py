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
    wanted, files, junk = tuple(ending.lower() for ending in endings), [], 0
    for place, folders, names in os.walk(folder):
        junk += sum(map(is_junk, names)) + sum(map(is_junk, folders))
        folders[:] = [name for name in folders if not is_junk(name)] if deep else []
        below = Path(place).relative_to(folder)
        files += [(below / name).as_posix() for name in names if name.lower().endswith(wanted) and not is_junk(name)]
    return Listing(tuple(sorted(files)), junk)


def find_base(root: Path, card: DatasetCard, markers: Iterable[Sequence[str]]) -> tuple[Path, Sequence[str]]:
    """The folder in which a dataset begins: the root, or one of the folders around it that archives bring.

    Args:
        root: What the user named.
        card: For the error's words.
        markers: Per accepted layout, the paths (files or folders) that make it plain; the first that fits counts.

    Returns:
        The folder, and the layout's markers.

    Raises:
        DataError: The root is no folder, holds no layout, or holds the dataset more than once; with the expected tree.
    """
    if not root.is_dir():
        raise DataError(f"{root} is no folder.", f"Give the folder that holds {card.title}:\n{card.tree}")
    layouts = [tuple(several) for several in markers]
    level = [root]
    for _ in range(_WRAPPERS + 1):
        fitting = [
            (folder, layout)
            for folder in level
            if (layout := next((one for one in layouts if all((folder / mark).exists() for mark in one)), None))
        ]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            names = ", ".join(folder.relative_to(root).as_posix() for folder, _ in fitting)
            raise DataError(f"{root} holds {card.title} more than once: {names}.", "Give one of these folders.")
        level = [child for folder in level for child in _folders(folder)]
    content = sorted(path.name for path in root.iterdir() if not is_junk(path.name))
    more = f" and {len(content) - _SHOWN} more" if len(content) > _SHOWN else ""
    raise DataError(
        f"{root} is not {card.title}: it holds {', '.join(content[:_SHOWN]) or 'nothing'}{more}.",
        f"Expected:\n{card.tree}",
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_junk(path.name))
