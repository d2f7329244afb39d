"""Rank counting: ranks of the true matches without sorting a gallery by index.

Average precision, CMC and INP need the ranks of the true matches alone. For each query the distance *values* are
sorted (several times cheaper than an argsort), the matches are looked up in them, entries that tie with a match are
counted by gallery index, and junk (same identity, same camera) that stands before a match is subtracted. The result
equals a stable argsort exactly, ties included, and needs one row of working memory. Both person ReID and
text-to-image ReID rank through this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcbench.benchmarks.metrics.arrays import AnyArray, FloatArray, choice, label_vector, score_matrix, to_numpy
from hcbench.benchmarks.metrics.bootstrap import weighted_means
from hcbench.errors import TaskError

AP_VARIANTS = ("step", "trapezoid")


@dataclass(frozen=True, slots=True, eq=False)
class QueryRanks:
    """What every query contributes; all arrays have one entry per query, NaN where the query has no match.

    Attributes:
        ap: Average precision, 0..1.
        inp: Inverse negative penalty, 0..1: number of matches / rank of the last match.
        first: Rank of the first match, counted from 1, ties in gallery order.
        first_best: Lowest rank that some order of tied entries gives the first match.
        first_worst: Highest such rank.
        other_camera_missing: Number of queries whose only matches were removed by the same-camera rule.
        identity_missing: Number of queries whose identity does not occur in the gallery.
    """

    ap: FloatArray
    inp: FloatArray
    first: FloatArray
    first_best: FloatArray
    first_worst: FloatArray
    other_camera_missing: int
    identity_missing: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Ranking:
    """What every scored ranking has; fractions 0..1. NaN marks queries that do not count.

    Attributes:
        mAP: Mean average precision over counted queries.
        mINP: Mean inverse negative penalty over counted queries.
        ap: (Q,) average precision.
        inp: (Q,) number of matches / rank of the last match.
        first_rank: (Q,) rank of the first match, from 1.
        n_valid: Queries with a match.
        n_skipped: Queries without one.
        ranks: Everything per query, with the range that ties leave to the first rank.
        protocol: The rules behind the numbers.
    """

    mAP: float
    mINP: float
    ap: FloatArray
    inp: FloatArray
    first_rank: FloatArray
    n_valid: int
    n_skipped: int
    ranks: QueryRanks
    protocol: dict[str, str | int]

    def summary(self) -> dict[str, float]:
        """Give the point values under the names that `replicates` uses."""
        return {name: float(value[0]) for name, value in self.replicates(np.ones((1, len(self.ap)))).items()}

    def per_sample(self) -> dict[str, FloatArray]:
        """Give one value per query and name."""
        return {"ap": self.ap, "inp": self.inp, "first_rank": self.first_rank}

    def replicates(self, weights: ArrayLike) -> dict[str, FloatArray]:
        """Evaluate again with each query weighted.

        Args:
            weights: (B, Q) how often each query counts in each resample.

        Returns:
            (B,) values of mAP, mINP, R1, R5 and R10; NaN where a resample holds no counted query.
        """
        return rank_replicates(self.ap, self.inp, self.first_rank, weights)

    def hit_range(self, k: int) -> tuple[float, float]:
        """Give the lowest and highest share of hits in the top k, over queries with a match, that ties allow."""
        worst, best = (first[~np.isnan(first)] for first in (self.ranks.first_worst, self.ranks.first_best))
        return float((worst <= k).mean()), float((best <= k).mean())


def rank_replicates(ap: FloatArray, inp: FloatArray, first: FloatArray, weights: ArrayLike) -> dict[str, FloatArray]:
    """Average AP, INP and hits in the top 1, 5 and 10 over weighted queries; NaN marks queries that do not count."""
    hits = [np.where(np.isnan(first), np.nan, first <= k) for k in (1, 5, 10)]
    means = weighted_means(weights, np.stack([ap, inp, *hits], axis=1))
    return dict(zip(("mAP", "mINP", "R1", "R5", "R10"), means.T, strict=True))


class RankCounter:
    """Takes a distance matrix block by block (by queries) and keeps a few numbers per query.

    Args:
        gallery_ids: (G,) identities.
        gallery_cameras: (G,) cameras, or None: then no entry is junk.
        ap: "step" = mean over matches of k / r_k; "trapezoid" = mean of the precision before and after each match.
        similarity: True when larger values are nearer.

    Raises:
        TaskError: The gallery is empty, cameras and identities differ in number, or `ap` is unknown.
    """

    def __init__(
        self,
        gallery_ids: ArrayLike,
        gallery_cameras: ArrayLike | None = None,
        *,
        ap: str = "step",
        similarity: bool = False,
    ) -> None:
        ids = to_numpy(gallery_ids)
        if ids.ndim != 1 or not ids.size:
            raise TaskError(
                f"Gallery identities have shape {ids.shape}, expected one for each of G > 0 images.",
                "Check the split and the filters that were applied to it.",
            )
        self._size = len(ids)
        self._members = members_by_label(ids)
        self._cameras = None
        if gallery_cameras is not None:
            self._cameras = label_vector(gallery_cameras, "gallery cameras", self._size)
        self._ap = choice(ap, "ap", AP_VARIANTS)
        self._sign = -1 if similarity else 1
        self._name = "similarity" if similarity else "distance"
        self._rows: list[tuple[float, ...]] = []
        self._other_camera_missing = 0
        self._identity_missing = 0

    def update(self, values: ArrayLike, query_ids: ArrayLike, query_cameras: ArrayLike | None = None) -> None:
        """Rank one block of queries.

        Args:
            values: (Q, G) distances or similarities, Q >= 1; infinite values are legal.
            query_ids: (Q,) identities.
            query_cameras: (Q,) cameras; needed exactly when the gallery has cameras.

        Raises:
            TaskError: A shape differs, the block is empty or holds NaN, or only one side has cameras.
        """
        matrix = score_matrix(values, self._name)
        if matrix.shape[1] != self._size:
            raise TaskError(
                f"The {self._name} matrix has {matrix.shape[1]} columns, but the gallery {self._size} labels."
            )
        ids = label_vector(query_ids, "query identities", len(matrix)).tolist()
        if (query_cameras is None) != (self._cameras is None):
            raise TaskError("Query and gallery must both have cameras, or neither.")
        cameras: list[Any] = [None] * len(ids)
        if query_cameras is not None:
            cameras = label_vector(query_cameras, "query cameras", len(matrix)).tolist()
        for row, identity, camera in zip(matrix, ids, cameras, strict=True):
            self._rows.append(self._query(row, identity, camera))

    def result(self) -> QueryRanks:
        """Give what was gathered, queries in the order in which they came."""
        ap, inp, first, best, worst = np.array(self._rows, dtype=np.float64).reshape(-1, 5).T
        return QueryRanks(ap, inp, first, best, worst, self._other_camera_missing, self._identity_missing)

    def _query(self, row: NDArray[np.floating[Any]], identity: Any, camera: Any) -> tuple[float, ...]:
        same = self._members.get(identity)
        if same is None:
            self._identity_missing += 1
            return (np.nan,) * 5
        junk = np.zeros(len(same), dtype=bool) if self._cameras is None else self._cameras[same] == camera
        if junk.all():
            self._other_camera_missing += 1
            return (np.nan,) * 5
        ranks, best, worst = match_ranks(row if self._sign > 0 else -row, same, junk)
        ap = average_precision(ranks, self._ap)
        return ap, len(ranks) / float(ranks[-1]), float(ranks[0]), float(best), float(worst)


def members_by_label(labels: AnyArray) -> dict[Any, NDArray[np.intp]]:
    """Group positions by label, ascending inside each group.

    >>> {label: where.tolist() for label, where in members_by_label(np.array([7, 3, 7])).items()}
    {3: [1], 7: [0, 2]}
    """
    names, inverse = np.unique(labels, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    cuts = np.cumsum(np.bincount(inverse, minlength=len(names)))[:-1]
    return dict(zip(names.tolist(), np.split(order, cuts), strict=True))


def match_ranks(
    row: NDArray[np.floating[Any]], same: NDArray[np.intp], junk: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], int, int]:
    """Rank the true matches of one query, ties broken by lower gallery index.

    Args:
        row: (G,) distances, no NaN.
        same: Gallery positions of the query's identity, ascending.
        junk: Which of them are to be removed from the list; at least one is not.

    Returns:
        The ascending ranks (from 1) of the matches in the list without junk, and the lowest and highest rank of the
        first match over all orders of tied entries.

    >>> row = np.array([0.1, 0.4, 0.2, 0.4])
    >>> match_ranks(row, np.array([0, 3]), np.array([True, False]))  # entry 0 is junk, 1 and 3 tie
    (array([3]), 2, 3)
    """
    order = np.argsort(row[same], kind="stable")
    is_junk = junk[order]
    ordered_same = same[order]
    matches = ordered_same[~is_junk]
    values = row[matches]
    ordered_row = np.sort(row)
    left = ordered_row.searchsorted(values, side="left")
    tied = ordered_row.searchsorted(values, side="right") - left
    before = left
    if tied.max() > 1:
        before = left.copy()
        for value in np.unique(values[tied > 1]):
            here = values == value
            before[here] += np.flatnonzero(row == value).searchsorted(matches[here])
    ranks = before - np.cumsum(is_junk)[~is_junk] + 1
    if tied[0] == 1:
        return ranks, int(ranks[0]), int(ranks[0])
    junk_values = row[ordered_same[is_junk]]
    best = int(left[0] - np.count_nonzero(junk_values < values[0])) + 1
    others = tied[0] - np.count_nonzero(values == values[0]) - np.count_nonzero(junk_values == values[0])
    return ranks, best, best + int(others)


def average_precision(ranks: NDArray[np.intp], variant: str) -> float:
    """Compute average precision from the ascending ranks (from 1) of all matches.

    >>> average_precision(np.array([1, 4]), "step"), average_precision(np.array([1, 4]), "trapezoid")
    (0.75, 0.7083333333333333)
    """
    found = np.arange(1, len(ranks) + 1)
    after = found / ranks
    if variant == "step":
        return float(after.sum()) / len(ranks)
    # Precision just before the match; nothing stands before rank 1, where it is 1 by convention.
    before = np.where(ranks > 1, (found - 1) / np.maximum(ranks - 1, 1), 1.0)
    return float((before + after).sum()) / (2 * len(ranks))
