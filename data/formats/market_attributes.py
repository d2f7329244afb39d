"""`market_attribute.mat`: what the persons of Market-1501 wear and carry, one row per person (Lin et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench.data.formats.attribute_files import read_plain
from hcbench.data.formats.loading import some
from hcbench.errors import DataError

FILE = "market_attribute.mat"
PLACES = (FILE, f"Market-1501_Attribute/{FILE}", f"attribute/{FILE}")
"""Where the file is looked for, below the dataset's folder and below the folder around it."""

POSITIVE = {
    "gender": "female", "hair": "long hair", "up": "short sleeves", "down": "short trousers or skirt",
    "clothes": "trousers, not a dress",
}  # fmt: skip
"""What 1 means where the name does not say it; the mat calls it 2."""
BINARY = (
    "backpack", "bag", "handbag", "clothes", "down", "up", "hair", "hat", "gender",
    "upblack", "upwhite", "upred", "uppurple", "upyellow", "upgray", "upblue", "upgreen",
    "downblack", "downwhite", "downpink", "downpurple", "downyellow", "downgray", "downblue", "downgreen", "downbrown",
)  # fmt: skip
AGES = (1, 2, 3, 4)
NAMES = (*BINARY, *(f"age{age}" for age in AGES))
"""Columns: the mat's own names; its `age` of four steps becomes four columns."""
UNKNOWN = -1


class PersonAttributes:
    """Attributes by person, of the training and the test persons.

    Fields are read by name, since their order differs between the two parts of the file.

    Args:
        path: The file.

    Raises:
        DataError: The file is no such mat, or a field is missing or has another length or other values.
    """

    def __init__(self, path: Path) -> None:
        whole = read_plain(path, ["market_attribute"])["market_attribute"]
        self.path = path
        self._tables = {part: _table(whole, part, path) for part in ("train", "test")}

    def __call__(self, part: str, pids: NDArray[np.int64]) -> tuple[NDArray[np.int8], tuple[str, ...]]:
        """Attributes of images.

        Args:
            part: `train` or `test`.
            pids: int64 (N,), persons as the dataset numbers them.

        Returns:
            int8 (N, 30) in {0, 1}, -1 for persons whom the file does not know (distractors), and the names.
        """
        table = self._tables[part]
        people = np.array(sorted(table), np.int64)
        rows = np.stack([table[person] for person in people.tolist()])
        position = np.searchsorted(people, pids).clip(max=len(people) - 1)
        known = people[position] == pids
        return np.where(known[:, None], rows[position], np.int8(UNKNOWN)), NAMES

    def notes(self) -> list[str]:
        """Notes for `verify`: how many persons there are, constant columns, persons without a colour."""
        notes = [f"{FILE}: 1 means " + ", ".join(f"{meaning} ({name})" for name, meaning in POSITIVE.items())]
        for part, table in self._tables.items():
            rows = np.stack(list(table.values()))
            constant = [name for name, column in zip(NAMES, rows.T, strict=True) if len(np.unique(column)) == 1]
            notes.append(f"{FILE}: {len(table)} persons in {part}")
            if constant:
                notes.append(f"{FILE}: the same for all persons of {part}: {', '.join(constant)}")
            pale = [
                f"{person:04d}"
                for start in ("up", "down")
                for person, row in sorted(table.items())
                if row[[name.startswith(start) and name != start for name in NAMES]].sum() != 1
            ]
            if pale:
                notes.append(f"{FILE}: not exactly one upper and one lower colour in {part}: {some(pale)}")
        return notes


def find_attributes(base: Path, root: Path) -> PersonAttributes | None:
    """The attributes that lie in the dataset's folder or in the folder the user named; None where there are none.

    Raises:
        DataError: The file is there but is not as it should be.
    """
    for folder in (base, root):
        for place in PLACES:
            if (folder / place).is_file():
                return PersonAttributes(folder / place)
    return None


def _table(whole: Any, part: str, path: Path) -> dict[int, NDArray[np.int8]]:
    struct = whole.get(part) if isinstance(whole, Mapping) else None
    held = struct if isinstance(struct, Mapping) else {}
    absent = [name for name in (*BINARY, "age", "image_index") if name not in held]
    if absent:
        raise DataError(
            f"{path}: market_attribute.{part} has no {some(absent)}.",
            "Expected the original market_attribute.mat with 27 attributes and image_index.",
        )
    people = [int(str(person)) for person in np.ravel(held["image_index"])]
    columns = {name: np.ravel(held[name]) for name in (*BINARY, "age")}
    for name, column in columns.items():
        allowed = AGES if name == "age" else (1, 2)
        if column.shape != (len(people),) or not np.isin(column, allowed).all():
            raise DataError(
                f"{path}: market_attribute.{part}.{name} has the shape {column.shape} and the values "
                f"{some([str(value) for value in np.unique(column)])}.",
                f"Expected one of {', '.join(map(str, allowed))} for each of {len(people)} persons.",
            )
    ages = [columns["age"] == age for age in AGES]
    rows = np.stack([*(columns[name] == 2 for name in BINARY), *ages], axis=1).astype(np.int8)
    return dict(zip(people, rows, strict=True))
