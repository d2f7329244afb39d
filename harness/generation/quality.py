"""What came out: a contact sheet, and whether the pose of the picture is the pose that was asked for."""

from __future__ import annotations

from itertools import groupby, islice
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hcbench.benchmarks.metrics.pck import pck
from hcbench.data.pixels import read_image
from hcbench.errors import DataError, WeightsError
from hcbench.harness.generation.conditions import STYLES, draw_skeleton
from hcbench.harness.generation.job import SETTINGS, read_rows
from hcbench.harness.jobs.atomic_files import read_json, replacing

SHEET: Final = "contact-sheet.png"
_MARGIN: Final = 1.25
"""Poses are framed with this much room around the person (see `scenes`)."""
_AT_ONCE: Final = 32


class Detector(Protocol):
    """Finds one person's joints per image."""

    def __call__(self, images: list[Image.Image]) -> NDArray[np.float64]:
        """COCO's 17 keypoints (n, 17, 2) in image pixels."""


def contact_sheet(folder: Path, *, groups: int = 12, height: int = 192) -> Path:
    """Write the first groups as one picture: a row per group, its skeleton first where it has one, then its variants.

    Raises:
        DataError: There is no image.
    """
    by_group = groupby(read_rows(folder), key=lambda row: row["group_id"])
    rows = [list(images) for _, images in islice(by_group, groups)]
    if not rows:
        raise DataError(f"{folder} holds no image to show.", "Every one of them was left out.")
    width = round(height * rows[0][0]["width"] / rows[0][0]["height"])
    stored = read_json(folder / SETTINGS).get("style")
    style = stored if stored in STYLES else STYLES[0]  # the renderer follows no drawing
    tiles = [
        [*_skeleton(images[0], height, width, style), *(read_image(folder / row["image_path"]) for row in images)]
        for images in rows
    ]
    sheet = Image.new("RGB", (max(len(row) for row in tiles) * width, len(tiles) * height))
    for y, row in enumerate(tiles):
        for x, tile in enumerate(row):
            sheet.paste(tile.resize((width, height), Image.Resampling.LANCZOS), (x * width, y * height))
    with replacing(folder / SHEET) as temporary:
        sheet.save(temporary, "PNG")
    return folder / SHEET


def condition_pck(folder: Path, detect: Detector) -> dict[str, float]:
    """Share of the skeleton's joints that are found again on the picture, `pck_0.05` and so on, fractions 0..1.

    A joint is found where the error is below a share of the longer side of the person's box, that is of the image less
    the room around the person.

    Raises:
        DataError: The images have no pose.
    """
    rows = [row for row in read_rows(folder) if row.get("keypoints") is not None]
    if not rows:
        raise DataError("These images have no pose to compare with.", "Leave --pose-model out.")
    found = [
        detect([read_image(folder / row["image_path"]) for row in rows[first : first + _AT_ONCE]])
        for first in range(0, len(rows), _AT_ONCE)
    ]
    truth = np.array([row["keypoints"] for row in rows], np.float64).reshape(-1, 17, 3)
    boxes = np.array([[0.0, 0.0, row["width"] / _MARGIN, row["height"] / _MARGIN] for row in rows])
    return pck(np.concatenate(found), truth[..., :2], truth[..., 2] > 0, boxes).summary()


class VitPose:
    """ViTPose as transformers keeps it, from a local folder.

    Raises:
        WeightsError: The folder is not there or cannot be loaded.
    """

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoImageProcessor, VitPoseForPoseEstimation

        expected = "Expected config.json, model.safetensors and preprocessor_config.json of a ViTPose with 17 joints."
        if not (folder.expanduser() / "config.json").is_file():
            raise WeightsError(f"--pose-model {folder}: there is no config.json.", f"{expected} Nothing is downloaded.")
        try:
            self.processor: Any = AutoImageProcessor.from_pretrained(folder.expanduser(), local_files_only=True)
            self.model: Any = VitPoseForPoseEstimation.from_pretrained(folder.expanduser(), local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise WeightsError(f"--pose-model {folder} cannot be loaded: {first}", expected) from error
        if self.model.config.num_labels != 17:
            raise WeightsError(f"--pose-model {folder} finds {self.model.config.num_labels} joints.", expected)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = self.model.eval().to(self.device)

    def __call__(self, images: list[Image.Image]) -> NDArray[np.float64]:
        """See `Detector`; the person is taken to fill the image but for the room around it."""
        import torch

        boxes = [[_person_box(image)] for image in images]
        inputs = self.processor(images, boxes=boxes, return_tensors="pt").to(self.device)
        with torch.inference_mode():
            found = self.processor.post_process_pose_estimation(self.model(**inputs), boxes=boxes)
        return np.stack([np.asarray(one[0]["keypoints"], np.float64) for one in found])


def _person_box(image: Image.Image) -> list[float]:
    width, height = image.width / _MARGIN, image.height / _MARGIN
    return [(image.width - width) / 2, (image.height - height) / 2, width, height]


def _skeleton(row: dict[str, Any], height: int, width: int, style: str) -> list[Image.Image]:
    """The skeleton drawn at the size of a tile, as the generator was shown it; nothing where it is not known."""
    if row.get("keypoints") is None:
        return []
    points = np.array(row["keypoints"], np.float64).reshape(17, 3)
    points[:, :2] = (points[:, :2] + 0.5) * (width / row["width"], height / row["height"]) - 0.5
    return [Image.fromarray(draw_skeleton(points, height, width, style=style, stick=2))]
