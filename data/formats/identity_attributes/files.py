"""`market_attribute.mat` and `duke_attribute.mat`: what persons wear and carry, one row per person (Lin et al., 2019).

Y. Lin et al., Improving Person Re-identification by Attribute and Identity Learning, Pattern Recognition 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench.data.files.names import some
from hcbench.data.formats.attribute_files import read_plain
from hcbench.errors import DataError

PARTS = ("train", "test")
"""The two halves of either file: its training persons, and those of query and gallery."""
UNKNOWN = -1
_NO, _YES = 1, 2
_UNSET = 0

AGES = (1, 2, 3, 4)
UPPER, LOWER = "upper colour", "lower colour"


@dataclass(frozen=True, kw_only=True, slots=True)
class AttributeFile:
    """What one of the two files holds.

    Attributes:
        variable: The struct in the mat; the file is called like it.
        homepage: Where its authors give it out.
        folder: How a clone of that repository is called.
        plain: Fields that are 1 or 2, each a question of its own.
        colours: Fields that are 1 or 2, of which one is 2, by question.
        steps: Fields with several values, each of which becomes a column, and these values.
        positive: What 2 means where the name does not say it.
        unset: Fields in which the owners left some persons out (0).
    """

    variable: str
    homepage: str
    folder: str
    plain: tuple[str, ...]
    colours: Mapping[str, tuple[str, ...]]
    steps: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    positive: Mapping[str, str]
    unset: frozenset[str] = frozenset()

    @property
    def file(self) -> str:
        """Its name."""
        return f"{self.variable}.mat"

    @property
    def places(self) -> tuple[str, ...]:
        """Where it is looked for, below the dataset's folder and below the folder that the user named."""
        return tuple(f"{folder}{self.file}" for folder in ("", f"{self.folder}/", "attribute/"))

    @property
    def binary(self) -> tuple[str, ...]:
        """Fields that are 1 or 2, in the order of the columns."""
        return (*self.plain, *(name for names in self.colours.values() for name in names))

    @property
    def names(self) -> tuple[str, ...]:
        """Columns: the mat's own names; a field of several steps becomes a column for each."""
        return (*self.binary, *(f"{name}{step}" for name, steps in self.steps.items() for step in steps))

    @property
    def groups(self) -> tuple[str, ...]:
        """The question that each column is an answer to."""
        coloured = [question for question, names in self.colours.items() for _ in names]
        return (*self.plain, *coloured, *(name for name, steps in self.steps.items() for _ in steps))

    def absent(self, base: Path) -> DataError:
        """The error that a folder does not hold the file."""
        return DataError(
            f"{base} holds no {self.file}, which says what persons wear and carry.",
            f"Take it from {self.homepage} and lay it into that folder. Re-identification does without.",
        )


MARKET = AttributeFile(
    variable="market_attribute",
    homepage="https://github.com/vana77/Market-1501_Attribute",
    folder="Market-1501_Attribute",
    plain=("backpack", "bag", "handbag", "clothes", "down", "up", "hair", "hat", "gender"),
    colours={
        UPPER: ("upblack", "upwhite", "upred", "uppurple", "upyellow", "upgray", "upblue", "upgreen"),
        LOWER: ("downblack", "downwhite", "downpink", "downpurple", "downyellow", "downgray", "downblue", "downgreen",
                "downbrown"),
    },
    steps={"age": AGES},
    positive={
        "gender": "female", "hair": "long hair", "up": "short sleeves", "down": "short trousers or skirt",
        "clothes": "trousers, not a dress",
    },
)  # fmt: skip
"""27 attributes of 751 and 750 persons (@9832cdd)."""

DUKE = AttributeFile(
    variable="duke_attribute",
    homepage="https://github.com/vana77/DukeMTMC-attribute",
    folder="DukeMTMC-attribute",
    plain=("backpack", "bag", "handbag", "boots", "gender", "hat", "shoes", "top"),
    colours={
        UPPER: ("upblack", "upwhite", "upred", "uppurple", "upgray", "upblue", "upgreen", "upbrown"),
        LOWER: ("downblack", "downwhite", "downred", "downgray", "downblue", "downgreen", "downbrown"),
    },
    positive={"gender": "female", "shoes": "light shoes", "top": "long upper-body clothing"},
    unset=frozenset({"top"}),
)  # fmt: skip
"""23 attributes of 702 and 1,110 persons (@68b86df): those of the gallery whom nobody queries have some as well."""

NAMES = MARKET.names
"""The columns of Market-1501."""


class PersonAttributes:
    """Attributes by person, of the training and the test persons.

    Fields are read by name, since their order differs between the two parts of the file.

    Args:
        path: The file.
        kind: Which of the files it is.

    Raises:
        DataError: The file is no such mat, or a field is missing or has another length or other values.
    """

    def __init__(self, path: Path, kind: AttributeFile = MARKET) -> None:
        whole = read_plain(path, [kind.variable])[kind.variable]
        self.path, self.kind = path, kind
        self._tables = {part: _table(whole, part, path, kind) for part in PARTS}

    def __call__(self, part: str, pids: NDArray[np.int64]) -> tuple[NDArray[np.int8], tuple[str, ...]]:
        """Attributes of images.

        Args:
            part: `train` or `test`.
            pids: int64 (N,), persons as the dataset numbers them.

        Returns:
            int8 (N, A) in {0, 1}, -1 for persons whom the file does not know (distractors) and for what it leaves open
            of others, and the A names.
        """
        table = self._tables[part]
        people = np.array(sorted(table), np.int64)
        rows = np.stack([table[person] for person in people.tolist()])
        position = np.searchsorted(people, pids).clip(max=len(people) - 1)
        known = people[position] == pids
        return np.where(known[:, None], rows[position], np.int8(UNKNOWN)), self.kind.names

    def persons(self, part: str) -> frozenset[int]:
        """The persons whom a part of the file knows."""
        return frozenset(self._tables[part])

    def notes(self) -> list[str]:
        """Notes for `verify`: how many persons there are, what is open, constant columns, persons without a colour."""
        file, names = self.kind.file, self.kind.names
        notes = [f"{file}: 1 means " + ", ".join(f"{meaning} ({name})" for name, meaning in self.kind.positive.items())]
        for part, table in self._tables.items():
            rows = np.stack(list(table.values()))
            constant = [name for name, column in zip(names, rows.T, strict=True) if len(np.unique(column)) == 1]
            notes.append(f"{file}: {len(table)} persons in {part}")
            if constant:
                notes.append(f"{file}: the same for all persons of {part}: {', '.join(constant)}")
            for name in sorted(self.kind.unset):
                column = names.index(name)
                if left := [f"{person:04d}" for person, row in sorted(table.items()) if row[column] == UNKNOWN]:
                    notes.append(f"{file}: {len(left)} persons of {part} have no {name} (0): {some(left)}")
            coloured = [[names.index(name) for name in colours] for colours in self.kind.colours.values()]
            pale = [
                f"{person:04d}"
                for person, row in sorted(table.items())
                if any(row[columns].sum() != 1 for columns in coloured)
            ]
            if pale:
                notes.append(f"{file}: not exactly one upper and one lower colour in {part}: {some(pale)}")
        return notes


def find_attributes(base: Path, root: Path, kind: AttributeFile = MARKET) -> PersonAttributes | None:
    """The attributes that lie in the dataset's folder or in the folder the user named; None where there are none.

    Raises:
        DataError: The file is there but is not as it should be.
    """
    path = find_file(base, root, kind)
    return None if path is None else PersonAttributes(path, kind)


def find_file(base: Path, root: Path, kind: AttributeFile) -> Path | None:
    """Where the file lies; None where there is none."""
    found = (folder / place for folder in (base, root) for place in kind.places)
    return next((path for path in found if path.is_file()), None)


def _table(whole: Any, part: str, path: Path, kind: AttributeFile) -> dict[int, NDArray[np.int8]]:
    struct = whole.get(part) if isinstance(whole, Mapping) else None
    held = struct if isinstance(struct, Mapping) else {}
    fields = (*kind.binary, *kind.steps)
    where = f"{path}: {kind.variable}.{part}"
    absent = [name for name in (*fields, "image_index") if name not in held]
    if absent:
        raise DataError(
            f"{where} has no {some(absent)}.",
            f"Expected the original {kind.file} of {kind.homepage}, with image_index.",
        )
    people = _people(held["image_index"], where)
    columns = {name: np.ravel(held[name]) for name in fields}
    for name, column in columns.items():
        allowed = kind.steps.get(name, (_UNSET, _NO, _YES) if name in kind.unset else (_NO, _YES))
        if column.shape != (len(people),) or not np.isin(column, allowed).all():
            raise DataError(
                f"{where}.{name} has the shape {column.shape} and the values "
                f"{some([str(value) for value in np.unique(column)])}.",
                f"Expected one of {', '.join(map(str, allowed))} for each of {len(people)} persons.",
            )
    values = [np.where(columns[name] == _UNSET, UNKNOWN, columns[name] == _YES) for name in kind.binary]
    values += [columns[name] == step for name, steps in kind.steps.items() for step in steps]
    return dict(zip(people, np.stack(values, axis=1).astype(np.int8), strict=True))


def _people(index: Any, where: str) -> list[int]:
    """The persons of the rows, in their order: it is sorted in the originals, but nothing here relies on that."""
    texts = [str(person).strip() for person in np.ravel(index)]
    strange = [text for text in texts if not text.isdecimal()]
    if strange or not texts:
        raise DataError(
            f"{where}.image_index holds {f'{some(strange)}, no number of a person' if strange else 'nobody'}.",
            "Expected a person's number, such as 0002, for each row.",
        )
    people = [int(text) for text in texts]
    twice = sorted({person for person in people if people.count(person) > 1})
    if twice:
        raise DataError(
            f"{where}.image_index names {len(twice)} persons more than once: {some([f'{one:04d}' for one in twice])}.",
            "Each person has one row: take the original file.",
        )
    return people
