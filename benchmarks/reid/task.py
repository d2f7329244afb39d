"""Person ReID without training: cosine distance between frozen features, Market-1501 rules.

Where the data say which images are queries (`Samples.query`), these are ranked against all others, the gallery. Else
every image with an identity is a query against all images of the split: the query itself is removed by the ordinary
junk rule, being of its own identity and camera. Distractors (identity -1) stay in the gallery and never query.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hcbench.benchmarks.base import FeatureTable, Inputs, Scores, Split, Task
from hcbench.benchmarks.metrics.bootstrap import resample_weights
from hcbench.benchmarks.metrics.reid import RankMetrics, rank_metrics, rank_metrics_blockwise
from hcbench.benchmarks.metrics.reranking import rerank as k_reciprocal
from hcbench.benchmarks.readout import candidates, readout_parts
from hcbench.benchmarks.reid.card import CARD
from hcbench.benchmarks.scoring import identity_codes, need, sample_columns, selection
from hcbench.data.samples import Samples

BLOCK = 1024
"""Queries whose distances exist at a time."""
RERANKING = "k-reciprocal, k1 20, k2 6, lambda .3, from Euclidean distances of unit vectors"


class Reid(Task):
    """The benchmark `reid`, protocol `frozen`."""

    card = CARD

    def fit(self, train: Split, val: Split) -> Mapping[str, Any]:
        """Choose the readout by validation mAP; nothing is trained, so `train` has no rows."""
        trials = []
        for name in candidates(self.config.readout):
            metrics = rank(normalised(val.features, name), val.samples, rerank=self.config.rerank)
            trials.append({"readout": name, **metrics.summary()})
        self._chosen = selection(trials, "mAP")
        return self._chosen

    def predict(self, test: Inputs) -> Mapping[str, NDArray[Any]]:
        """`features` float32 (N, K), unit length."""
        return {"features": normalised(test.features, self._chosen["readout"])}

    def score(self, predictions: Mapping[str, NDArray[Any]], truth: Samples) -> Scores:
        """Rank the gallery for each query; query identities are resampled, the gallery stays."""
        metrics = rank(predictions["features"], truth, rerank=self.config.rerank)
        rows = queries(truth)
        identity = need(truth, "identity")
        weights = resample_weights(identity[rows], replicates=self.config.replicates, seed=CARD.resample_seed)
        return Scores(
            summary=metrics.summary(),
            per_sample=sample_columns(truth, rows) | metrics.per_sample(),
            replicates=metrics.replicates(weights),
            record={
                **metrics.protocol,
                "distance": "cosine, float64",
                "normalisation": "L2 of each readout part, then of the whole",
                "reranking": RERANKING if self.config.rerank else "off",
                "queries": "every image with an identity" if truth.query is None else "as the data say",
                "n_valid": metrics.n_valid,
                "n_skipped": metrics.n_skipped,
                "gallery": len(gallery_rows(truth)),
                "left_out": truth.left_out,
                "distractors": int((identity[gallery_rows(truth)] < 0).sum()),
                "junk": f"same identity and camera{', the query itself included' if truth.query is None else ''}",
                "split": truth.name,
                **self._record,
            },
            chosen=self._chosen,
        )

    def oracle(self, truth: Samples) -> Mapping[str, NDArray[Any]]:
        """A direction of its own for every person; distractors, who match nobody, share one."""
        return {"features": identity_codes(need(truth, "identity"))}


def normalised(features: FeatureTable, name: str) -> NDArray[np.float32]:
    """A readout for cosine distance: each part at unit length, joined, again at unit length; float32 (N, K).

    Parts are normalised first because [CLS] and pooled patch tokens differ in length, and the longer would decide.
    """
    parts = [torch.nn.functional.normalize(part, dim=1) for part in readout_parts(features, name)]
    joined: NDArray[np.float32] = torch.nn.functional.normalize(torch.cat(parts, dim=1), dim=1).numpy()
    return joined


def queries(samples: Samples) -> NDArray[np.int64]:
    """Positions of the images that query: those that the data name, else all; of either, those with an identity."""
    named = need(samples, "identity") >= 0
    return np.flatnonzero(named if samples.query is None else named & samples.query)


def gallery_rows(samples: Samples) -> NDArray[np.int64]:
    """Positions of the images that are searched: those that the data do not name as queries, else all."""
    return np.arange(len(samples)) if samples.query is None else np.flatnonzero(~samples.query)


def rank(features: NDArray[np.float32], samples: Samples, *, rerank: bool = False) -> RankMetrics:
    """Rank the gallery of a split for each of its queries.

    Args:
        features: (N, K), unit length.
        samples: The split, with identity and camera.
        rerank: Re-rank; all distances then exist at once.
    """
    identity, camera = need(samples, "identity"), need(samples, "camera")
    asking, searched = queries(samples), gallery_rows(samples)
    vectors = features.astype(np.float64)
    query, gallery = vectors[asking], vectors[searched]
    if rerank:
        # Where every image is both, a querying image is among the neighbours twice: as query, and as itself.
        distance = k_reciprocal(_euclidean(query, gallery), _euclidean(query, query), _euclidean(gallery, gallery))
        return rank_metrics(distance, identity[asking], identity[searched], camera[asking], camera[searched])

    def blocks() -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]]:
        for begin in range(0, len(asking), BLOCK):
            rows = slice(begin, begin + BLOCK)
            yield 1.0 - query[rows] @ gallery.T, identity[asking[rows]], camera[asking[rows]]

    return rank_metrics_blockwise(blocks(), identity[searched], camera[searched])


def _euclidean(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances of unit vectors, (Q, G)."""
    distance: NDArray[np.float64] = np.sqrt(np.clip(2.0 - 2.0 * one @ other.T, 0.0, None))
    return distance
