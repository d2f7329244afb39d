"""PETAzs: PETA with the row numbers of Jia et al. (arXiv:2107.03576), by which nobody is in two splits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hcbench.data import peta
from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.formats import attribute_files as files
from hcbench.data.formats import attribute_tables as tables
from hcbench.data.samples import Samples

CARD = DatasetCard(
    name="peta-zs",
    title="PETAzs",
    homepage=peta.CARD.homepage,
    terms=peta.CARD.terms,
    obtain=f"{peta.CARD.obtain}\n{files.ZERO_SHOT_HELP}",
    tree=f"{peta.CARD.tree}\n  {files.ZERO_SHOT_FILE}                          row numbers of the split",
    counts={
        "train": {"images": 11_241, "attributes": 35},
        "val": {"images": 3_826, "attributes": 35},
        "test": {"images": 3_933, "attributes": 35},
        "all": peta.CARD.counts["all"],
    },
    unverified=frozenset({"train images", "val images", "test images"}),
    fields=peta.CARD.fields,
)
SPLITS = tables.SPLITS


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """Whole images, resized, with persons and attributes, split by the row numbers in `zero_shot.json`.

    Fields, arguments and errors are those of `peta.load`, but for the partition.
    """
    return tables.load_split(CARD, _read(peta.find(root)), split, height=height, width=width, cache=cache)


def annotation_files(root: Path) -> tuple[Path, ...]:
    """The files that decide what `load` gives.

    Raises:
        DataError: The root is no folder, or holds no accepted layout.
    """
    return (*peta.annotation_files(root), peta.find(root) / files.ZERO_SHOT_FILE)


def verify(root: Path) -> VerifyReport:
    """Check a copy: layout, mat, row numbers, every image, and that nobody is in two splits.

    Reads every image; nothing is written.

    Raises:
        DataError: The root is no folder, or holds no accepted layout.
    """
    base = peta.find(root)
    return tables.verify_table(CARD, root, ", ".join(peta.LAYOUT), lambda: _read(base), by_persons=True)


def _read(base: Path) -> tables.Table:
    table, _ = peta.read(base)
    return replace(table, rows=files.read_zero_shot(base / files.ZERO_SHOT_FILE, len(table.files)))


DATASET = Dataset(card=CARD, load=load, verify=verify, splits=SPLITS, renumbered=(), annotation_files=annotation_files)
