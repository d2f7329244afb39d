"""Share of correct keypoints: PCKh (MPII, by head size) and PCK (by box size)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hcbench.benchmarks.metrics.arrays import BoolArray, FloatArray, choice, coordinates, ratio, to_numpy
from hcbench.benchmarks.metrics.bootstrap import weighted_sums
from hcbench.errors import TaskError

MPII_JOINTS = 16
HEAD_FACTOR = 0.6  # MPII: head size is this share of the head box's diagonal
_MPII_GROUPS = {
    "Head": (9,),
    "Shoulder": (12, 13),
    "Elbow": (11, 14),
    "Wrist": (10, 15),
    "Hip": (2, 3),
    "Knee": (1, 4),
    "Ankle": (0, 5),
}
_MPII_COUNTED = np.array([joint for joint in range(MPII_JOINTS) if joint not in (6, 7)])  # not pelvis and thorax


@dataclass(frozen=True, slots=True, eq=False)
class PckhMetrics:
    """PCKh at one threshold; fractions 0..1.

    Attributes:
        mean: Hits / annotated joints over all joints but pelvis and thorax.
        groups: Head, Shoulder, Elbow, Wrist, Hip, Knee, Ankle: mean of left and right; NaN when one was never
            annotated.
        per_joint: (16,) in MPII order; NaN for a joint that was never annotated.
        hits: (N, 16) annotated and near enough.
        counted: (N, 16) annotated.
        protocol: The rules behind the numbers.
    """

    mean: float
    groups: dict[str, float]
    per_joint: FloatArray
    hits: BoolArray
    counted: BoolArray
    protocol: dict[str, str | float]

    def summary(self) -> dict[str, float]:
        """Give the point values under the names that `replicates` uses."""
        return {"mean": self.mean, **self.groups}

    def per_sample(self) -> dict[str, FloatArray]:
        """Give the share of hits per person (pelvis and thorax left out); NaN without annotated joints."""
        hits, counted = self.hits[:, _MPII_COUNTED], self.counted[:, _MPII_COUNTED]
        return {"pckh": ratio(hits.sum(axis=1), counted.sum(axis=1), empty=np.nan)}

    def replicates(self, weights: ArrayLike) -> dict[str, FloatArray]:
        """Evaluate again with each person weighted: (B, N) weights give (B,) values per name of `summary`."""
        hits, counted = np.split(weighted_sums(weights, np.hstack([self.hits, self.counted])), 2, axis=1)
        return _pckh_scores(hits, counted)


@dataclass(frozen=True, slots=True, eq=False)
class PckMetrics:
    """PCK at several thresholds; fractions 0..1.

    Attributes:
        pck: Threshold to the mean over joints that count (macro); NaN when none does.
        per_joint: Threshold to (K,) shares; NaN for a joint that never counts.
        hits: Threshold to (N, K) counted and near enough.
        counted: (N, K) visible joints in boxes that are not empty.
        protocol: The rules behind the numbers.
    """

    pck: dict[float, float]
    per_joint: dict[float, FloatArray]
    hits: dict[float, BoolArray]
    counted: BoolArray
    protocol: dict[str, str]

    def summary(self) -> dict[str, float]:
        """Give the point values under the names that `replicates` uses: `pck_0.05` and so on."""
        return {_pck_name(threshold): value for threshold, value in self.pck.items()}

    def per_sample(self) -> dict[str, FloatArray]:
        """Give the share of hits per person and threshold; NaN for a person without joints that count."""
        counted = self.counted.sum(axis=1)
        return {_pck_name(t): ratio(hits.sum(axis=1), counted, empty=np.nan) for t, hits in self.hits.items()}

    def replicates(self, weights: ArrayLike) -> dict[str, FloatArray]:
        """Evaluate again with each person weighted: (B, N) weights give (B,) values per name of `summary`."""
        counted = weighted_sums(weights, self.counted)
        return {_pck_name(t): _macro(weighted_sums(weights, hits), counted) for t, hits in self.hits.items()}


def pckh(
    pred: ArrayLike,
    gt: ArrayLike,
    missing: ArrayLike,
    headboxes: ArrayLike,
    *,
    threshold: float = 0.5,
    boundary: str = "<=",
) -> PckhMetrics:
    """Score 16 MPII joints against the head size.

    Args:
        pred: (N, 16, 2) predictions in **0-based** pixels; NaN = no prediction, a miss.
        gt: (N, 16, 2) annotations in **1-based** pixels, as MPII ships them: 1 is added to `pred`.
        missing: (N, 16) 1 or True where a joint is not annotated.
        headboxes: (N, 2, 2) corners [[x1, y1], [x2, y2]]; head size = 0.6 x diagonal.
        threshold: Largest error in head sizes.
        boundary: "<=" lets an error exactly on the threshold hit, "<" does not.

    Raises:
        TaskError: Shapes differ, an annotated joint is not finite or a head box is empty.
    """
    wanted, truth = coordinates(pred, "pred", (None, MPII_JOINTS, 2)), coordinates(gt, "gt", (None, MPII_JOINTS, 2))
    corners = coordinates(headboxes, "headboxes", (len(truth), 2, 2))
    counted = _mask(missing, "missing", truth) == 0
    _check_pair(wanted, truth, counted)
    head = HEAD_FACTOR * np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1)
    empty = np.flatnonzero(~(head > 0) & counted.any(axis=1))
    if empty.size:
        raise TaskError(f"{empty.size} head boxes are empty, first at row {empty[0]}; expected two distinct corners.")
    error = np.linalg.norm(wanted + 1.0 - truth, axis=2) / np.where(head > 0, head, 1.0)[:, None]
    near = error <= threshold if choice(boundary, "boundary", ("<=", "<")) == "<=" else error < threshold
    hits = near & counted
    hit_sums, counts = hits.sum(axis=0)[None].astype(np.float64), counted.sum(axis=0)[None].astype(np.float64)
    scores = {name: float(value[0]) for name, value in _pckh_scores(hit_sums, counts).items()}
    return PckhMetrics(
        mean=scores.pop("mean"),
        groups=scores,
        per_joint=ratio(hit_sums, counts, empty=np.nan)[0],
        hits=hits,
        counted=counted,
        protocol={"threshold": threshold, "boundary": boundary, "head_factor": HEAD_FACTOR, "pred": "0-based, plus 1"},
    )


def pck(
    pred: ArrayLike,
    gt: ArrayLike,
    visible: ArrayLike,
    boxes: ArrayLike,
    *,
    thresholds: Sequence[float] = (0.05, 0.1, 0.2),
) -> PckMetrics:
    """Score joints against the longer side of the person box: a hit is error / max(width, height) < threshold.

    Args:
        pred: (N, K, 2) predictions; NaN = no prediction, a miss.
        gt: (N, K, 2) annotations in the same coordinates.
        visible: (N, K) which joints count.
        boxes: (N, 4) x1, y1, x2, y2; a box of zero size does not count.
        thresholds: Shares of the longer side.

    Raises:
        TaskError: Shapes differ, or a joint that counts or the box of a person with visible joints is not finite.

    >>> result = pck([[[1.0, 1.0], [9.0, 1.0]]], [[[1.0, 1.5], [1.0, 1.0]]], [[1, 1]], [[0, 0, 5, 10]])
    >>> result.pck[0.1], result.per_joint[0.1].tolist()
    (0.5, [1.0, 0.0])
    """
    wanted, truth = coordinates(pred, "pred", (None, None, 2)), coordinates(gt, "gt", (None, None, 2))
    corners = coordinates(boxes, "boxes", (len(truth), 4))
    shown = _mask(visible, "visible", truth) != 0
    broken = np.flatnonzero(~np.isfinite(corners).all(axis=1) & shown.any(axis=1))
    if broken.size:
        raise TaskError(f"{broken.size} boxes are not finite, first at row {broken[0]}; expected x1, y1, x2, y2.")
    side = (corners[:, 2:] - corners[:, :2]).max(axis=1)
    solid = side > 0
    counted = shown & solid[:, None]
    _check_pair(wanted, truth, counted)
    error = np.linalg.norm(wanted - truth, axis=2) / np.where(solid, side, 1.0)[:, None]
    hits = {float(threshold): (error < threshold) & counted for threshold in thresholds}
    counts = counted.sum(axis=0)
    return PckMetrics(
        pck={t: float(_macro(hit.sum(axis=0)[None], counts[None])[0]) for t, hit in hits.items()},
        per_joint={t: ratio(hit.sum(axis=0), counts, empty=np.nan) for t, hit in hits.items()},
        hits=hits,
        counted=counted,
        protocol={"boundary": "<", "normalised_by": "max(box width, box height)", "mean": "macro over joints"},
    )


def _pckh_scores(hits: FloatArray, counted: FloatArray) -> dict[str, FloatArray]:
    """Mean and groups from (B, 16) hits and annotated joints."""
    share = ratio(hits, counted, empty=np.nan)
    mean = ratio(hits[:, _MPII_COUNTED].sum(axis=1), counted[:, _MPII_COUNTED].sum(axis=1), empty=np.nan)
    return {"mean": mean, **{name: share[:, list(joints)].mean(axis=1) for name, joints in _MPII_GROUPS.items()}}


def _macro(hits: ArrayLike, counted: ArrayLike) -> FloatArray:
    """Mean over joints that count, from (B, K) sums."""
    counts = np.asarray(counted)
    return ratio(ratio(hits, counts, empty=0.0).sum(axis=1), (counts > 0).sum(axis=1), empty=np.nan)


def _pck_name(threshold: float) -> str:
    return f"pck_{threshold:g}"


def _mask(value: ArrayLike, name: str, truth: FloatArray) -> BoolArray:
    mask = to_numpy(value)
    if mask.shape != truth.shape[:2]:
        raise TaskError(f"{name} has shape {mask.shape}, expected {truth.shape[:2]}.")
    return mask


def _check_pair(pred: FloatArray, truth: FloatArray, counted: BoolArray) -> None:
    if pred.shape != truth.shape:
        raise TaskError(f"pred has shape {pred.shape} and gt {truth.shape}, expected the same.")
    if not len(truth):
        raise TaskError("There are no persons to score.")
    if not np.isfinite(truth[counted]).all():
        raise TaskError("An annotated joint has a coordinate that is not finite; mark it as missing instead.")
