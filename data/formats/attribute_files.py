"""The mat files of pedestrian attribute sets: names, labels and splits, each checked before it is used.

PA-100K, PETA and RAP nest them differently; here are the parts that they share. A mat holds no code, unlike the pickles
that much of the field's code makes of it: those are never opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench.data.card import DatasetCard
from hcbench.data.files.names import some
from hcbench.data.formats.listing import find_base
from hcbench.data.formats.mat_files import read_mat
from hcbench.data.formats.person_splits import PARTS
from hcbench.data.samples import Int
from hcbench.errors import DataError

_LARGEST_EXACT = 2.0**53
PARTITIONS = 5
"""Random partitions that PETA and RAP come with; results of the field are those of the first, or the mean of all."""

ZERO_SHOT_FILE = "zero_shot.json"
ZERO_SHOT_HELP = """\
The row numbers of the split by persons are given as pickles alone (index_*_split_id50_img300_ratio0.03_0.pkl of
https://github.com/valencebond/Rethinking_of_PAR). A pickle can run any code when it is opened, so hcbench opens none.
Where you trust the file, turn it into zero_shot.json and lay that beside the folder of images:
  python -c "import json, pickle, sys; found = pickle.load(open(sys.argv[1], 'rb')); json.dump({key: list(map(int, \
found[key])) for key in ('train_idx', 'val_idx', 'test_idx')}, open('zero_shot.json', 'w'))" INDEX.pkl"""


def find(root: Path, card: DatasetCard, layouts: Iterable[Sequence[str]]) -> tuple[Path, Sequence[str]]:
    """`find_base`, with a word on pickles where there is nothing else.

    Raises:
        DataError: The root is no folder, or holds no layout.
    """
    layouts = [tuple(layout) for layout in layouts]
    try:
        return find_base(root, card, layouts)
    except DataError as error:
        pickles = sorted(path.name for deep in ("*.pkl", "*/*.pkl") for path in root.glob(deep))
        if not pickles:
            raise
        raise DataError(
            f"{error.message} {some(pickles)} is a pickle, which can run any code when opened: hcbench opens none.",
            f"Take the original mat file. {error.hint}",
        ) from error


def read_plain(path: Path, variables: Sequence[str]) -> dict[str, Any]:
    """The variables of a mat file without MATLAB's nesting, as `plain` gives them.

    Raises:
        DataError: The file is no mat file that can be read, or lacks a variable.
    """
    return {name: plain(value) for name, value in read_mat(path, variables).items()}


def plain(value: NDArray[Any]) -> Any:
    """A variable as scipy reads it, unwrapped: a struct as a dict of its fields in their order, several as a list.

    A cell array becomes a flat list, a text a str, and a matrix stays one.
    """
    if value.dtype.names:
        structs = [{name: plain(record[name]) for name in value.dtype.names} for record in value.ravel()]
        return structs[0] if len(structs) == 1 else structs
    if value.dtype == object:
        return [plain(np.asarray(item)) for item in value.ravel()]
    if value.dtype.kind == "U" and value.size <= 1:
        return str(value.item()) if value.size else ""
    return value


def need(struct: Any, fields: Sequence[str], where: str) -> list[Any]:
    """Values of these fields of a struct.

    Raises:
        DataError: It is no struct, or lacks one of them.
    """
    found = tuple(struct) if isinstance(struct, Mapping) else ()
    absent = [name for name in fields if name not in found]
    if absent:
        what = f"has the fields {', '.join(found)}" if found else "is no struct"
        raise DataError(
            f"{where} {what}; expected also {', '.join(absent)}.",
            "This is the mat file of another dataset or version: take this one's own.",
        )
    return [struct[name] for name in fields]


def texts(value: Any, count: int | None, where: str) -> tuple[str, ...]:
    """A cell array of texts; cells around each of them do not matter.

    Raises:
        DataError: It holds anything but texts, or their number is not `count`.
    """
    cells = value if isinstance(value, list) else [value]
    flat = [item[0] if isinstance(item, list) and len(item) == 1 else item for item in cells]
    strange = [item for item in flat if not isinstance(item, str)]
    if strange:
        raise DataError(f"{where} holds {strange[0]!r:.60}, no text.", "Expected a cell array of texts.")
    if count is not None and len(flat) != count:
        raise DataError(f"{where} holds {len(flat):,} texts instead of {count:,}.", "Take the official mat file.")
    return tuple(item.strip() for item in flat)


def names_of(value: Any, count: int, where: str) -> tuple[str, ...]:
    """Attribute names, each once.

    Raises:
        DataError: They are no texts, of another number, or not unique.
    """
    names = texts(value, count, where)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{where} names {some(twice)} more than once.", "Results are told apart by these names.")
    return names


def matrix(value: Any, columns: int, where: str) -> NDArray[np.float64]:
    """A matrix with so many columns, float64 (M, columns).

    Raises:
        DataError: It is no matrix of numbers, or has another shape.
    """
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        raise DataError(f"{where} holds no numbers.", "Take the official mat file.")
    array: NDArray[Any] = value
    if array.ndim != 2 or array.shape[1] != columns:
        shape = " x ".join(map(str, array.shape))
        raise DataError(f"{where} has the shape {shape}, not N x {columns}.", "Take the official mat file.")
    return array.astype(np.float64)


def binary(values: NDArray[np.float64], names: Sequence[str], where: str) -> NDArray[np.int8]:
    """Labels as int8 of 0 and 1.

    Raises:
        DataError: There is another value; the first attribute that has it is named.
    """
    strange = (values != 0) & (values != 1)
    if strange.any():
        row, column = (int(index) for index in np.argwhere(strange)[0])
        raise DataError(
            f"{where} has the label {values[row, column]:g} for {names[column]} in row {row + 1}.",
            "Expected 0 and 1: take the official mat file.",
        )
    return values.astype(np.int8)


def whole(values: NDArray[np.float64], where: str) -> Int:
    """Numbers that name something, such as persons, as int64.

    Raises:
        DataError: One is no whole number.
    """
    strange = np.flatnonzero(~np.isfinite(values) | (values != np.floor(values)) | (np.abs(values) > _LARGEST_EXACT))
    if strange.size:
        raise DataError(
            f"{where} has {values[strange[0]]:g} in row {strange[0] + 1}.",
            "Expected whole numbers: take the official mat file.",
        )
    return values.astype(np.int64)


def rows_of(value: Any, total: int, where: str) -> Int:
    """Row numbers of a mat, counted from 1, as int64 from 0.

    Raises:
        DataError: One is no whole number of 1..total.
    """
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf" or (value != np.floor(value)).any():
        raise DataError(f"{where} holds no row numbers.", "Expected whole numbers from 1.")
    rows = value.ravel()
    if rows.size and (rows.min() < 1 or rows.max() > total):
        raise DataError(
            f"{where} has rows from {rows.min():g} to {rows.max():g}; there are rows 1 to {total:,}.",
            "MATLAB counts from 1: the file was changed or is of another dataset.",
        )
    return rows.astype(np.int64) - 1


def partition(value: Any, number: int, splits: Sequence[str], total: int, where: str) -> dict[str, Int]:
    """Rows of each split of one random partition.

    Args:
        value: The partitions: structs whose fields, in their order, are the splits.
        number: Which partition, from 1.
        splits: Names of the splits.
        total: How many rows there are.
        where: For the error's words.

    Raises:
        DataError: There is no such partition, or it is not made of so many splits.
    """
    partitions = value if isinstance(value, list) else [value] if isinstance(value, Mapping) else []
    if not 1 <= number <= len(partitions):
        raise DataError(
            f"{where} has no partition {number}; it has {len(partitions)}.", f"Expected {PARTITIONS} of them."
        )
    one = partitions[number - 1]
    if not isinstance(one, Mapping) or len(one) != len(splits):
        what = f"the fields {', '.join(one)}" if isinstance(one, Mapping) else "no fields"
        raise DataError(f"{where}: partition {number} has {what}.", f"Expected the rows of {', '.join(splits)}.")
    return {
        split: rows_of(rows, total, f"{where}: {split} of partition {number}")
        for split, rows in zip(splits, one.values(), strict=True)
    }


def read_zero_shot(path: Path, total: int) -> dict[str, Int]:
    """Row numbers of the field's splits by persons: a json of `train_idx`, `val_idx`, `test_idx`, counted from 0.

    Their owners give pickles, which are not opened here; `ZERO_SHOT_HELP` says how to make the json of one.

    Raises:
        DataError: There is no such file, or it holds something else.
    """
    keys = {split: f"{split}_idx" for split in PARTS["all"]}
    expected = f"Expected an object of {', '.join(keys.values())}: lists of row numbers, counted from 0."
    if not path.is_file():
        raise DataError(f"There is no {path}.", ZERO_SHOT_HELP)
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as json: {error}.", expected) from error
    if not isinstance(content, Mapping) or not set(keys.values()) <= content.keys():
        raise DataError(
            f"{path} holds {', '.join(content) if isinstance(content, Mapping) else 'no object'}.", expected
        )
    found = {}
    for split, key in keys.items():
        rows = content[key]
        if not isinstance(rows, list) or any(type(row) is not int or not 0 <= row < total for row in rows):
            raise DataError(f"{path}: {key} is no list of row numbers from 0 to {total - 1:,}.", expected)
        found[split] = np.array(rows, np.int64)
    return found
