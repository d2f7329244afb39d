"""RAPv2: 84,928 pedestrians with 54 scored attributes, some of them uncertain, and five random partitions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hcbench.data import rapv1
from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.formats import attribute_files as files
from hcbench.data.formats import attribute_tables as tables
from hcbench.data.formats.person_splits import PARTS
from hcbench.data.samples import Int, Samples
from hcbench.errors import DataError

CARD = DatasetCard(
    name="rapv2",
    title="RAPv2",
    homepage=rapv1.CARD.homepage,
    terms=rapv1.CARD.terms,
    obtain=rapv1.CARD.obtain,
    tree=rapv1.CARD.tree,
    counts={
        "train": {"images": 50_957, "attributes": 54},
        "val": {"images": 16_986, "attributes": 54},
        "test": {"images": 16_985, "attributes": 54},
    },
    fields=frozenset({"images", "attributes"}),
)
SPLITS = tables.SPLITS

_ATTRIBUTES, _SCORED = 152, 54
_UNCERTAIN = 2


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path, partition: int = 1) -> Samples:
    """Whole images, resized, with attributes, of one of the five random partitions.

    Args:
        root: Folder with the layout of `CARD.tree`.
        split: One of `SPLITS`.
        height: Height of the images, pixels.
        width: Width of the images, pixels.
        cache: Folder outside of `root` that keeps the resized pixels.
        partition: Which partition, 1..5.

    Returns:
        Samples sorted by file; `ids` are `RAP_dataset/<file>`. Attributes are 0 and 1, in the order of the mat's
        selection and under its names; labels that the mat calls uncertain (2) are 0, as in the field's code, and a
        note counts them.

    Raises:
        DataError: The folder, the mat or an image is not as it should be.
        CacheError: The cache folder cannot be written.
    """
    base, _ = files.find(root, CARD, [rapv1.LAYOUT])
    table, parts = read(base)
    table = replace(table, rows=_rows(table, parts, partition), variant=tables.variant(partition))
    return tables.load_split(CARD, table, split, height=height, width=width, cache=cache)


def annotation_files(root: Path) -> tuple[Path, ...]:
    """The files that decide what `load` gives.

    Raises:
        DataError: The root is no folder, or holds no accepted layout.
    """
    base, _ = files.find(root, CARD, [rapv1.LAYOUT])
    return (base / rapv1.LAYOUT[0],)


def verify(root: Path) -> VerifyReport:
    """Check a copy: layout, mat, every image, all partitions, the counts of the first.

    Reads every image; nothing is written.

    Raises:
        DataError: The root is no folder, or holds no accepted layout.
    """
    base, _ = files.find(root, CARD, [rapv1.LAYOUT])

    def first_partition() -> tables.Table:
        table, parts = read(base)
        rows = [_rows(table, parts, number) for number in range(1, files.PARTITIONS + 1)]
        return replace(table, rows=rows[0])

    return tables.verify_table(CARD, root, ", ".join(rapv1.LAYOUT), first_partition)


def read(base: Path) -> tuple[tables.Table, Any]:
    """All rows of the mat, in no split yet, and its partitions.

    Raises:
        DataError: The mat is not as it should be.
    """
    path = base / rapv1.LAYOUT[0]
    struct = files.read_plain(path, ["RAP_annotation"])["RAP_annotation"]
    wanted = ("name", "attribute", "data", "selected_attribute", "partition_attribute")
    listed, attribute, data, selected, parts = files.need(struct, wanted, f"{path}: RAP_annotation")
    every = files.names_of(attribute, _ATTRIBUTES, f"{path}: attribute")
    columns = files.rows_of(selected, _ATTRIBUTES, f"{path}: selected_attribute")
    if columns.size != _SCORED:
        raise DataError(f"{path}: selected_attribute holds {columns.size} columns.", f"Expected {_SCORED} of them.")
    names = tuple(every[column] for column in columns)
    values = files.matrix(data, _ATTRIBUTES, f"{path}: data")[:, columns]
    uncertain = values == _UNCERTAIN
    # DEVIATION (dangweili/RAP person-reid/static): there 2 becomes -1, unknown; the field's attribute code (and so
    # published numbers) takes it for absent.
    labels = files.binary(np.where(uncertain, 0, values), names, f"{path}: data")
    share = f"{int(uncertain.sum()):,} of {values.size:,} scored labels are uncertain (2) and count as 0"
    table = tables.Table(
        base=base,
        images=base / rapv1.LAYOUT[1],
        folder=rapv1.LAYOUT[1],
        layout=", ".join(rapv1.LAYOUT),
        files=files.texts(listed, len(values), f"{path}: name"),
        names=names,
        labels=labels,
        rows={},
        notes=(share,) if uncertain.any() else (),
    )
    return table, parts


def _rows(table: tables.Table, parts: Any, number: int) -> dict[str, Int]:
    where = f"{table.base / rapv1.LAYOUT[0]}: partition_attribute"
    return files.partition(parts, number, PARTS["all"], len(table.files), where)


DATASET = Dataset(
    card=CARD,
    load=load,
    verify=verify,
    splits=SPLITS,
    options=frozenset({"partition"}),
    annotation_files=annotation_files,
)
