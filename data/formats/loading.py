"""What every loader of a real dataset does the same way.

Refuse a wrong split or cache, find the splits of half a copy, number persons, digest, report.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hcbench.data.card import TOTAL, DatasetCard, VerifyReport, compare
from hcbench.data.files.left_out import LeftOut
from hcbench.data.files.under_root import OutsideError
from hcbench.data.formats.listing import Listing
from hcbench.errors import DataError, did_you_mean

Found = TypeVar("Found")

_VAL_EVERY = 10
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
                whole.update(
                    "\0".join(piece.ravel().tolist()).encode("utf-8", "surrogatepass") if text else piece.tobytes()
                )
        else:
            whole.update(repr(part).encode())
        whole.update(b"\x1f")
    return whole.hexdigest()[:16]


def numbered(values: Any) -> NDArray[np.int64]:
    """Identities as 0..N-1 in the order of the sorted values, int64, as a classifier over persons wants them.

    Args:
        values: (N,), anything that sorts.
    """
    return np.unique(np.asarray(values), return_inverse=True)[1].reshape(-1).astype(np.int64)


def every_tenth(count: int) -> NDArray[np.bool_]:
    """Which of `count` sorted things make a validation split that the owners did not: the 10th, 20th ..., bool."""
    held_out: NDArray[np.bool_] = np.arange(count) % _VAL_EVERY == _VAL_EVERY - 1
    return held_out


def read_json(path: Path) -> Any:
    """What a json file holds.

    Raises:
        DataError: It is none, or cannot be read.
    """
    try:
        return json.loads(path.read_bytes())
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read as json: {error}.", "Copy the file again from its source.") from error


def found_splits(splits: Sequence[str], find: Callable[[str], Found]) -> tuple[dict[str, Found], dict[str, DataError]]:
    """The splits of a copy that are there, which may not be all.

    Args:
        splits: Those of the dataset.
        find: Gives what is known of a split; a DataError where it is not there.

    Returns:
        What was found, by split, and why the others were not.

    Raises:
        OutsideError: A split is there, but names files outside of the data set.
        DataError: None is there; what was said of the first.
    """
    found: dict[str, Found] = {}
    absent: dict[str, DataError] = {}
    for split in splits:
        try:
            found[split] = find(split)
        except OutsideError:
            raise  # it is there, and names what it must not
        except DataError as error:
            absent[split] = error
    if not found:
        raise absent[splits[0]]
    return found, absent


def missing_files(folder: Path, names: Iterable[str]) -> list[str]:
    """Those of the names that are no file below the folder, sorted."""
    return sorted(name for name in set(names) if not os.path.isfile(folder / name))


def make_report(
    card: DatasetCard,
    root: Path,
    layout: str,
    found: Mapping[str, Mapping[str, int]],
    *,
    problems: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> VerifyReport:
    """The report of `verify`: counts held against the card's, problems and notes added to what they give.

    Where no count of a split was ever verified, fewer than reported elsewhere is a subset all the same: nothing else
    would notice half a copy.
    """
    if card.total:
        whole = {what: sum(counts.get(what, 0) for counts in found.values()) for what in card.total}
        found = {**found, TOTAL: whole}
    level, excess, remarks = compare(card, found)
    for split, official in card.counts.items():
        if official.keys() <= card.unverified and any(
            found.get(split, {}).get(what, 0) < count for what, count in official.items()
        ):
            level = "subset" if level == "exact" else level
    return VerifyReport(
        dataset=card.name,
        root=root,
        level="mismatch" if problems else level,
        layout=layout,
        found=found,
        expected={split: card.official.get(split, {}) for split in found},
        problems=(*problems, *excess),
        notes=(*remarks, *notes),
    )


def listing_notes(*listings: Listing) -> list[str]:
    """What lies beside annotated images and was left out; no word on other endings, since annotations name the files.

    Args:
        listings: Of the folders that hold the images.
    """
    whole = sum((listing.left_out for listing in listings), LeftOut())
    return [*whole.notes(endings=False), *whole.problems()]
