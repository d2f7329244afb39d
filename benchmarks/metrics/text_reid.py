"""Text-to-image person retrieval: R@1, R@5, R@10, mAP and mINP.

Every caption of the split is a query, every image is in the gallery, a hit is the same identity (not the same image);
there is no camera rule. The other direction is the same call on the transposed matrix. Ties go to the lower gallery
index; when features have collapsed, `hit_range` and `tied_share` show how little the numbers then mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from hcbench.benchmarks.metrics.arrays import choice, to_numpy
from hcbench.benchmarks.metrics.ranking import RankCounter, Ranking, rank_replicates
from hcbench.errors import TaskError

_UNMATCHED = ("skip", "zero")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TextRankMetrics(Ranking):
    """Scores of a cross-modal ranking.

    Queries without a match are NaN in `ap`, `inp` and `first_rank` where they are skipped; where they count as misses,
    `ap` and `inp` are 0 and `first_rank` is infinite. `protocol` names the k values that a small gallery clips.

    Attributes:
        r1: Share of queries with a hit at rank 1.
        r5: In the top 5; with a smaller gallery, anywhere in it.
        r10: In the top 10, likewise.
    """

    r1: float
    r5: float
    r10: float

    @property
    def tied_share(self) -> float:
        """Share 0..1 of queries with a match whose first hit ties with a wrong image; 1 = collapsed features."""
        counted = ~np.isnan(self.ranks.first)
        return float((self.ranks.first_best[counted] != self.ranks.first_worst[counted]).mean())


def rank_metrics(
    similarity: ArrayLike,
    query_ids: ArrayLike,
    gallery_ids: ArrayLike,
    *,
    unmatched: str = "skip",
    ap: str = "step",
) -> TextRankMetrics:
    """Score a similarity matrix.

    Args:
        similarity: (T, G), larger = nearer.
        query_ids: (T,) identity of each caption.
        gallery_ids: (G,) identity of each image.
        unmatched: What a query without any hit in the gallery does: "skip" leaves it out (and counts it in
            `n_skipped`), "zero" lets it count 0 in every average.
        ap: "step", or "trapezoid" (lower; never to be tabulated as the same mAP).

    Raises:
        TaskError: Shapes differ, a set is empty, a similarity is NaN or no query has a match.

    >>> result = rank_metrics([[0.9, 0.8, 0.1], [0.3, 0.1, 0.2]], [1, 2], [2, 1, 2])
    >>> result.r1, result.r5, round(result.mAP, 4)
    (0.5, 1.0, 0.75)
    """
    return rank_metrics_blockwise([(similarity, query_ids)], gallery_ids, unmatched=unmatched, ap=ap)


def rank_metrics_blockwise(
    blocks: Iterable[tuple[ArrayLike, ArrayLike]],
    gallery_ids: ArrayLike,
    *,
    unmatched: str = "skip",
    ap: str = "step",
) -> TextRankMetrics:
    """Score similarities that arrive in blocks of queries, so that the whole matrix never has to exist.

    Args:
        blocks: Pieces (similarity, query_ids) of any number of rows, in query order.
        gallery_ids: (G,) identity of each image.
        unmatched: As in `rank_metrics`.
        ap: See there.

    Raises:
        TaskError: As in `rank_metrics`.
    """
    choice(unmatched, "unmatched", _UNMATCHED)
    counter = RankCounter(gallery_ids, ap=ap, similarity=True)
    for similarity, query_ids in blocks:
        counter.update(similarity, query_ids)
    ranks = counter.result()
    missing = np.isnan(ranks.first)
    if missing.all():
        raise TaskError(
            f"None of {len(missing)} captions has its identity in the gallery.",
            "Check that captions and images come from the same split and use the same identity labels.",
        )
    gallery = to_numpy(gallery_ids).size
    scored = ranks
    if unmatched == "zero":
        ap_values, inp = (np.where(missing, 0.0, values) for values in (ranks.ap, ranks.inp))
        scored = replace(ranks, ap=ap_values, inp=inp, first=np.where(missing, np.inf, ranks.first))
    means = rank_replicates(scored.ap, scored.inp, scored.first, np.ones((1, len(missing))))
    return TextRankMetrics(
        r1=float(means["R1"][0]),
        r5=float(means["R5"][0]),
        r10=float(means["R10"][0]),
        mAP=float(means["mAP"][0]),
        mINP=float(means["mINP"][0]),
        ap=scored.ap,
        inp=scored.inp,
        first_rank=scored.first,
        n_valid=int((~missing).sum()),
        n_skipped=int(missing.sum()),
        ranks=ranks,
        protocol={
            "ap": ap,
            "unmatched": unmatched,
            "ties": "stable",
            "hit": "same identity",
            "gallery": gallery,
            **{f"k{k}_clipped_to": gallery for k in (5, 10) if gallery < k},
        },
    )
