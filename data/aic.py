"""AI Challenger keypoints (AIC) as person crops: fourteen joints, the right side first.

Read from the json in COCO's format. The owners' own files, where 1 is visible, 2 hidden and 3 absent, are refused.
"""

from __future__ import annotations

from pathlib import Path

from hcbench.data.card import DatasetCard
from hcbench.data.dataset import Dataset
from hcbench.data.formats.coco_files import BOX_AREA, Format, Layout, layout_of_files
from hcbench.data.formats.coco_persons import PersonSet
from hcbench.data.skeletons import AIC
from hcbench.data.task_splits import TaskSplits

CARD = DatasetCard(
    name="aic",
    title="AI Challenger keypoints",
    homepage="https://github.com/AIChallenger/AI_Challenger_2017",
    terms="Research; the photographs come from the web (not verified: read it on the homepage).",
    obtain="Download the keypoint images of 2017 from the homepage, and the json files that mmpose publishes for them.",
    tree="""\
ROOT/                                     with or without folders around it
  annotations/aic_train.json  annotations/aic_val.json
  ai_challenger_keypoint_train_20170902/keypoint_train_images_20170902/*.jpg       (or ..._train_20170909/...)
  ai_challenger_keypoint_validation_20170911/keypoint_validation_images_20170911/*.jpg""",
    counts={"train": {"images": 210_000}, "val": {"images": 30_000}},
    unverified=frozenset({"images"}),
    fields=frozenset({"images", "keypoints", "area", "boxes", "image_id", "crop_center", "crop_size", "coco_truth"}),
)
SPLITS = ("train", "val")
TASK_SPLITS = TaskSplits(train="train", val=None, test="val")

_IMAGES = {
    "train": ("ai_challenger_keypoint_train_20170902/keypoint_train_images_20170902",
              "ai_challenger_keypoint_train_20170909/keypoint_train_images_20170902"),
    "val": ("ai_challenger_keypoint_validation_20170911/keypoint_validation_images_20170911",),
}  # fmt: skip


def _find(root: Path, split: str) -> Layout:
    return layout_of_files(root, CARD, split, [(f"annotations/aic_{split}.json", images) for images in _IMAGES[split]])


_OWN = PersonSet(card=CARD, splits=SPLITS, find=_find, format=Format(skeleton=AIC, area_of_box=BOX_AREA))

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
