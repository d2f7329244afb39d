"""PETA: 19,000 pedestrians of ten small sets, with 35 scored attributes; random partitions and a split by persons.

The random partitions of the field put the same persons into training and test. The mat tells persons, so the leak is
measured: `verify` reports it, and every image of val and test is marked (`slices["person_in_train"]`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.formats import attribute_files as files
from hcbench.data.formats import attribute_tables as tables
from hcbench.data.formats.person_splits import PARTS
from hcbench.data.samples import Int, Samples
from hcbench.errors import DataError

CARD = DatasetCard(
    name="peta",
    title="PETA",
    homepage="http://mmlab.ie.cuhk.edu.hk/projects/PETA.html",
    terms="Research only; ten source sets, whose terms apply to their images (not verified).",
    obtain="Download PETA.mat and the 19,000 renumbered images (00001.png ...) that come with DeepMAR\n"
    "(https://github.com/dangweili/pedestrian-attribute-recognition-pytorch) and unpack them side by side.\n"
    "The first release, ten folders with a Label.txt each, has neither the numbers nor the splits.",
    tree="""\
ROOT/                                     with or without folders around it
  PETA.mat
  images/00001.png ... 19000.png""",
    counts={
        "train": {"images": 9_500, "attributes": 35},
        "val": {"images": 1_900, "attributes": 35},
        "test": {"images": 7_600, "attributes": 35},
        "all": {"images": 19_000, "attributes": 35, "persons": 8_699},
    },
    fields=frozenset({"images", "identity", "attributes"}),
)
SPLITS = tables.SPLITS

LAYOUT = ("PETA.mat", "images")
_ATTRIBUTES, _SCORED = 105, 35
_PERSON, _SOURCE, _LABELS = 1, 2, 4
"""Columns of `data`: image number, person, source set, person in that source, then the attributes."""


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path, partition: int = 1) -> Samples:
    """Whole images, resized, with persons and attributes, of one of the five random partitions.

    Args:
        root: Folder with the layout of `CARD.tree`.
        split: One of `SPLITS`.
        height: Height of the images, pixels.
        width: Width of the images, pixels.
        cache: Folder outside of `root` that keeps the resized pixels.
        partition: Which partition, 1..5.

    Returns:
        Samples sorted by file; `ids` are `images/00001.png`. Attributes are 0 and 1, in the order of the mat's
        selection and under its names. `identity` is the mat's person in every split, so that a person in two of them
        has one number. `slices` tell the source set (1..10) and, in val and test, `person_in_train`.

    Raises:
        DataError: The folder, the mat or an image is not as it should be.
        CacheError: The cache folder cannot be written.
    """
    base = find(root)
    table, struct = read(base)
    table = replace(table, rows=random_rows(table, struct, partition), variant=tables.variant(partition))
    return tables.load_split(CARD, table, split, height=height, width=width, cache=cache)


def annotation_files(root: Path) -> tuple[Path, ...]:
    """The files that decide what `load` gives.

    Raises:
        DataError: The root is no folder, or holds no accepted layout.
    """
    return (find(root) / LAYOUT[0],)


def verify(root: Path) -> VerifyReport:
    """Check a copy: layout, mat, every image, the counts of each split, all partitions, and the leak of persons.

    Reads every image; nothing is written.

    Raises:
        DataError: The root is no folder, or holds no accepted layout.
    """
    base = find(root)

    def first_partition() -> tables.Table:
        table, struct = read(base)
        numbers = range(1, files.PARTITIONS + 1)
        partitions = [replace(table, rows=random_rows(table, struct, number)) for number in numbers]
        leaks = ", ".join(f"{100 * tables.share_of_seen(one):.1f} %" for one in partitions)
        note = f"share of test images whose person is in train, too, by partition: {leaks}"
        return replace(partitions[0], notes=(*table.notes, note))

    return tables.verify_table(CARD, root, ", ".join(LAYOUT), first_partition)


def find(root: Path) -> Path:
    """The folder that holds the mat and the images.

    Raises:
        DataError: The root is no folder, or holds no such folder.
    """
    return files.find(root, CARD, [LAYOUT])[0]


def random_rows(table: tables.Table, struct: Any, partition: int) -> dict[str, Int]:
    """Rows of each split of one of the random partitions, 1..5.

    Raises:
        DataError: There is no such partition, or it is not as it should be.
    """
    path = table.base / LAYOUT[0]
    (parts,) = files.need(struct, ("partion_attribute",), f"{path}: peta")  # the mat spells it so
    return files.partition(parts, partition, PARTS["all"], len(table.files), f"{path}: partion_attribute")


def read(base: Path) -> tuple[tables.Table, Any]:
    """All rows of the mat, in no split yet, and the mat's struct.

    Raises:
        DataError: The mat is not as it should be.
    """
    path = base / LAYOUT[0]
    struct = files.read_plain(path, ["peta"])["peta"]
    data, attribute, selected = files.need(struct, ("data", "attribute", "selected_attribute"), f"{path}: peta")
    values = files.matrix(data, _LABELS + _ATTRIBUTES, f"{path}: data")
    every = files.names_of(attribute, _ATTRIBUTES, f"{path}: attribute")
    # Columns of `data`, counted from 1: the first attribute is column 5.
    columns = files.rows_of(selected, values.shape[1], f"{path}: selected_attribute")
    if columns.size != _SCORED or columns.min() < _LABELS:
        first = f" from {columns.min() + 1} on" if columns.size else ""
        raise DataError(
            f"{path}: selected_attribute holds {columns.size} columns{first}.",
            f"Expected {_SCORED} columns of data from {_LABELS + 1} on: take the official mat file.",
        )
    names = tuple(every[column - _LABELS] for column in columns)
    numbers = np.arange(1, len(values) + 1)
    renumbered = (values[:, 0] != numbers).any()
    table = tables.Table(
        base=base,
        images=base / LAYOUT[1],
        folder=LAYOUT[1],
        layout=", ".join(LAYOUT),
        files=tuple(f"{number:05d}.png" for number in numbers),
        names=names,
        labels=files.binary(values[:, columns], names, f"{path}: data"),
        rows={},
        persons=files.whole(values[:, _PERSON], f"{path}: the persons (column {_PERSON + 1} of data)"),
        slices={"source": files.whole(values[:, _SOURCE], f"{path}: the source sets (column {_SOURCE + 1} of data)")},
        notes=("the image numbers in data are not 1, 2, 3 ...: the row tells the file",) if renumbered else (),
    )
    return table, struct


DATASET = Dataset(
    card=CARD,
    load=load,
    verify=verify,
    splits=SPLITS,
    renumbered=(),
    options=frozenset({"partition"}),
    annotation_files=annotation_files,
)
