"""Boxes of a person detector in COCO's result format, as HRNet and mmpose publish them for val2017."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench.data.formats.coco_people import ids_of, number, numbers, plain_id
from hcbench.data.formats.loading import read_json
from hcbench.errors import DataError

log = logging.getLogger(__name__)

_KEYS = frozenset({"bbox", "category_id", "image_id", "score"})


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Found boxes, by image id and then in the order of the file.

    Attributes:
        boxes: float64 (N, 4), x, y, w, h in the original image.
        scores: float64 (N,).
        image_id: int64 (N,).
        rows: int64 (N,), places in the file, from 0.
        notes: What was left out.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    image_id: NDArray[np.int64]
    rows: NDArray[np.int64]
    notes: tuple[str, ...] = ()


def detection_path(base: Path, split: str) -> Path:
    """Where HRNet and mmpose keep the boxes of a split, below COCO's folder."""
    return base / "person_detection_results" / f"COCO_{split}_detections_AP_H_56_person.json"


def detection_file(base: Path, split: str) -> Path:
    """The boxes of a split.

    Raises:
        DataError: There is no such file.
    """
    path = detection_path(base, split)
    if not path.is_file():
        raise DataError(
            f"{path} is missing.",
            "HRNet and mmpose name the source of these boxes; they exist for val2017. Or name a file of your own.",
        )
    return path


def read_detections(path: Path, truth: Mapping[str, Any]) -> Detections:
    """Read and check detections of persons on the images of a ground truth.

    Persons are the category that they are in the file of the ground truth. Detections of other categories are not asked
    for. Those on images that the ground truth does not list (a part of the split) and those without an extent are left
    out, and told.

    Raises:
        DataError: The file is no list of detections, or none of them is of these images; an entry is named.
    """
    entries = read_json(path)
    if not isinstance(entries, list):
        raise DataError(
            f"{path} holds a json {type(entries).__name__}.",
            "Expected the list of COCO's result format: bbox, category_id, image_id, score.",
        )
    known, (person,) = ids_of(truth["images"]), ids_of(truth["categories"])
    kept, empty, foreign = [], 0, 0
    for row, entry in enumerate(entries):
        box, score = _checked(entry, f"{path}: detection {row}")
        if plain_id(entry["category_id"]) != person:
            continue
        image = known.get(plain_id(entry["image_id"]))
        foreign += image is None
        empty += not (box[2] > 0 and box[3] > 0)
        if image is not None and box[2] > 0 and box[3] > 0:
            kept.append((image, row, box, score))
    if not kept:
        raise DataError(
            f"{path} holds no person (category {person}) on the {len(known)} images of the split, out of "
            f"{len(entries)} detections.",
            "Take the file of the same split; its image_id and category_id are those of the annotations.",
        )
    notes = (f"{path.name}: {foreign} detections on other images and {empty} empty ones are left out",)
    if foreign or empty:
        log.warning(notes[0])
    kept.sort(key=lambda one: one[:2])
    return Detections(
        boxes=np.array([box for _, _, box, _ in kept], np.float64),
        scores=np.array([score for *_, score in kept], np.float64),
        image_id=np.array([image for image, *_ in kept], np.int64),
        rows=np.array([row for _, row, *_ in kept], np.int64),
        notes=notes if foreign or empty else (),
    )


def _checked(entry: Any, what: str) -> tuple[list[float], float]:
    """The box and the score of a detection."""
    absent = sorted(_KEYS - entry.keys()) if isinstance(entry, dict) else sorted(_KEYS)
    if absent:
        held = ", ".join(sorted(entry)) if isinstance(entry, dict) else type(entry).__name__
        raise DataError(f"{what} has no {', '.join(absent)}; it has {held}.", "Expected COCO's result format.")
    box, score = numbers(entry["bbox"], 4, f"{what}: bbox"), number(entry["score"], f"{what}: score")
    if box is None or score is None:
        raise DataError(
            f"{what} has the box {entry['bbox']} and the score {entry['score']}.",
            "Expected x, y, width, height and a score, all finite.",
        )
    return box, score
