"""A COCO folder under construction, in each official layout."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

LAYOUTS = ("official", "official-images", "merged")
SPLITS = ("train2017", "val2017")


@dataclass
class Tree:
    """A COCO folder under construction: two splits of three images each, 640 x 480 or smaller."""

    root: Path
    layout: str

    def write(self) -> None:
        """Write images and json as they stand."""
        rng = np.random.default_rng(3)
        self.images: list[dict[str, Any]] = []
        self.persons: list[dict[str, Any]] = []
        self.captions: list[dict[str, Any]] = []
        for number in range(6):
            split = SPLITS[number % 2]
            width, height = (640, 480) if number else (200, 333)
            image = {"id": 100 + number, "file_name": f"{100 + number:012d}.jpg", "width": width, "height": height}
            self.images.append({**image, "split": split})
            self._write_image(number, self.path(image["file_name"], split), (width, height), rng)
            if number == 5:
                continue  # a listed photograph without anybody, as most of COCO's are
            self.persons += [
                self._person(len(self.persons) + 1 + k, 100 + number, width, height, rng) for k in range(3)
            ]
            self.captions.append({"id": number, "image_id": 100 + number, "caption": f"photograph {number} "})
        self.persons[1] |= {"keypoints": [0] * 51, "num_keypoints": 0}
        self.persons[2] |= {"iscrowd": 1, "keypoints": [0] * 51, "num_keypoints": 0}
        self.persons[4] |= {"area": 0.0}
        self.persons[5] |= {"bbox": [650.0, 10.0, 5.0, 5.0]}  # outside its image
        self.write_json()

    def path(self, file_name: str, split: str) -> Path:
        """Where an image lies in this layout."""
        folder = {"official": split, "official-images": f"images/{split}", "merged": "images"}[self.layout]
        return self.root / folder / file_name

    def json_path(self, split: str, kind: str = "person_keypoints") -> Path:
        """Where a json lies in this layout."""
        return self.root / "annotations" / (f"{kind}.json" if self.layout == "merged" else f"{kind}_{split}.json")

    def write_json(self) -> None:
        """Write the annotation files from `images`, `persons` and `captions`."""
        (self.root / "annotations").mkdir(parents=True, exist_ok=True)
        for split in SPLITS:
            listed = [i for i in self.images if self.layout == "merged" or i["split"] == split]
            if self.layout != "merged":
                listed = [{key: value for key, value in i.items() if key != "split"} for i in listed]
            ids = {image["id"] for image in listed}
            for kind, entries in (("person_keypoints", self.persons), ("captions", self.captions)):
                content = {
                    "info": {},
                    "licenses": [],
                    "images": listed,
                    "annotations": [entry for entry in entries if entry["image_id"] in ids],
                    "categories": [{"id": 1, "name": "person"}],
                }
                self.json_path(split, kind).write_text(json.dumps(content))

    @staticmethod
    def _write_image(number: int, path: Path, size: tuple[int, int], rng: np.random.Generator) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
        if number == 1:
            image = image.convert("L")
        exif = Image.Exif()
        if number == 3:
            exif[0x0112] = 6  # "turn me by 90 degrees", which COCO's coordinates know nothing of
        image.save(path, exif=exif)

    @staticmethod
    def _person(number: int, image: int, width: int, height: int, rng: np.random.Generator) -> dict[str, Any]:
        x, y = rng.uniform(0, width / 2), rng.uniform(0, height / 2)
        w, h = rng.uniform(20, width / 2), rng.uniform(40, height / 2)
        points = np.stack([rng.uniform(x, x + w, 17), rng.uniform(y, y + h, 17), rng.integers(0, 3, 17)], axis=1)
        points[0, 2] = 2
        points[points[:, 2] == 0] = 0
        return {
            "id": number,
            "image_id": image,
            "category_id": 1,
            "iscrowd": 0,
            "bbox": [x, y, w, h],
            "area": w * h * 0.6,
            "keypoints": points.ravel().tolist(),
            "num_keypoints": int((points[:, 2] > 0).sum()),
            "segmentation": [[x, y, x + w, y, x + w, y + h]],
        }
