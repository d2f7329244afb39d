"""What every loader of a real dataset does the same way: refuse a wrong split or cache, digest, look at all images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hcbench.data.card import DatasetCard, Report, compare
from hcbench.data.crops import in_threads, read_image
from hcbench.errors import DataError, did_you_mean

_SHOWN = 5
_PIECE = 65_536
"""Rows that are hashed together."""


def check_split(card: DatasetCard, split: str, splits: Sequence[str]) -> None:
    """Refuse a split that the dataset does not have.

    Raises:
        DataError: With the nearest known name.
    """
    if split not in splits:
        raise DataError(f"{card.title} has no split {split!r}.", did_you_mean(split, splits))


def check_cache(base: Path, cache: Path) -> None:
    """Refuse a cache inside the dataset.

    Raises:
        DataError: The cache lies there.
    """
    if cache.resolve().is_relative_to(base.resolve()):
        raise DataError(
            f"The cache {cache} lies inside the dataset {base}, where nothing is ever written.",
            "Choose a workspace outside of it (--workspace).",
        )


def digest(*parts: object) -> str:
    """16 hex digits of everything that decides a number: arrays by shape, type and content, the rest by its text."""
    whole = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            # Text arrays are as wide as their longest entry, which is not content; some are maps of millions of names.
            text = part.dtype.kind == "U"
            whole.update(f"{'text' if text else part.dtype.str}{part.shape}".encode())
            for start in range(0, len(part) if part.ndim else 0, _PIECE):
                piece = part[start : start + _PIECE]
                whole.update("\0".join(piece.ravel().tolist()).encode() if text else piece.tobytes())
        else:
            whole.update(repr(part).encode())
        whole.update(b"\x1f")
    return whole.hexdigest()[:16]


def image_problems(base: Path, files: Sequence[str]) -> list[str]:
    """Images below `base` that are missing or do not decode, one sentence for each kind of trouble.

    Args:
        base: The dataset's folder.
        files: Paths below it.
    """

    def check(file: str) -> str | None:
        if not (base / file).is_file():
            return "missing"
        try:
            read_image(base / file)
        except DataError:
            return "damaged"
        return None

    told = list(zip(files, in_threads(check, files, f"images of {base.name}"), strict=True))
    kinds = {"missing": "are missing", "damaged": "cannot be decoded"}
    return [
        f"{len(names)} of {len(files):,} images {words}: {some(names)}"
        for kind, words in kinds.items()
        if (names := [file for file, problem in told if problem == kind])
    ]


def make_report(
    card: DatasetCard,
    root: Path,
    layout: str,
    found: Mapping[str, Mapping[str, int]],
    *,
    problems: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Report:
    """The report of `verify`: counts held against the card's, problems and notes added to what they give.

    Where no count of a split was ever verified, fewer than reported elsewhere is a subset all the same: nothing else
    would notice half a copy.
    """
    level, excess, remarks = compare(card, found)
    for split, official in card.counts.items():
        if official.keys() <= card.unverified and any(
            found.get(split, {}).get(what, 0) < count for what, count in official.items()
        ):
            level = "subset" if level == "exact" else level
    return Report(
        dataset=card.name,
        root=root,
        level="mismatch" if problems else level,
        layout=layout,
        found=found,
        expected={split: card.counts.get(split, {}) for split in found},
        problems=(*problems, *excess),
        notes=(*remarks, *notes),
    )


def skipped_junk(count: int) -> list[str]:
    """The note about files of operating systems that were left out; none where there were none."""
    return [f"{count} files of operating systems (._*, .DS_Store ...) were left out"] if count else []


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
