"""Crowd Instance-level Human Parsing (CIHP): twenty classes on photographs of several persons.

Images are taken whole, with everyone on them, as the field's mIoU over classes is measured. Photographs are mostly
wider than high: an input of 1 : 1 or wider wastes the least.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from hcbench.data.card import DatasetCard, Report
from hcbench.data.listing import find_base, list_files
from hcbench.data.parsing_files import Pairs, ParsingSet, label_map_of, load_parsing, read_stems, verify_parsing
from hcbench.data.part_names import CIHP
from hcbench.data.samples import Samples
from hcbench.data.task_splits import TaskSplits
from hcbench.errors import DataError

CARD = DatasetCard(
    name="cihp",
    title="Crowd Instance-level Human Parsing (CIHP)",
    homepage="http://sysu-hcp.net/lip/",
    terms="Non-commercial research (not verified: read it on the homepage).",
    obtain="Download instance-level_human_parsing from the homepage. The labels of the test split are not public.",
    tree="""\
ROOT/                                     one of two layouts, with or without folders around it
  Training/Images/*.jpg    Training/Category_ids/*.png           (not Categories/, which holds colours)
  Validation/Images/*.jpg  Validation/Category_ids/*.png
ROOT/                                     as CIHP_PGN has it
  images/*.jpg  labels/*.png
  list/train.txt  list/val.txt            (or list/train_rev.txt), of lines like: /images/x.jpg /labels/x.png""",
    counts={"train": {"images": 28_280}, "val": {"images": 5_000}},
    unverified=frozenset({"images"}),
    fields=frozenset({"images", "parts", "crop_center", "crop_size"}),
)
SPLITS = ("train", "val")
TASK_SPLITS = TaskSplits(train="train", val=None, test="val")

_FOLDERS = {"train": "Training", "val": "Validation"}


def _find(root: Path, split: str) -> Pairs:
    folder = _FOLDERS[split]
    lists = [f"list/{split}.txt", *(["list/train_rev.txt"] if split == "train" else [])]
    layouts = [(f"{folder}/Images", f"{folder}/Category_ids"), *((name, "images", "labels") for name in lists)]
    base, layout = find_base(root, CARD, layouts)
    return _of_folders(base, layout[0], layout[1]) if len(layout) == 2 else _of_list(base, layout[0])


def _of_folders(base: Path, images: str, labels: str) -> Pairs:
    """The split is whatever lies in its folder."""
    there = list_files(base / images)
    if not there.files:
        raise DataError(f"{base / images} holds no image.", f"Expected:\n{CARD.tree}")
    return Pairs(
        base=base,
        layout=f"{images}/ and {labels}/",
        image_folder=base / images,
        label_folder=base / labels,
        images=there.files,
        labels=tuple(f"{PurePosixPath(name).stem}.png" for name in there.files),
        ids=tuple(f"{images}/{name}" for name in there.files),
        junk=there.junk,
    )


def _of_list(base: Path, name: str) -> Pairs:
    """The split is what the lines of a list name: an image, its label map and, in some lists, the flipped one."""
    rows = sorted(line.split() for line in read_stems(base / name))
    short = [row for row in rows if len(row) < 2]
    if short:
        raise DataError(
            f"{base / name} has the line {' '.join(short[0])!r}.", 'Expected lines "/images/x.jpg /labels/x.png".'
        )
    images = tuple(row[0].lstrip("/") for row in rows)
    return Pairs(
        base=base,
        layout=f"{name}, images/ and labels/",
        image_folder=base,
        label_folder=base,
        images=images,
        labels=tuple(row[1].lstrip("/") for row in rows),
        ids=images,
        junk=list_files(base / "images").junk,
    )


_OWN = ParsingSet(card=CARD, splits=SPLITS, names=CIHP, find=_find)


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """All photographs of a split, whole, with their label maps.

    Args:
        root: Folder with one of the layouts of `CARD.tree`.
        split: `train` or `val`.
        height: Height of images and label maps, pixels.
        width: Width of images and label maps, pixels.
        cache: Folder outside of `root` that keeps the resized pixels.

    Returns:
        Samples in the order of their names. `parts` are at the input's size; `label_map` gives a photograph's own.

    Raises:
        DataError: The folder, a list, an image or a label map is not as it should be.
        CacheError: The cache folder cannot be written.
    """
    return load_parsing(_OWN, root, split, height=height, width=width, cache=cache)


def label_map(root: Path, split: str, name: str) -> NDArray[np.uint8]:
    """The label map of the sample called `name`, uint8 (h, w) at the size of its photograph; errors as `load`."""
    return label_map_of(_OWN, root, split, name)


def verify(root: Path) -> Report:
    """Check a copy: layout, lists, every image and label map, their sizes and numbers, and the counts of each split.

    Raises:
        DataError: The root is no folder, or holds neither split.
    """
    return verify_parsing(_OWN, root)
