"""COCO keypoint records: writing ground truth and results so that pycocotools reads them rightly."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hcbench.benchmarks.metrics.arrays import coordinates, label_vector, to_numpy
from hcbench.errors import TaskError

logger = logging.getLogger(__name__)

PERSON = 1
JOINTS = 17
"""Of COCO, where nothing else is said."""


def coco_ground_truth(
    image_ids: ArrayLike, keypoints: ArrayLike, boxes: ArrayLike, *, areas: ArrayLike | None = None
) -> dict[str, Any]:
    """Write persons as a COCO keypoint file. Annotations are numbered from 1: pycocotools takes id 0 as "no match".

    Args:
        image_ids: (N,) integer image of each person; an image may occur several times.
        keypoints: (N, K, 3) x, y in 0-based pixels and visibility 0, 1 or 2; COCO has K = 17. Joints of visibility 0
            may be NaN; they are written as (0, 0), as COCO's are.
        boxes: (N, 4) x1, y1, x2, y2.
        areas: (N,) person areas in pixels; the box area when left out.

    Raises:
        TaskError: Shapes differ.

    >>> truth = coco_ground_truth([7], np.full((1, 17, 3), 2.0), [[0, 0, 9, 9]])
    >>> truth["annotations"][0]["id"], truth["annotations"][0]["num_keypoints"], truth["images"]
    (1, 17, [{'id': 7}])
    """
    points = coordinates(keypoints, "keypoints", (None, None, 3))
    points[points[..., 2] == 0] = 0.0
    images = label_vector(image_ids, "image_ids", len(points)).tolist()
    corners = coordinates(boxes, "boxes", (len(points), 4))
    sides = corners[:, 2:] - corners[:, :2]
    sizes = sides.prod(axis=1) if areas is None else coordinates(areas, "areas", (len(points),))
    annotations = [
        {
            "id": number,
            "image_id": image,
            "category_id": PERSON,
            "keypoints": joints.ravel().tolist(),
            "num_keypoints": int((joints[:, 2] > 0).sum()),
            "bbox": [*corner[:2].tolist(), *side.tolist()],
            "area": float(size),
            "iscrowd": 0,
        }
        for number, (image, joints, corner, side, size) in enumerate(
            zip(images, points, corners, sides, sizes, strict=True), start=1
        )
    ]
    return {
        "images": [{"id": image} for image in sorted(set(images))],
        "annotations": annotations,
        "categories": [{"id": PERSON, "name": "person"}],
    }


def coco_results(
    image_ids: ArrayLike, keypoints: ArrayLike, scores: ArrayLike, joint_scores: ArrayLike | None = None
) -> list[dict[str, Any]]:
    """Write predicted persons as a COCO result list.

    Args:
        image_ids: (N,) integer image of each person.
        keypoints: (N, K, 2) x, y in 0-based pixels. NaN marks a joint that could not be read; a result list cannot
            say so, and the joint goes to (0, 0) with score 0.
        scores: (N,) score of each person.
        joint_scores: (N, K) scores of the joints; 1 when left out. They do not enter the metric.

    Raises:
        TaskError: Shapes differ.
    """
    points = coordinates(keypoints, "keypoints", (None, None, 2))
    images = label_vector(image_ids, "image_ids", len(points)).tolist()
    persons = coordinates(scores, "scores", (len(points),))
    given = np.ones(points.shape[:2]) if joint_scores is None else to_numpy(joint_scores)
    joints = coordinates(given, "joint_scores", points.shape[:2])
    known = np.isfinite(points).all(axis=2, keepdims=True)
    triples = np.where(known, np.concatenate([points, joints[..., None]], axis=2), 0.0)
    return [
        {"image_id": image, "category_id": PERSON, "keypoints": triple.ravel().tolist(), "score": float(score)}
        for image, triple, score in zip(images, triples, persons, strict=True)
    ]


def checked_ground_truth(truth: dict[str, Any], joints: int = JOINTS) -> dict[str, Any]:
    """Copy a ground truth of so many joints, annotations numbered from 1 in file order, missing definitions filled in.

    Without annotations the category is the first of the file's own.

    Raises:
        TaskError: A part or field is missing, a box, an area or a labelled joint is not finite, an area is negative, an
            annotation id is no integer, ids repeat, or there is more than one category.
    """
    missing = {"images", "annotations"} - truth.keys()
    if missing:
        raise TaskError(f"The COCO ground truth lacks {', '.join(sorted(missing))}; expected images and annotations.")
    annotations = []
    for number, annotation in enumerate(truth["annotations"], start=1):
        absent = {"image_id", "category_id", "keypoints", "area", "bbox"} - annotation.keys()
        if absent:
            raise TaskError(f"COCO annotation number {number} lacks {', '.join(sorted(absent))}.")
        visible = _check_annotation(annotation, f"COCO annotation number {number}", joints)
        annotations.append(
            {
                "iscrowd": 0,
                "num_keypoints": visible,
                **annotation,
                # DEVIATION (ppwwyyxx/cocoapi pycocotools/cocoeval.py evaluateImg): there the annotation with id 0 can
                # never match; a private numbering from 1 takes that trap away and changes nothing else.
                "id": number,
            }
        )
    ids = [annotation["id"] for annotation in truth["annotations"] if "id" in annotation]
    odd = [i for i in ids if not (isinstance(i, Real) and float(i).is_integer())]
    if odd:
        raise TaskError(f"The COCO ground truth holds {len(odd)} annotation ids that are no integers, first {odd[:5]}.")
    images = [image["id"] for image in truth["images"]]
    for name, found in (("annotation", ids), ("image", images)):
        if len(set(found)) != len(found):
            raise TaskError(f"The COCO ground truth holds {len(found) - len(set(found))} repeated {name} ids.")
    _check_members({a["image_id"] for a in annotations}, set(images), "annotations", "image ids")
    categories = sorted({a["category_id"] for a in annotations})
    if len(categories) > 1:
        raise TaskError(f"The COCO ground truth holds the categories {categories}, expected one (person).")
    categories = categories or [category["id"] for category in truth.get("categories", ())] or [PERSON]
    return {
        "images": [{"id": image} for image in images],
        "annotations": annotations,
        "categories": [{"id": categories[0], "name": "person"}],
    }


def checked_results(
    detections: Sequence[dict[str, Any]], truth: dict[str, Any], joints: int = JOINTS
) -> dict[str, Any]:
    """Copy a result list as a COCO file, with the area that keypoint evaluation uses: that of the joints' extent.

    Results of another category than that of the ground truth are left out, as pycocotools leaves them; a warning counts
    them. The id of a result is its position in the list, from 1.

    Raises:
        TaskError: A field is missing, a value is not finite, or an image is not in the ground truth.
    """
    category = truth["categories"][0]["id"]
    annotations, images, foreign = [], set(), 0
    for number, detection in enumerate(detections, start=1):
        absent = {"image_id", "category_id", "keypoints", "score"} - detection.keys()
        if absent:
            raise TaskError(f"Result number {number} lacks {', '.join(sorted(absent))}.")
        images.add(detection["image_id"])
        if detection["category_id"] != category:
            foreign += 1
            continue
        points = detection["keypoints"]
        _check_joints(detection, f"Result number {number}", joints)
        if not np.isfinite([*points, detection["score"]]).all():
            raise TaskError(
                f"Result number {number} holds a coordinate or score that is not finite.",
                "coco_results() writes joints that could not be read in the way that COCO expects.",
            )
        left, right, top, bottom = min(points[0::3]), max(points[0::3]), min(points[1::3]), max(points[1::3])
        annotations.append(
            {
                "id": number,
                "image_id": detection["image_id"],
                "category_id": category,
                "keypoints": points,
                "score": detection["score"],
                "area": (right - left) * (bottom - top),
                "bbox": [left, top, right - left, bottom - top],
                "iscrowd": 0,
            }
        )
    _check_members(images, {image["id"] for image in truth["images"]}, "results", "image ids")
    if foreign:
        logger.warning("%d of %d results are of another category than %s: left out", foreign, len(detections), category)
    return {"images": truth["images"], "annotations": annotations, "categories": truth["categories"]}


def _check_annotation(annotation: dict[str, Any], name: str, joints: int) -> int:
    """Number of labelled joints; where a joint is not labelled (visibility 0), its coordinates are nothing."""
    _check_joints(annotation, name, joints)
    points = np.asarray(annotation["keypoints"], dtype=np.float64).reshape(joints, 3)
    labelled = points[:, 2] > 0
    if not np.isfinite([*points[labelled].flat, *points[:, 2], *annotation["bbox"], annotation["area"]]).all():
        raise TaskError(f"{name} holds a coordinate, visibility or area that is not finite.")
    if annotation["area"] < 0:
        raise TaskError(f"{name} has the area {annotation['area']:g}, expected 0 or more.")
    return int(labelled.sum())


def _check_joints(record: dict[str, Any], name: str, joints: int) -> None:
    if len(record["keypoints"]) != 3 * joints:
        raise TaskError(f"{name} has {len(record['keypoints'])} keypoint numbers, expected 3 x {joints}.")


def _check_members(found: set[Any], known: set[Any], what: str, ids: str) -> None:
    foreign = sorted(found - known, key=str)
    if foreign:
        raise TaskError(
            f"The {what} name {len(foreign)} {ids} that the ground truth lacks, first {foreign[:5]}.",
            f"Known are {len(known)}, such as {sorted(known, key=str)[:5]}. Check the split and that ids are integers, "
            "not strings.",
        )
