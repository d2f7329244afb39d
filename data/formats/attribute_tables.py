"""From the rows of an attribute dataset to `Samples` and `VerifyReport`: splits, persons seen in training, counts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench.data.card import Counts, DatasetCard, VerifyReport
from hcbench.data.crops import cached_crops, whole_images
from hcbench.data.files.names import some
from hcbench.data.files.under_root import check_names
from hcbench.data.findings import checked_images
from hcbench.data.formats.loading import check_cache, check_split
from hcbench.data.formats.person_splits import PARTS, folder_notes, report, sealed
from hcbench.data.samples import Int, Samples
from hcbench.errors import DataError

SPLITS = ("train", "val", "trainval", "test", "all")
_BASIC = PARTS["all"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """All rows of an attribute dataset, whatever split they are in.

    Attributes:
        base: The dataset's own folder.
        images: Folder that `files` are relative to.
        folder: Its name in `ids`, the same for every layout.
        layout: Which of the accepted layouts was recognised.
        files: M file names.
        names: A attribute names, as the mat has them.
        labels: int8 (M, A) of 0 and 1.
        rows: Rows of train, val and test, int64, from 0.
        persons: int64 (M,), the person in each row, -1 where nobody knows; None where the mat names no persons.
        slices: Labels of rows for slices of results, each (M,).
        notes: What `verify` and a log should say.
        variant: What tells this choice of splits from the usual one, for the samples' name.
    """

    base: Path
    images: Path
    folder: str
    layout: str
    files: tuple[str, ...]
    names: tuple[str, ...]
    labels: NDArray[np.int8]
    rows: Mapping[str, Int]
    persons: Int | None = None
    slices: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    variant: str = ""


def load_split(card: DatasetCard, table: Table, split: str, *, height: int, width: int, cache: Path) -> Samples:
    """Images of one split with their labels, sorted by file; each loader's `load` says what the fields hold.

    Raises:
        DataError: The split is unknown or empty, splits share rows, or an image is not as it should be.
        CacheError: The cache folder cannot be written.
    """
    check_split(card, split, SPLITS)
    check_cache(table.base, cache)
    _check_names(table)
    _check_disjoint(card, table)
    rows = np.array(sorted(_rows(table, split), key=lambda row: table.files[row]), np.int64)
    if not rows.size:
        raise DataError(f"{card.title} at {table.base} has no image of {split}.", "Take the official mat file.")
    for note in table.notes:
        log.info("%s: %s", card.name, note)
    files = [table.files[row] for row in rows]
    crops, pixels = cached_crops(whole_images(table.images, files, height, width), cache)
    return sealed(
        Samples(
            name=f"{card.name} {split}{table.variant}",
            fingerprint=pixels,
            images=crops,
            ids=np.array([f"{table.folder}/{file}" for file in files]),
            identity=None if table.persons is None else table.persons[rows],
            attributes=table.labels[rows],
            attribute_names=table.names,
            slices={name: values[rows] for name, values in _slices(table, split).items()},
            notes=tuple(f"{card.name}: {note}" for note in table.notes),
        )
    )


def verify_table(
    card: DatasetCard, root: Path, layout: str, read: Callable[[], Table], *, by_persons: bool = False
) -> VerifyReport:
    """Check table, images and counts. Reads every image; nothing is written.

    Args:
        card: The dataset's card.
        root: The folder that was looked at.
        layout: Which layout was recognised, should the table not tell because it cannot be read.
        read: Reads the table; a DataError where its files are not as they should be.
        by_persons: Whether nobody may be in two splits.
    """
    try:
        table = read()
        _check_names(table)
    except DataError as error:
        return report(card, root, layout, {}, problems=[error.message])
    problems = _person_problems(table) if by_persons else []
    try:
        _check_disjoint(card, table)
    except DataError as error:
        problems.append(error.message)
    damage, oddities = checked_images(table.images, table.files)
    return report(
        card,
        root,
        table.layout,
        _counts(card, table),
        problems=[*problems, *damage],
        notes=[*table.notes, *_constant(table), *folder_notes(table.images, table.files), *oddities],
    )


def person_in_train(table: Table) -> NDArray[np.bool_]:
    """Which rows, of whatever split, show a person who is in train, bool (M,); a table without persons knows none."""
    if table.persons is None:
        return np.zeros(len(table.files), np.bool_)
    return np.isin(table.persons, table.persons[table.rows["train"]]) & (table.persons >= 0)


def share_of_seen(table: Table) -> float:
    """Share of the test images whose person is in train, 0..1."""
    seen = person_in_train(table)[table.rows["test"]]
    return float(seen.sum() / max(1, seen.size))


def variant(partition: int) -> str:
    """What the samples' name says of a partition: nothing of the first, which the field uses."""
    return f", partition {partition}" if partition != 1 else ""


def _person_problems(table: Table) -> list[str]:
    """Persons who are in two splits of a table that is split by persons."""
    persons = np.empty(0, np.int64) if table.persons is None else table.persons
    own = [np.unique(persons[table.rows[split]]) for split in _BASIC]
    shared = np.flatnonzero(np.bincount(np.concatenate(own)) > 1)
    return (
        [f"{shared.size} persons are in two splits: {some([str(person) for person in shared])}"] if shared.size else []
    )


def _slices(table: Table, split: str) -> dict[str, NDArray[Any]]:
    """Slices of results; for val and test, where persons are known, also who has been seen in training."""
    scored = table.persons is not None and split in ("val", "test")
    further = {"person_in_train": person_in_train(table)} if scored else {}
    return {**table.slices, **further}


def _check_names(table: Table) -> None:
    where = table.base / table.layout.partition(",")[0]
    check_names(table.images, table.files, lambda row: f"{where}: row {row + 1} names")


def _check_disjoint(card: DatasetCard, table: Table) -> None:
    rows = _rows(table, "all")
    unique, times = np.unique(rows, return_counts=True)
    if unique.size < rows.size:
        names = [table.files[row] for row in unique[times > 1]]
        raise DataError(
            f"{len(names)} images of {card.title} are in a split twice or in two of them: {some(names)}.",
            "Splits share no image: take the official mat file.",
        )
    if len(set(table.files)) < len(table.files):
        raise DataError(f"{card.title} lists an image file more than once.", "Take the official mat file.")


def _counts(card: DatasetCard, table: Table) -> Counts:
    """Images, attributes and persons of each of the card's splits."""
    found: dict[str, dict[str, int]] = {}
    for name in card.counts:
        rows = _rows(table, name)
        found[name] = {"images": rows.size, "attributes": len(table.names) if rows.size else 0}
        if table.persons is not None:
            known = table.persons[rows]
            found[name]["persons"] = np.unique(known[known >= 0]).size
    return found


def _constant(table: Table) -> list[str]:
    """Attributes that a split shows always or never, so that its mA is not defined."""
    notes = []
    for split in _BASIC:
        labels = table.labels[table.rows[split]]
        constant = [name for name, column in zip(table.names, labels.T, strict=True) if np.unique(column).size == 1]
        if constant:
            notes.append(f"{split}: the same label in every image, so no mA: {some(constant)}")
    return notes


def _rows(table: Table, split: str) -> Int:
    return np.concatenate([table.rows[part] for part in PARTS[split]])
