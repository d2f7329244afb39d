"""A small MPII folder in each layout."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import io

from hcbench.data.formats.mpii_files import _MAT_JOINTS

LAYOUTS = {
    "mmpose": ("annotations/mpii_{}.json", "annotations/mpii_gt_val.mat", {"train": "train", "val": "val"}),
    "hrnet": ("annot/{}.json", "annot/gt_valid.mat", {"train": "train", "val": "valid"}),
    "flat": ("mpii_{}.json", "mpii_gt_val.mat", {"train": "train", "val": "val"}),
}
# Files list images in no order at all, and persons of one image apart from each other.
IMAGES = {"train": ("052475643.jpg", "004645041.jpg", "052475643.jpg"), "val": ("9.jpg", "10.jpg", "9.jpg", "7.jpg")}


@dataclass
class MpiiTree:
    """An MPII folder under construction: three persons to train on, four to score; the right ankle is on nobody."""

    root: Path
    layout: str = "mmpose"
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    mat: dict[str, Any] = field(default_factory=dict)

    def write(self) -> MpiiTree:
        """Write images, json and mat."""
        rng = np.random.default_rng(5)
        for split, names in IMAGES.items():
            self.rows[split] = [self._person(name, rng) for name in names]
            for name in names:
                (self.root / "images").mkdir(parents=True, exist_ok=True)
                pixels = rng.integers(0, 256, (200, 320, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(self.root / "images" / name)
        self.rows["val"][0]["joints"][3] = [1.0, 1.0]  # the first pixel
        self.rows["val"][1]["joints_vis"][4] = 0  # out of sight, but scored
        joints = np.array([row["joints"] for row in self.rows["val"]])
        missing = np.zeros((16, 4), np.uint8)
        missing[0] = 1
        low = rng.integers(1, 200, (1, 2, 4)).astype(np.float64)
        cells = np.empty((1, 16), object)
        cells[0] = _MAT_JOINTS
        self.mat = {
            "headboxes_src": np.concatenate([low, low + 30.0]),
            "jnt_missing": missing,
            "pos_gt_src": joints.transpose(1, 2, 0),
            "dataset_joints": cells,
        }
        self.write_files()
        return self

    def write_files(self) -> None:
        """Write json and mat from `rows` and `mat`."""
        for split, rows in self.rows.items():
            self.path(split).parent.mkdir(parents=True, exist_ok=True)
            self.path(split).write_text(json.dumps(rows))
        io.savemat(self.mat_path, self.mat)

    def path(self, split: str) -> Path:
        """The json of a split."""
        name, _, called = LAYOUTS[self.layout]
        return self.root / name.format(called[split])

    @property
    def mat_path(self) -> Path:
        """The mat file."""
        return self.root / LAYOUTS[self.layout][1]

    @staticmethod
    def _person(name: str, rng: np.random.Generator) -> dict[str, Any]:
        joints = np.stack([rng.uniform(20, 300, 16), rng.uniform(20, 180, 16)], axis=1).round(4)
        joints[0] = -1
        return {
            "image": name,
            "center": rng.uniform(100, 150, 2).round().tolist(),
            "scale": float(rng.uniform(0.4, 0.9)),
            "joints": joints.tolist(),
            "joints_vis": [0] + [1] * 15,
        }
