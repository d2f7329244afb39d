"""CrowdPose as person crops: fourteen joints in crowded photographs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from hcbench.data.card import DatasetCard
from hcbench.data.dataset import Dataset
from hcbench.data.formats.coco_files import BOX_AREA, Format, Layout, layout_of_files
from hcbench.data.formats.coco_persons import PersonSet
from hcbench.data.formats.loading import digest
from hcbench.data.samples import Samples
from hcbench.data.skeletons import COCO, CROWDPOSE
from hcbench.data.task_splits import TaskSplits

CARD = DatasetCard(
    name="crowdpose",
    title="CrowdPose",
    homepage="https://github.com/Jeff-sjtu/CrowdPose",
    terms="Non-commercial research; the photographs are COCO's, MPII's and AI Challenger's, whose terms apply, too\n"
    "(not verified: read them on the homepage).",
    obtain="Download the images from the homepage, and the json files that mmpose publishes for CrowdPose.",
    tree="""\
ROOT/                                     one of two layouts, with or without folders around it
  annotations/mmpose_crowdpose_{train,val,trainval,test}.json       or: json/crowdpose_{...}.json
  images/*.jpg""",
    counts={
        "train": {"images": 10_000},
        "val": {"images": 2_000},
        "trainval": {"images": 12_000},
        "test": {"images": 8_000},
    },
    unverified=frozenset({"images"}),
    fields=frozenset({"images", "keypoints", "area", "boxes", "image_id", "crop_center", "crop_size", "coco_truth"}),
)
SPLITS = ("train", "val", "trainval", "test")
TASK_SPLITS = TaskSplits(train="train", val="val", test="test")

_EASY, _HARD = 0.1, 0.8
"""Limits of `crowdIndex` between easy, medium and hard (not verified)."""


def _find(root: Path, split: str) -> Layout:
    files = (f"annotations/mmpose_crowdpose_{split}.json", f"json/crowdpose_{split}.json")
    return layout_of_files(root, CARD, split, [(file, "images") for file in files])


_LIMBS = tuple(place for place, joint in enumerate(CROWDPOSE.joints) if joint in COCO.joints)
_OWN = PersonSet(
    card=CARD, splits=SPLITS, find=_find,
    format=Format(skeleton=CROWDPOSE, area_of_box=BOX_AREA, counted=_LIMBS),
)  # fmt: skip


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """Crops of all persons with labelled keypoints, by the rules of `coco.load`.

    The json has no areas: 0.53 of the box stands in, as in mmpose. The owners count the twelve joints of the limbs
    alone, so a person of whom only head or neck is labelled is an ignore region, here as in scoring.

    Args:
        root: Folder with the layout of `CARD.tree`.
        split: `train`, `val`, `test`, or `trainval`, on which the field trains.
        height: Height of the crops, pixels.
        width: Width of the crops, pixels.
        cache: Folder outside of `root` that keeps the cut pixels.

    Returns:
        Samples in the order of image and annotation ids. `slices["crowd"]` is easy, medium or hard where the json
        says how crowded an image is; `coco_truth` is the json with areas, to be scored with `skeleton.sigmas`.

    Raises:
        DataError: The folder, the json or an image is not as it should be.
        CacheError: The cache folder cannot be written.
    """
    samples = _OWN.load(root, split, height=height, width=width, cache=cache)
    listed = samples.coco_truth["images"] if samples.coco_truth else []
    index = {image["id"]: image.get("crowdIndex") for image in listed}
    if samples.image_id is None or None in index.values():
        return samples
    crowded = np.array([index[int(image)] for image in samples.image_id], np.float64)
    level = np.select([crowded < _EASY, crowded > _HARD], ["easy", "hard"], "medium")
    return replace(samples, slices={"crowd": level}, fingerprint=digest(samples.fingerprint, level))


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
