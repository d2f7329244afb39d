"""OCHuman as person crops: persons who hide each other, with COCO's joints. For validation and test alone."""

from __future__ import annotations

from pathlib import Path

from hcbench.data.card import DatasetCard, Report
from hcbench.data.coco_files import BOX_AREA, Format, Layout, layout_of_files
from hcbench.data.coco_persons import PersonSet, annotation_files_of, load_persons, verify_persons
from hcbench.data.samples import Samples
from hcbench.data.task_splits import TaskSplits

CARD = DatasetCard(
    name="ochuman",
    title="OCHuman",
    homepage="https://github.com/liruilong940607/OCHumanApi",
    terms="Non-commercial research (not verified: read it on the homepage).",
    obtain="Ask on the homepage for images and annotations. Val and test are for scoring: train on COCO.",
    tree="""\
ROOT/                                     with or without folders around it
  annotations/ochuman_coco_format_val_range_0.00_1.00.json        (or beside images/)
  annotations/ochuman_coco_format_test_range_0.00_1.00.json
  images/*.jpg""",
    counts={"val": {"images": 2_500}, "test": {"images": 2_231}},
    unverified=frozenset({"images"}),
    fields=frozenset({"images", "keypoints", "area", "boxes", "image_id", "crop_center", "crop_size", "coco_truth"}),
)
SPLITS = ("val", "test")
TASK_SPLITS = TaskSplits(train=None, val="val", test="test")


def _find(root: Path, split: str) -> Layout:
    name = f"ochuman_coco_format_{split}_range_0.00_1.00.json"
    return layout_of_files(root, CARD, [(f"annotations/{name}", "images"), (name, "images")])


_OWN = PersonSet(card=CARD, splits=SPLITS, find=_find, format=Format(area_of_box=BOX_AREA))


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """Crops of all persons with labelled keypoints, by the rules of `coco.load`.

    Args:
        root: Folder with the layout of `CARD.tree`.
        split: `val` or `test`; nothing may be trained on either.
        height: Height of the crops, pixels.
        width: Width of the crops, pixels.
        cache: Folder outside of `root` that keeps the cut pixels.

    Returns:
        Samples in the order of image and annotation ids; `coco_truth` is the json of the whole split.

    Raises:
        DataError: The folder, the json or an image is not as it should be.
        CacheError: The cache folder cannot be written.
    """
    return load_persons(_OWN, root, split, height=height, width=width, cache=cache)


def verify(root: Path) -> Report:
    """Check a copy: layout, json, every image's presence, decoding and size, and the counts of each split.

    Raises:
        DataError: The root is no folder, or holds neither split.
    """
    return verify_persons(_OWN, root)


def annotation_files(root: Path) -> tuple[Path, ...]:
    """The json files that decide what `load` gives, of every split that is there, sorted.

    Raises:
        DataError: The root is no folder, or holds neither split.
    """
    return annotation_files_of(_OWN, root)
