"""A small pose data set in COCO's format, as AI Challenger, CrowdPose and OCHuman are laid out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from hcbench.data import aic, crowdpose, ochuman

SIZE = (320, 240)


@dataclass
class PoseTree:
    """Two images with two persons each per split, listed in no order; images no one is on; files of a Mac."""

    root: Path
    files: dict[str, tuple[str, str]]
    joints: int
    without: tuple[str, ...] = ()
    image_extra: dict[str, Any] = field(default_factory=dict)
    truth: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self) -> PoseTree:
        """Write images and json files."""
        rng = np.random.default_rng(11)
        for number, split in enumerate(self.files):
            ids = [10 * number + k for k in (3, 1, 2)]
            images = [
                {"id": i, "file_name": f"{i:06d}.jpg", "width": SIZE[0], "height": SIZE[1], **self.image_extra}
                for i in ids
            ]
            persons = [self._person(100 * i + k, i, rng) for i in ids[:2] for k in (2, 1)]
            self.truth[split] = {"images": images, "annotations": persons, "categories": [{"id": 1, "name": "person"}]}
            folder = self.root / self.files[split][1]
            folder.mkdir(parents=True, exist_ok=True)
            for image in images:
                pixels = rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / image["file_name"])
            (folder / f"._{images[0]['file_name']}").write_bytes(b"junk")
        (self.root / ".DS_Store").write_bytes(b"junk")
        self.write_json()
        return self

    def write_json(self) -> None:
        """Write the json files from `truth`."""
        for split, content in self.truth.items():
            self.path(split).parent.mkdir(parents=True, exist_ok=True)
            self.path(split).write_text(json.dumps(content))

    def path(self, split: str) -> Path:
        """The json of a split."""
        return self.root / self.files[split][0]

    def _person(self, number: int, image: int, rng: np.random.Generator) -> dict[str, Any]:
        x, y, w, h = rng.uniform(5, 100), rng.uniform(5, 60), rng.uniform(40, 180), rng.uniform(60, 160)
        points = np.stack(
            [rng.uniform(x, x + w, self.joints), rng.uniform(y, y + h, self.joints), rng.integers(1, 3, self.joints)], 1
        )
        points[2] = 0
        person = {
            "id": number,
            "image_id": image,
            "category_id": 1,
            "iscrowd": 0,
            "bbox": [x, y, w, h],
            "area": 0.6 * w * h,
            "keypoints": points.ravel().tolist(),
            "num_keypoints": self.joints - 3,  # CrowdPose counts neither head nor neck
            "segmentation": [],
        }
        return {key: value for key, value in person.items() if key not in self.without}


AIC_IMAGES = {
    "train": "ai_challenger_keypoint_train_20170902/keypoint_train_images_20170902",
    "val": "ai_challenger_keypoint_validation_20170911/keypoint_validation_images_20170911",
}
SETS: dict[str, tuple[ModuleType, dict[str, Any]]] = {
    "aic": (aic, {
        "files": {split: (f"annotations/aic_{split}.json", images) for split, images in AIC_IMAGES.items()},
        "joints": 14, "without": ("area", "iscrowd", "segmentation"),
    }),
    "crowdpose": (crowdpose, {
        "files": {s: (f"annotations/mmpose_crowdpose_{s}.json", "images") for s in ("train", "val", "test")},
        "joints": 14, "without": ("area", "segmentation"), "image_extra": {"crowdIndex": 0.33},
    }),
    "ochuman": (ochuman, {
        "files": {
            s: (f"annotations/ochuman_coco_format_{s}_range_0.00_1.00.json", "images") for s in ("val", "test")
        },
        "joints": 17,
    }),
}  # fmt: skip


def build(name: str, root: Path) -> PoseTree:
    """The tree of one of `SETS`, written."""
    return PoseTree(root, **SETS[name][1]).write()
