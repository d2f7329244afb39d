"""Person re-identification: mAP, mINP and CMC under the Market-1501 protocol, and the CUHK03 single-shot CMC.

Per query the gallery is ordered by distance and entries of the same identity *and* the same camera are removed. A
query that keeps no match is not counted at all. AP is the plain step form (mean over matches of k / r_k); ties go to
the lower gallery index. Identities are plain labels here: dropping junk (-1) and keeping distractors (0) is the
loader's task.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hcbench.benchmarks.metrics.arrays import FloatArray, choice, label_vector, score_matrix, to_numpy
from hcbench.benchmarks.metrics.ranking import RankCounter, Ranking
from hcbench.benchmarks.metrics.reranking import rerank
from hcbench.benchmarks.metrics.single_shot import expected_single_shot_cmc
from hcbench.errors import TaskError

__all__ = ["RankMetrics", "cuhk03_cmc", "rank_metrics", "rank_metrics_blockwise", "rerank"]

_SAME_CAMERA = ("remove", "keep")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RankMetrics(Ranking):
    """Scores of a ranking; arrays per query hold NaN where a query was skipped.

    Attributes:
        cmc: (min(max_rank, G),) cumulative matching curve: `cmc[k - 1]` is the share of counted queries whose first
            match has rank k or better. A query that keeps fewer entries carries its last value on.
    """

    cmc: FloatArray


def rank_metrics(
    distance: ArrayLike,
    query_pids: ArrayLike,
    gallery_pids: ArrayLike,
    query_camids: ArrayLike,
    gallery_camids: ArrayLike,
    *,
    max_rank: int = 50,
    ap: str = "step",
    same_camera: str = "remove",
) -> RankMetrics:
    """Score a distance matrix under the Market-1501 protocol.

    Args:
        distance: (Q, G), smaller = nearer; infinite and negative values are legal.
        query_pids: (Q,) identities.
        gallery_pids: (G,) identities.
        query_camids: (Q,) cameras.
        gallery_camids: (G,) cameras.
        max_rank: Length of the CMC, clipped to G.
        ap: "step", or "trapezoid" (the old MATLAB form: lower, never to be tabulated as the same mAP).
        same_camera: "remove" gallery entries of the query's identity and camera, or "keep" them (non-standard).

    Raises:
        TaskError: Shapes differ, a set is empty, a distance is NaN or no query has a match.

    >>> result = rank_metrics([[0.1, 0.2, 0.3]], [1], [2, 1, 1], [0], [1, 1, 2])
    >>> round(result.mAP, 4), result.cmc.tolist()
    (0.5833, [0.0, 1.0, 1.0])
    """
    block = (distance, query_pids, query_camids)
    return rank_metrics_blockwise(
        [block], gallery_pids, gallery_camids, max_rank=max_rank, ap=ap, same_camera=same_camera
    )


def rank_metrics_blockwise(
    blocks: Iterable[tuple[ArrayLike, ArrayLike, ArrayLike]],
    gallery_pids: ArrayLike,
    gallery_camids: ArrayLike,
    *,
    max_rank: int = 50,
    ap: str = "step",
    same_camera: str = "remove",
) -> RankMetrics:
    """Score distances that arrive in blocks of queries, so that the whole matrix never has to exist.

    Args:
        blocks: Pieces (distance, query_pids, query_camids) of any number of rows, in query order.
        gallery_pids: (G,) identities.
        gallery_camids: (G,) cameras.
        max_rank: As in `rank_metrics`, as are the other settings.
        ap: See there.
        same_camera: See there.

    Raises:
        TaskError: As in `rank_metrics`.
    """
    removes = choice(same_camera, "same_camera", _SAME_CAMERA) == "remove"
    if max_rank < 1:
        raise TaskError(f"max_rank is {max_rank}, expected at least 1.")
    counter = RankCounter(gallery_pids, gallery_camids if removes else None, ap=ap)
    query_cameras: list[object] = []
    for distance, pids, camids in blocks:
        counter.update(distance, pids, camids if removes else None)
        query_cameras.extend(np.unique(to_numpy(camids)).tolist())
    ranks = counter.result()
    counted = ~np.isnan(ranks.first)
    if not counted.any():
        cameras = {*query_cameras, *np.unique(to_numpy(gallery_camids)).tolist()}
        raise _no_valid_query(ranks.identity_missing, ranks.other_camera_missing, cameras, removes=removes)
    length = min(max_rank, to_numpy(gallery_pids).size)
    first = ranks.first[counted].astype(np.int64)
    histogram = np.bincount(first[first <= length], minlength=length + 1)[1:]
    return RankMetrics(
        mAP=float(ranks.ap[counted].mean()),
        mINP=float(ranks.inp[counted].mean()),
        cmc=np.cumsum(histogram) / counted.sum(),
        ap=ranks.ap,
        inp=ranks.inp,
        first_rank=ranks.first,
        n_valid=int(counted.sum()),
        n_skipped=int((~counted).sum()),
        ranks=ranks,
        protocol={"ap": ap, "same_camera": same_camera, "ties": "stable", "unmatched": "skip", "max_rank": length},
    )


def cuhk03_cmc(
    distance: ArrayLike,
    query_pids: ArrayLike,
    gallery_pids: ArrayLike,
    query_camids: ArrayLike,
    gallery_camids: ArrayLike,
    *,
    max_rank: int = 10,
) -> FloatArray:
    """Compute the single-gallery-shot CMC of the classic CUHK03 split as an exact expectation.

    Other evaluators draw one gallery image per identity a few times, unseeded; this is the mean over all draws. (mAP
    on that split is the ordinary one of `rank_metrics`.)

    Args:
        distance: (Q, G), smaller = nearer.
        query_pids: (Q,) identities.
        gallery_pids: (G,) identities.
        query_camids: (Q,) cameras.
        gallery_camids: (G,) cameras.
        max_rank: Length of the curve, clipped to G.

    Returns:
        (min(max_rank, G),) curve, 0..1.

    Raises:
        TaskError: As in `rank_metrics`.

    >>> cuhk03_cmc([[0.1, 0.2, 0.3]], [1], [2, 1, 2], [0], [1, 1, 1], max_rank=2).tolist()
    [0.5, 1.0]
    """
    matrix = score_matrix(distance, "distance")
    queries, gallery = matrix.shape
    if max_rank < 1:
        raise TaskError(f"max_rank is {max_rank}, expected at least 1.")
    pids = label_vector(query_pids, "query identities", queries)
    others = label_vector(gallery_pids, "gallery identities", gallery)
    camids = label_vector(query_camids, "query cameras", queries)
    other_camids = label_vector(gallery_camids, "gallery cameras", gallery)
    curve = expected_single_shot_cmc(matrix, pids, others, camids, other_camids, min(max_rank, gallery))
    if curve is None:
        missing = int((~np.isin(pids, others)).sum())
        cameras = {*camids.tolist(), *other_camids.tolist()}
        raise _no_valid_query(missing, queries - missing, cameras, removes=True)
    return curve


def _no_valid_query(identity_missing: int, camera_missing: int, cameras: set[object], *, removes: bool) -> TaskError:
    total = identity_missing + camera_missing
    if not removes:
        return TaskError(
            f"None of {total} queries has its identity in the gallery.",
            "Check that query and gallery come from the same split and use the same labels.",
        )
    where = f"all images come from one camera ({next(iter(cameras))})" if len(cameras) == 1 else "no cross-camera match"
    return TaskError(
        f"None of {total} queries can be scored, {where}: {camera_missing} lost every match to the rule "
        f'same_camera="remove" (same identity and same camera is left out), {identity_missing} have an identity '
        "that the gallery lacks.",
        "Give the real camera ids, or score data whose persons two cameras have seen; text-reid asks for no cameras. "
        'In Python, rank_metrics(..., same_camera="keep") skips the rule; its numbers are not comparable.',
    )
