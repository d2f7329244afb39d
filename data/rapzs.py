"""RAPzs: the images of RAPv2 whose person is known, split by persons (Jia et al., arXiv:2107.03576)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hcbench.data import rapv1, rapv2
from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.formats import attribute_files as files
from hcbench.data.formats import attribute_tables as tables
from hcbench.data.samples import Samples

CARD = DatasetCard(
    name="rapzs",
    title="RAPzs",
    homepage=rapv2.CARD.homepage,
    terms=rapv2.CARD.terms,
    obtain=f"{rapv2.CARD.obtain}\n{files.ZERO_SHOT_HELP}",
    tree=f"{rapv2.CARD.tree}\n  {files.ZERO_SHOT_FILE}                          row numbers of the split",
    counts={
        "train": {"images": 17_062, "attributes": 53},
        "val": {"images": 4_648, "attributes": 53},
        "test": {"images": 4_928, "attributes": 53},
        "all": {"images": 26_638, "attributes": 53},
    },
    unverified=frozenset({"train images", "val images", "test images"}),
    fields=rapv2.CARD.fields,
)
SPLITS = tables.SPLITS

_LEFT_OUT = 4
"""Place of Age46-60, the one scored attribute of RAPv2 that is not scored here."""


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """Whole images, resized, with attributes, split by the row numbers in `zero_shot.json`.

    Fields, arguments and errors are those of `rapv2.load`, but for the partition; the attribute Age46-60 is left out.
    """
    base, _ = files.find(root, CARD, [rapv1.LAYOUT])
    return tables.load_split(CARD, _read(base), split, height=height, width=width, cache=cache)


def annotation_files(root: Path) -> tuple[Path, ...]:
    """The files that decide what `load` gives.

    Raises:
        DataError: The root is no folder, or holds no accepted layout.
    """
    base, _ = files.find(root, CARD, [rapv1.LAYOUT])
    return (base / rapv1.LAYOUT[0], base / files.ZERO_SHOT_FILE)


def verify(root: Path) -> VerifyReport:
    """Check a copy: layout, mat, row numbers, every image, the counts. Reads every image; nothing is written.

    Raises:
        DataError: The root is no folder, or holds no accepted layout.
    """
    base, _ = files.find(root, CARD, [rapv1.LAYOUT])
    return tables.verify_table(CARD, root, ", ".join(rapv1.LAYOUT), lambda: _read(base))


def _read(base: Path) -> tables.Table:
    table, _ = rapv2.read(base)
    kept = [column for column in range(len(table.names)) if column != _LEFT_OUT]
    return replace(
        table,
        names=tuple(table.names[column] for column in kept),
        labels=table.labels[:, kept],
        rows=files.read_zero_shot(base / files.ZERO_SHOT_FILE, len(table.files)),
    )


DATASET = Dataset(card=CARD, load=load, verify=verify, splits=SPLITS, annotation_files=annotation_files)
