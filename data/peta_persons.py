"""PETA split by persons as its mat tells them: nobody of test or val is in train. hcbench's own split.

The field's split of this kind (`peta-zs`) needs row numbers that are given as pickles alone; this one needs the mat.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from hcbench.data import peta
from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.formats import attribute_tables as tables
from hcbench.data.formats.loading import numbered
from hcbench.data.samples import Int, Samples

CARD = DatasetCard(
    name="peta-persons",
    title="PETA by persons (hcbench's own split)",
    homepage=peta.CARD.homepage,
    terms=peta.CARD.terms,
    obtain=peta.CARD.obtain,
    tree=peta.CARD.tree,
    counts={"all": peta.CARD.counts["all"]},
    fields=peta.CARD.fields,
)
SPLITS = tables.SPLITS
CORPUS_SPLIT = "train"
"""The split to pre-train on; the card counts no split but `all`, as nobody else has made this one."""

_TEST = (1, 4, 6, 8)
_VAL = 9


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """Whole images, resized, with persons and attributes, split by persons as `person_rows` says.

    Fields, arguments and errors are those of `peta.load`, but for the partition.
    """
    return tables.load_split(CARD, _read(peta.find(root)), split, height=height, width=width, cache=cache)


def annotation_files(root: Path) -> tuple[Path, ...]:
    """The files that decide what `load` gives.

    Raises:
        DataError: The root is no folder, or holds no accepted layout.
    """
    return peta.annotation_files(root)


def verify(root: Path) -> VerifyReport:
    """Check a copy: layout, mat, every image, the counts. Reads every image; nothing is written.

    Raises:
        DataError: The root is no folder, or holds no accepted layout.
    """
    base = peta.find(root)
    return tables.verify_table(CARD, root, ", ".join(peta.LAYOUT), lambda: _read(base), by_persons=True)


def person_rows(persons: Int) -> dict[str, Int]:
    """Rows of a split in which nobody is in two of train, val and test.

    The sorted persons are dealt out in rounds of ten, five to train, one to val (the 10th) and four to test (the
    2nd, 5th, 7th and 9th): the shares of the random partitions, and of each source set, whose persons are neighbours.

    Args:
        persons: int64 (M,), the person in each row.
    """
    place = numbered(persons) % 10
    is_test, is_val = np.isin(place, _TEST), place == _VAL
    return {
        "train": np.flatnonzero(~is_test & ~is_val),
        "val": np.flatnonzero(is_val),
        "test": np.flatnonzero(is_test),
    }


def _read(base: Path) -> tables.Table:
    table, _ = peta.read(base)
    return replace(table, rows=person_rows(np.empty(0, np.int64) if table.persons is None else table.persons))


DATASET = Dataset(
    card=CARD,
    load=load,
    verify=verify,
    splits=SPLITS,
    renumbered=(),
    annotation_files=annotation_files,
    corpus_split=CORPUS_SPLIT,
)
