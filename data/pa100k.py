"""PA-100K: 100,000 pedestrians with 26 attributes each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.formats import attribute_files as files
from hcbench.data.formats import attribute_tables as tables
from hcbench.data.formats.person_splits import PARTS
from hcbench.data.samples import Samples

CARD = DatasetCard(
    name="pa100k",
    title="PA-100K",
    homepage="https://github.com/xh-liu/HydraPlus-Net",
    terms="CC BY-NC 4.0 (not verified).",
    obtain="Download data.zip and annotation.mat through the link on the homepage and unpack them side by side.",
    tree="""\
ROOT/                                     with or without folders around it
  annotation.mat                          or: annotation/annotation.mat
  data/000001.jpg ... 100000.jpg          or: release_data/release_data/*.jpg, release_data/*.jpg""",
    counts={
        "train": {"images": 80_000, "attributes": 26},
        "val": {"images": 10_000, "attributes": 26},
        "test": {"images": 10_000, "attributes": 26},
    },
    fields=frozenset({"images", "attributes"}),
)
SPLITS = tables.SPLITS

_ATTRIBUTES = 26
_FOLDER = "data"
_IMAGES = ("data/release_data/release_data", "data/release_data", "data",
           "release_data/release_data", "release_data")  # fmt: skip
_LAYOUTS = [(mat, images) for mat in ("annotation.mat", "annotation/annotation.mat") for images in _IMAGES]


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """Whole images, resized, with their attributes.

    Args:
        root: Folder with one of the layouts of `CARD.tree`.
        split: One of `SPLITS`.
        height: Height of the images, pixels.
        width: Width of the images, pixels.
        cache: Folder outside of `root` that keeps the resized pixels.

    Returns:
        Samples sorted by file; `ids` are `data/000001.jpg`, whatever the layout. Attributes are 0 and 1, in the
        order and under the names of the mat.

    Raises:
        DataError: The folder, the mat or an image is not as it should be.
        CacheError: The cache folder cannot be written.
    """
    base, layout = files.find(root, CARD, _LAYOUTS)
    return tables.load_split(CARD, _read(base, *layout), split, height=height, width=width, cache=cache)


def annotation_files(root: Path) -> tuple[Path, ...]:
    """The files that decide what `load` gives.

    Raises:
        DataError: The root is no folder, or holds no accepted layout.
    """
    base, layout = files.find(root, CARD, _LAYOUTS)
    return (base / layout[0],)


def verify(root: Path) -> VerifyReport:
    """Check a copy: layout, mat, every image, the counts of each split. Reads every image; nothing is written.

    Raises:
        DataError: The root is no folder, or holds no accepted layout.
    """
    base, layout = files.find(root, CARD, _LAYOUTS)
    return tables.verify_table(CARD, root, ", ".join(layout), lambda: _read(base, *layout))


def _read(base: Path, annotation: str, images: str) -> tables.Table:
    """The lists of the three splits, one below the other."""
    path = base / annotation
    wanted = ["attributes"] + [f"{split}_{what}" for split in PARTS["all"] for what in ("images_name", "label")]
    mat = files.read_plain(path, wanted)
    names = files.names_of(mat["attributes"], _ATTRIBUTES, f"{path}: attributes")
    listed: list[str] = []
    labels, rows = [], {}
    for split in PARTS["all"]:
        where = f"{path}: {split}_label"
        values = files.matrix(mat[f"{split}_label"], _ATTRIBUTES, where)
        rows[split] = np.arange(len(listed), len(listed) + len(values))
        listed += files.texts(mat[f"{split}_images_name"], len(values), f"{path}: {split}_images_name")
        labels.append(files.binary(values, names, where))
    return tables.Table(
        base=base,
        images=base / images,
        folder=_FOLDER,
        layout=f"{annotation}, {images}/",
        files=tuple(listed),
        names=names,
        labels=np.concatenate(labels),
        rows=rows,
    )


DATASET = Dataset(card=CARD, load=load, verify=verify, splits=SPLITS, annotation_files=annotation_files)
