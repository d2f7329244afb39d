"""AI Challenger keypoints (AIC) as person crops: fourteen joints, the right side first."""

from __future__ import annotations

from pathlib import Path

from hcbench.data.card import DatasetCard, Report
from hcbench.data.coco_files import BOX_AREA, Format, Layout, layout_of_files
from hcbench.data.coco_persons import PersonSet, annotation_files_of, load_persons, verify_persons
from hcbench.data.samples import Samples
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
    return layout_of_files(root, CARD, [(f"annotations/aic_{split}.json", images) for images in _IMAGES[split]])


_OWN = PersonSet(card=CARD, splits=SPLITS, find=_find, format=Format(skeleton=AIC, area_of_box=BOX_AREA))


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """Crops of all persons with labelled keypoints, by the rules of `coco.load`.

    The json has no areas: 0.53 of the box stands in, as in mmpose.

    Args:
        root: Folder with the layout of `CARD.tree`.
        split: `train` or `val`.
        height: Height of the crops, pixels.
        width: Width of the crops, pixels.
        cache: Folder outside of `root` that keeps the cut pixels.

    Returns:
        Samples in the order of image and annotation ids; `coco_truth` is the json with areas, to be scored with
        `skeleton.sigmas`.

    Raises:
        DataError: The folder, the json or an image is not as it should be. A file of the owners, where 1 is visible,
            2 hidden and 3 absent, is refused.
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
