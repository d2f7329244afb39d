"""Crowd Instance-level Human Parsing (CIHP): twenty classes on photographs of several persons.

Images are taken whole, with everyone on them, as the field's mIoU over classes is measured. Photographs are mostly
wider than high: an input of 1 : 1 or wider wastes the least.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from hcbench.data.card import DatasetCard
from hcbench.data.dataset import Dataset
from hcbench.data.files.names import some
from hcbench.data.files.under_root import check_names
from hcbench.data.formats.listing import find_base, list_files
from hcbench.data.formats.parsing_files import Pairs, ParsingSet, read_stems
from hcbench.data.part_names import CIHP
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
    labelled = [f"{PurePosixPath(name).stem}.png" for name in there.files]
    times = Counter(labelled)
    shared = [name for name, label in zip(there.files, labelled, strict=True) if times[label] > 1]
    if shared:
        raise DataError(
            f"{len(shared)} images in {base / images} share a label map with another: {some(shared)}.",
            "Names must differ in more than their endings: take out copies.",
        )
    return Pairs(
        base=base,
        layout=f"{images}/ and {labels}/",
        image_folder=base / images,
        label_folder=base / labels,
        images=there.files,
        labels=tuple(labelled),
        ids=tuple(f"{images}/{name}" for name in there.files),
        listing=there,
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
    labels = tuple(row[1].lstrip("/") for row in rows)
    for names in (images, labels):  # lines of a list begin with a slash, but mean the data set's folder
        check_names(base, names, lambda place: f"{base / name}: the line {' '.join(rows[place])!r} names")
    return Pairs(
        base=base,
        layout=f"{name}, images/ and labels/",
        image_folder=base,
        label_folder=base,
        images=images,
        labels=labels,
        ids=images,
        listing=list_files(base / "images", refuse=False),
    )


_OWN = ParsingSet(card=CARD, splits=SPLITS, names=CIHP, find=_find)

load = _OWN.load
label_map = _OWN.label_map
verify = _OWN.verify

DATASET = Dataset(card=CARD, load=load, verify=verify, splits=SPLITS, task_splits=TASK_SPLITS)
