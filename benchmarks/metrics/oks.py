"""COCO keypoint average precision over object keypoint similarity (OKS).

The numbers are pycocotools' own. Its matches are kept per image, so that precision and recall can be accumulated
again with weighted images: at unit weights exactly its result, with whole weights the result of repeating images.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hcbench.benchmarks.metrics.arrays import AnyArray, BoolArray, FloatArray, IntArray, coordinates
from hcbench.benchmarks.metrics.bootstrap import check_weights
from hcbench.benchmarks.metrics.coco_files import JOINTS, checked_ground_truth, checked_results
from hcbench.errors import TaskError

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
NAMES = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
_BLOCK = 64  # replicates at once: keeps the running sums in the processor's cache


@dataclass(frozen=True, slots=True, eq=False)
class ImageOks:
    """One image: similarities between its results and persons.

    Attributes:
        image_id: The image.
        annotation_ids: (P,) annotation ids of the file; -1 where the file has none.
        result_index: (D,) positions in the result list, by falling score, at most 20.
        oks: (D, P) similarities.
        counted: (P,) persons that are neither crowd nor without keypoints.
    """

    image_id: Any
    annotation_ids: IntArray
    result_index: IntArray
    oks: FloatArray
    counted: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """All results of one area range by falling score, with what pycocotools matched them to.

    Attributes:
        image: (D,) index into `OksMetrics.image_ids`.
        hit: (10, D) matched to a counted person at each OKS threshold.
        ignored: (10, D) neither right nor wrong.
        persons: (I,) counted persons per image.
    """

    image: IntArray
    hit: BoolArray
    ignored: BoolArray
    persons: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class OksMetrics:
    """The ten COCO keypoint numbers, fractions 0..1; NaN where no person falls into the area range.

    Attributes:
        ap: Average precision over OKS .50:.05:.95.
        ap50: At .50.
        ap75: At .75.
        ap_m: Persons of 32 x 32 to 96 x 96 pixels.
        ap_l: Larger persons.
        ar: Average recall, likewise.
        ar50: At .50.
        ar75: At .75.
        ar_m: Medium persons.
        ar_l: Large persons.
        ap_table: (3, 10) AP for the areas all, medium, large and each threshold.
        ar_table: (3, 10) likewise.
        image_ids: (I,) images, sorted; the samples of `replicates`.
        images: Similarities per image that holds persons or results.
        matches: For the areas all, medium, large.
        protocol: The rules behind the numbers.
    """

    ap: float
    ap50: float
    ap75: float
    ap_m: float
    ap_l: float
    ar: float
    ar50: float
    ar75: float
    ar_m: float
    ar_l: float
    ap_table: FloatArray
    ar_table: FloatArray
    image_ids: tuple[Any, ...]
    images: tuple[ImageOks, ...]
    matches: tuple[Matches, Matches, Matches]
    protocol: dict[str, str | int]

    def summary(self) -> dict[str, float]:
        """Give the point values under the names that `replicates` uses."""
        fields = ("ap", "ap50", "ap75", "ap_m", "ap_l", "ar", "ar50", "ar75", "ar_m", "ar_l")
        return {name: getattr(self, field) for name, field in zip(NAMES, fields, strict=True)}

    def per_sample(self) -> dict[str, list[Any]]:
        """Give for each counted person its image, annotation and the OKS of the best result (0 without any)."""
        rows: dict[str, list[Any]] = {"image_id": [], "annotation_id": [], "oks": []}
        for image in self.images:
            best = image.oks.max(axis=0, initial=0.0)[image.counted]
            rows["image_id"] += [image.image_id] * len(best)
            rows["annotation_id"] += image.annotation_ids[image.counted].tolist()
            rows["oks"] += best.tolist()
        return rows

    def replicates(self, weights: ArrayLike) -> dict[str, FloatArray]:
        """Evaluate again with each image weighted.

        Args:
            weights: (B, I) how often each image of `image_ids` counts in each resample.

        Returns:
            (B,) values of the ten numbers; NaN where a resample holds no person of the range.
        """
        array = check_weights(weights, len(self.image_ids))
        # Running sums of whole numbers are several times faster than of floats, and exact either way.
        kind = np.int32 if np.issubdtype(array.dtype, np.integer) else np.float64
        tables = []
        for start in range(0, max(1, len(array)), _BLOCK):  # without resamples an empty block still has the shape
            block = array[start : start + _BLOCK].astype(kind)
            tables.append(np.stack([_accumulate(matches, block) for matches in self.matches]))
        ap, ar = np.moveaxis(np.concatenate(tables, axis=2), 1, 0)  # each (3 areas, B, 10 thresholds)
        return dict(zip(NAMES, (*_headlines(ap), *_headlines(ar)), strict=True))


def coco_oks(
    ground_truth: dict[str, Any] | str | Path,
    detections: Sequence[dict[str, Any]] | str | Path,
    *,
    sigmas: Sequence[float] | None = None,
) -> OksMetrics:
    """Evaluate COCO keypoint results with pycocotools.

    Args:
        ground_truth: A COCO keypoint file (K joints, one category) or its path.
        detections: A COCO result list (image_id, category_id, keypoints, score) or its path; may be empty. A `bbox`
            in it is not used, nor are results of another category than that of the ground truth.
        sigmas: Width of each of the K joints; COCO's 17 when left out.

    Raises:
        TaskError: A file is unreadable, a field is missing, an image id is unknown, an annotation id is no integer, a
            value is not finite or an area negative.

    >>> from hcbench.benchmarks.metrics.coco_files import coco_ground_truth, coco_results
    >>> joints = np.full((1, 17, 3), 2.0)
    >>> joints[0, :, :2] = np.random.default_rng(0).uniform(0, 60, (17, 2))
    >>> result = coco_oks(coco_ground_truth([1], joints, [[0, 0, 60, 60]]), coco_results([1], joints[..., :2], [0.9]))
    >>> round(result.ap, 6), result.ap_l
    (1.0, nan)
    """
    source = _load(ground_truth, dict, "ground truth")
    widths = None if sigmas is None else coordinates(sigmas, "sigmas", (None,))
    joints = JOINTS if widths is None else len(widths)
    truth = checked_ground_truth(source, joints)
    evaluation = _evaluate(truth, checked_results(_load(detections, Sequence, "results"), truth, joints), widths)
    precision, recall = (np.where(v < 0, np.nan, v) for v in (evaluation.eval["precision"], evaluation.eval["recall"]))
    ap, ap50, ap75, ap_m, ap_l, ar, ar50, ar75, ar_m, ar_l = np.where(
        evaluation.stats < 0, np.nan, evaluation.stats
    ).tolist()
    images = tuple(evaluation.params.imgIds)
    rows = evaluation.evalImgs  # one category: area after area, image after image
    return OksMetrics(
        ap=ap,
        ap50=ap50,
        ap75=ap75,
        ap_m=ap_m,
        ap_l=ap_l,
        ar=ar,
        ar50=ar50,
        ar75=ar75,
        ar_m=ar_m,
        ar_l=ar_l,
        ap_table=precision[:, :, 0, :, 0].mean(axis=1).T,
        ar_table=recall[:, 0, :, 0].T,
        image_ids=images,
        images=tuple(_image_oks(evaluation, source, row) for row in rows[: len(images)] if row is not None),
        matches=(
            _matches(rows[: len(images)]),
            _matches(rows[len(images) : 2 * len(images)]),
            _matches(rows[2 * len(images) :]),
        ),
        protocol={"evaluator": "pycocotools keypoints", "max_results": 20, "area": "joint extent of results"},
    )


def _load(value: Any, kind: type, name: str) -> Any:
    content = value
    if isinstance(value, str | Path):
        try:
            content = json.loads(Path(value).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TaskError(f"The COCO {name} {value} cannot be read: {error}", "Expected a JSON file.") from error
    if not isinstance(content, kind) or isinstance(content, str):
        wanted = "dict" if kind is dict else "list"
        raise TaskError(f"The COCO {name} is a {type(content).__name__}, expected a {wanted}.")
    return content


def _evaluate(truth: dict[str, Any], results: dict[str, Any], sigmas: FloatArray | None) -> Any:
    from pycocotools.coco import COCO  # compiled and only needed here
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        files = []
        for content in (truth, results):
            file = COCO()
            file.dataset = content
            file.createIndex()
            files.append(file)
        evaluation = COCOeval(*files, "keypoints")
        if sigmas is not None:
            evaluation.params.kpt_oks_sigmas = sigmas
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _image_oks(evaluation: Any, source: dict[str, Any], row: dict[str, Any]) -> ImageOks:
    image, category = row["image_id"], row["category_id"]
    persons = evaluation._gts[image, category]
    order = np.argsort([-result["score"] for result in evaluation._dts[image, category]], kind="stable")[:20]
    similarity = np.zeros((len(order), len(persons)))
    if similarity.size:  # pycocotools gives an empty list otherwise
        similarity[:] = evaluation.ious[image, category]
    return ImageOks(
        image_id=image,
        annotation_ids=np.array([source["annotations"][p["id"] - 1].get("id", -1) for p in persons], dtype=np.int64),
        result_index=np.array([evaluation._dts[image, category][i]["id"] - 1 for i in order], dtype=np.int64),
        oks=similarity,
        counted=np.array([not person["ignore"] for person in persons], dtype=bool),
    )


def _matches(rows: Sequence[dict[str, Any] | None]) -> Matches:
    """Join the images of one area range and order their results as pycocotools does."""
    persons = np.array([0 if row is None else np.count_nonzero(row["gtIgnore"] == 0) for row in rows], dtype=np.int64)
    found = [(index, row) for index, row in enumerate(rows) if row is not None]
    if not found:
        empty = np.zeros((len(THRESHOLDS), 0), dtype=bool)
        return Matches(np.zeros(0, dtype=np.int64), empty, empty, persons)
    scores = np.concatenate([row["dtScores"] for _, row in found])
    order = np.argsort(-scores, kind="stable")
    image = np.concatenate([np.full(len(row["dtScores"]), index) for index, row in found])[order].astype(np.int64)
    ignored = np.concatenate([row["dtIgnore"] for _, row in found], axis=1)[:, order].astype(bool)
    matched = np.concatenate([row["dtMatches"] for _, row in found], axis=1)[:, order] > 0
    return Matches(image, matched & ~ignored, ignored, persons)


def _accumulate(matches: Matches, weights: AnyArray) -> FloatArray:
    """AP and AR (2, B, 10) of one area range with weighted images (B, I).

    Precision only rises at hits, so its envelope and the recall steps are needed there alone.
    """
    persons = weights @ matches.persons
    drawn = weights[:, matches.image]
    table = np.zeros((2, len(weights), len(THRESHOLDS)))
    for t, (hit, ignored) in enumerate(zip(matches.hit, matches.ignored, strict=True)):
        if t == 0 or not np.array_equal(ignored, matches.ignored[t - 1]):
            seen = np.cumsum(drawn * ~ignored, axis=1, dtype=weights.dtype)
        if not hit.any():
            continue
        columns = np.flatnonzero(hit)
        found = np.cumsum(drawn.take(columns, axis=1), axis=1, dtype=weights.dtype)
        precision = found / (seen.take(columns, axis=1) + np.spacing(1.0))
        recall = found / np.maximum(persons, 1e-9)[:, None]
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        for row, (best, steps) in enumerate(zip(envelope, recall, strict=True)):
            reached = steps.searchsorted(RECALLS, side="left")
            table[0, row, t] = best[reached[: reached.searchsorted(len(columns))]].sum()
        table[1, :, t] = recall[:, -1]
    table[0] /= len(RECALLS)
    table[:, persons == 0] = np.nan
    return table


def _headlines(table: FloatArray) -> tuple[FloatArray, ...]:
    """Mean, .50, .75, medium and large of (3 areas, B, 10 thresholds)."""
    everyone, medium, large = table
    return everyone.mean(axis=1), everyone[:, 0], everyone[:, 5], medium.mean(axis=1), large.mean(axis=1)
