"""Boxes of a person detector in COCO's result format, as HRNet and mmpose publish them for val2017."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench.data.formats.coco_people import ids_of, plain_id
from hcbench.data.formats.loading import read_json
from hcbench.errors import DataError

log = logging.getLogger(__name__)

_PERSON = 1
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

    Detections of other categories are not asked for. Those on images that the ground truth does not list (a part of
    the split) and those without an extent are left out, and told.

    Raises:
        DataError: The file is no list of detections, or none of them is of these images; an entry is named.
    """
    entries = read_json(path)
    if not isinstance(entries, list):
        raise DataError(
            f"{path} holds a json {type(entries).__name__}.",
            "Expected the list of COCO's result format: bbox, category_id, image_id, score.",
        )
    known = ids_of(truth["images"])
    kept, empty, foreign = [], 0, 0
    for row, entry in enumerate(entries):
        _check(entry, f"{path}: detection {row}")
        if entry["category_id"] != _PERSON:
            continue
        image = known.get(plain_id(entry["image_id"]))
        foreign += image is None
        empty += not (entry["bbox"][2] > 0 and entry["bbox"][3] > 0)
        if image is not None and entry["bbox"][2] > 0 and entry["bbox"][3] > 0:
            kept.append((image, row, entry))
    if not kept:
        raise DataError(
            f"{path} holds no person on the {len(known)} images of the split, out of {len(entries)} detections.",
            "Take the file of the same split; its image_id are COCO's numbers.",
        )
    notes = (f"{path.name}: {foreign} detections on other images and {empty} empty ones are left out",)
    if foreign or empty:
        log.warning(notes[0])
    kept.sort(key=lambda one: one[:2])
    return Detections(
        boxes=np.array([entry["bbox"] for *_, entry in kept], np.float64),
        scores=np.array([entry["score"] for *_, entry in kept], np.float64),
        image_id=np.array([image for image, *_ in kept], np.int64),
        rows=np.array([row for _, row, _ in kept], np.int64),
        notes=notes if foreign or empty else (),
    )


def _check(entry: Any, what: str) -> None:
    absent = sorted(_KEYS - entry.keys()) if isinstance(entry, dict) else sorted(_KEYS)
    if absent:
        held = ", ".join(sorted(entry)) if isinstance(entry, dict) else type(entry).__name__
        raise DataError(f"{what} has no {', '.join(absent)}; it has {held}.", "Expected COCO's result format.")
    numbers = [*entry["bbox"], entry["score"]]
    if len(numbers) != 5 or not np.isfinite(numbers).all():
        raise DataError(
            f"{what} has the box {entry['bbox']} and the score {entry['score']}.",
            "Expected x, y, width, height and a score, all finite.",
        )
