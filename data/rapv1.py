"""RAPv1: 41,585 pedestrians of 26 indoor cameras, with 51 scored attributes and five random partitions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.formats import attribute_files as files
from hcbench.data.formats import attribute_tables as tables
from hcbench.data.formats.loading import every_tenth
from hcbench.data.samples import Int, Samples
from hcbench.errors import DataError

CARD = DatasetCard(
    name="rapv1",
    title="RAPv1",
    homepage="https://www.rapdataset.com",
    terms="Signed agreement with CASIA; research only (not verified).",
    obtain="Sign the agreement on the homepage; unpack what its owners send.",
    tree="""\
ROOT/                                     with or without folders around it
  RAP_annotation/RAP_annotation.mat
  RAP_dataset/*.png""",
    counts={
        "trainval": {"images": 33_268, "attributes": 51},
        "test": {"images": 8_317, "attributes": 51},
    },
    fields=frozenset({"images", "attributes"}),
)
SPLITS = tables.SPLITS

LAYOUT = ("RAP_annotation/RAP_annotation.mat", "RAP_dataset")
"""Of RAPv1 and RAPv2 alike."""
_ATTRIBUTES, _SCORED = 92, 51
_PARTITIONS, _LABELS, _NAMES, _FILES = 0, 1, 3, 5
"""Places of the fields: their names differ between descriptions of this mat, their order does not."""


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path, partition: int = 1) -> Samples:
    """Whole images, resized, with attributes, of one of the five random partitions.

    The official partitions have no `val`: it is every tenth image of the official training images, sorted by name;
    `train` is what remains, `trainval` both. The mat tells no persons: images of one person may be in all.

    Args:
        root: Folder with the layout of `CARD.tree`.
        split: One of `SPLITS`.
        height: Height of the images, pixels.
        width: Width of the images, pixels.
        cache: Folder outside of `root` that keeps the resized pixels.
        partition: Which partition, 1..5.

    Returns:
        Samples sorted by file; `ids` are `RAP_dataset/<file>`. Attributes are 0 and 1: the first 51 of the mat, in its
        order and under its names.

    Raises:
        DataError: The folder, the mat or an image is not as it should be.
        CacheError: The cache folder cannot be written.
    """
    base, _ = files.find(root, CARD, [LAYOUT])
    table, parts = _read(base)
    table = replace(table, rows=_rows(base, table, parts, partition), variant=tables.variant(partition))
    return tables.load_split(CARD, table, split, height=height, width=width, cache=cache)


def annotation_files(root: Path) -> tuple[Path, ...]:
    """The files that decide what `load` gives.

    Raises:
        DataError: The root is no folder, or holds no accepted layout.
    """
    base, _ = files.find(root, CARD, [LAYOUT])
    return (base / LAYOUT[0],)


def verify(root: Path) -> VerifyReport:
    """Check a copy: layout, mat, every image, all partitions, the counts of the first.

    Reads every image; nothing is written.

    Raises:
        DataError: The root is no folder, or holds no accepted layout.
    """
    base, _ = files.find(root, CARD, [LAYOUT])

    def first_partition() -> tables.Table:
        table, parts = _read(base)
        rows = [_rows(base, table, parts, number) for number in range(1, files.PARTITIONS + 1)]
        return replace(table, rows=rows[0])

    return tables.verify_table(CARD, root, ", ".join(LAYOUT), first_partition)


def _rows(base: Path, table: tables.Table, parts: Any, number: int) -> dict[str, Int]:
    """Rows of one partition; `val` is carved out of its training rows."""
    total, where = len(table.files), f"{base / LAYOUT[0]}: the partitions"
    rows = files.partition(parts, number, ("train", "test"), total, where)
    ordered = np.array(sorted(rows["train"], key=lambda row: table.files[row]), np.int64)
    held_out = every_tenth(ordered.size)
    return {"train": ordered[~held_out], "val": ordered[held_out], "test": rows["test"]}


def _read(base: Path) -> tuple[tables.Table, Any]:
    """All rows of the mat, in no split yet, and its partitions."""
    path = base / LAYOUT[0]
    struct = files.read_plain(path, ["RAP_annotation"])["RAP_annotation"]
    fields = list(struct.values()) if isinstance(struct, dict) else []
    if len(fields) <= _FILES or "selected_attribute" in struct:
        version = " That is RAPv2: give it as rapv2." if fields and "selected_attribute" in struct else ""
        found = f"the fields {', '.join(struct)}" if fields else "no struct"
        raise DataError(
            f"{path}: RAP_annotation has {found}.",
            f"Expected at least {_FILES + 1} fields: partitions, labels, names in Chinese and English, positions, "
            f"image names.{version}",
        )
    every = files.names_of(fields[_NAMES], _ATTRIBUTES, f"{path}: field {_NAMES + 1}, the attribute names")
    where = f"{path}: field {_LABELS + 1}, the labels"
    values = files.matrix(fields[_LABELS], _ATTRIBUTES, where)[:, :_SCORED]
    table = tables.Table(
        base=base,
        images=base / LAYOUT[1],
        folder=LAYOUT[1],
        layout=", ".join(LAYOUT),
        files=files.texts(fields[_FILES], len(values), f"{path}: field {_FILES + 1}, the image names"),
        names=every[:_SCORED],
        labels=files.binary(values, every, where),
        rows={},
    )
    return table, fields[_PARTITIONS]


DATASET = Dataset(
    card=CARD,
    load=load,
    verify=verify,
    splits=SPLITS,
    options=frozenset({"partition"}),
    annotation_files=annotation_files,
)
