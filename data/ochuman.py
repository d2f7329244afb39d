"""OCHuman as person crops: persons who hide each other, with COCO's joints. For validation and test alone."""

from __future__ import annotations

from pathlib import Path

from hcbench.data.card import DatasetCard
from hcbench.data.dataset import Dataset
from hcbench.data.formats.coco_files import BOX_AREA, Format, Layout, layout_of_files
from hcbench.data.formats.coco_persons import PersonSet
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
    total={"images": 4_731, "persons": 8_110},
    unverified=frozenset({"val images", "test images"}),
    fields=frozenset({"images", "keypoints", "area", "boxes", "image_id", "crop_center", "crop_size", "coco_truth"}),
)
SPLITS = ("val", "test")
TASK_SPLITS = TaskSplits(train=None, val="val", test="test")


def _find(root: Path, split: str) -> Layout:
    name = f"ochuman_coco_format_{split}_range_0.00_1.00.json"
    return layout_of_files(root, CARD, split, [(f"annotations/{name}", "images"), (name, "images")])


_OWN = PersonSet(card=CARD, splits=SPLITS, find=_find, format=Format(area_of_box=BOX_AREA))

load = _OWN.load
verify = _OWN.verify
annotation_files = _OWN.annotation_files
image_folders = _OWN.image_folders

DATASET = Dataset(
    card=CARD,
    load=load,
    verify=verify,
    splits=SPLITS,
    task_splits=TASK_SPLITS,
    annotation_files=annotation_files,
    image_folders=image_folders,
)
