"""COCO keypoint records: writing ground truth and results so that pycocotools reads them rightly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hcbench.benchmarks.metrics.arrays import coordinates, label_vector, to_numpy
from hcbench.errors import TaskError

PERSON = 1
JOINTS = 17
"""Of COCO, where nothing else is said."""


def coco_ground_truth(
    image_ids: ArrayLike, keypoints: ArrayLike, boxes: ArrayLike, *, areas: ArrayLike | None = None
) -> dict[str, Any]:
    """Write persons as a COCO keypoint file. Annotations are numbered from 1: pycocotools takes id 0 as "no match".

    Args:
        image_ids: (N,) integer image of each person; an image may occur several times.
        keypoints: (N, K, 3) x, y in 0-based pixels and visibility 0, 1 or 2; COCO has K = 17.
        boxes: (N, 4) x1, y1, x2, y2.
        areas: (N,) person areas in pixels; the box area when left out.

    Raises:
        TaskError: Shapes differ.

    >>> truth = coco_ground_truth([7], np.full((1, 17, 3), 2.0), [[0, 0, 9, 9]])
    >>> truth["annotations"][0]["id"], truth["annotations"][0]["num_keypoints"], truth["images"]
    (1, 17, [{'id': 7}])
    """
    points = coordinates(keypoints, "keypoints", (None, None, 3))
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

    Raises:
        TaskError: A part or field is missing, ids repeat, or there is more than one category.
    """
    missing = {"images", "annotations"} - truth.keys()
    if missing:
        raise TaskError(f"The COCO ground truth lacks {', '.join(sorted(missing))}; expected images and annotations.")
    annotations = []
    for number, annotation in enumerate(truth["annotations"], start=1):
        absent = {"image_id", "category_id", "keypoints", "area", "bbox"} - annotation.keys()
        if absent:
            raise TaskError(f"COCO annotation number {number} lacks {', '.join(sorted(absent))}.")
        _check_joints(annotation, f"COCO annotation number {number}", joints)
        if not np.isfinite([*annotation["keypoints"], *annotation["bbox"], annotation["area"]]).all():
            raise TaskError(f"COCO annotation number {number} holds a coordinate or area that is not finite.")
        visible = sum(1 for v in annotation["keypoints"][2::3] if v > 0)
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
    images = [image["id"] for image in truth["images"]]
    for name, found in (("annotation", ids), ("image", images)):
        if len(set(found)) != len(found):
            raise TaskError(f"The COCO ground truth holds {len(found) - len(set(found))} repeated {name} ids.")
    _check_members({a["image_id"] for a in annotations}, set(images), "annotations", "image ids")
    categories = sorted({a["category_id"] for a in annotations}) or [PERSON]
    if len(categories) > 1:
        raise TaskError(f"The COCO ground truth holds the categories {categories}, expected one (person).")
    return {
        "images": [{"id": image} for image in images],
        "annotations": annotations,
        "categories": [{"id": categories[0], "name": "person"}],
    }


def checked_results(
    detections: Sequence[dict[str, Any]], truth: dict[str, Any], joints: int = JOINTS
) -> dict[str, Any]:
    """Copy a result list as a COCO file, with the area that keypoint evaluation uses: that of the joints' extent.

    Raises:
        TaskError: A field is missing, a value is not finite, or an image or category is not in the ground truth.
    """
    annotations = []
    for number, detection in enumerate(detections, start=1):
        absent = {"image_id", "category_id", "keypoints", "score"} - detection.keys()
        if absent:
            raise TaskError(f"Result number {number} lacks {', '.join(sorted(absent))}.")
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
                "category_id": detection["category_id"],
                "keypoints": points,
                "score": detection["score"],
                "area": (right - left) * (bottom - top),
                "bbox": [left, top, right - left, bottom - top],
                "iscrowd": 0,
            }
        )
    known = {image["id"] for image in truth["images"]}
    _check_members({a["image_id"] for a in annotations}, known, "results", "image ids")
    category = {truth["categories"][0]["id"]}
    _check_members({a["category_id"] for a in annotations}, category, "results", "category ids")
    return {"images": truth["images"], "annotations": annotations, "categories": truth["categories"]}


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
