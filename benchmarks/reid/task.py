"""Person ReID on frozen features: a metric in closed form, cosine distance under it, Market-1501 rules.

The head (`metric_head`) is learned on the training persons of whom there are two images or more. Its shrinkage is
chosen on validation together with the readout, by the mAP that is also the score. What plain nearest neighbours of each
readout reach on validation is stored beside the choice; the protocol `zero-shot` scores them on test.

DEVIATION (most papers of pre-training, where they rank frozen features at all, such as PLIP's zero-shot ReID): a head
stands between features and cosine. Nearest neighbours ask whether identity happens to be the loudest thing in a vector,
no other task of frozen features asks that, and cameras and poses usually are louder.

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
from hcbench.benchmarks.heads import one_thread
from hcbench.benchmarks.metrics.bootstrap import resample_weights
from hcbench.benchmarks.metrics.reid import RankMetrics, rank_metrics, rank_metrics_blockwise
from hcbench.benchmarks.metrics.reranking import rerank as k_reciprocal
from hcbench.benchmarks.readout import candidates, readout_parts
from hcbench.benchmarks.reid.card import CARD
from hcbench.benchmarks.reid.metric_head import MetricHead, Scatter, learnable
from hcbench.benchmarks.scoring import best_trial, identity_codes, need, sample_columns, selection
from hcbench.data.samples import Samples
from hcbench.errors import UnfitError

BLOCK = 1024
"""Queries whose distances exist at a time."""
SHRINKAGES = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Shares of the mean within-person variance that validation chooses from."""
LEAST_PERSONS = 2
"""Training persons with two images or more, below which nothing tells persons apart."""
RERANKING = "k-reciprocal, k1 20, k2 6, lambda .3, from Euclidean distances of unit vectors"


class Reid(Task):
    """The benchmark `reid`, protocol `frozen`."""

    card = CARD

    _head: MetricHead

    def untrainable_reason(self, train: Samples) -> str | None:
        """A metric needs persons to tell apart, and images of each to see what does not matter."""
        _, persons = learnable(need(train, "identity"))
        if persons >= LEAST_PERSONS:
            return None
        return (
            f"of {train.name}, {persons} persons have two images or more to learn a metric from; {LEAST_PERSONS} are "
            "the least (protocol zero-shot needs none)"
        )

    @one_thread
    def fit(self, train: Split, val: Split) -> Mapping[str, Any]:
        """Solve the head for every readout and shrinkage; validation mAP chooses one pair.

        Raises:
            UnfitError: Too few training persons have two images.
            TaskError: Features are not finite, or do not differ.
        """
        if reason := self.untrainable_reason(train.samples):
            raise UnfitError(reason, "Give more shots (evaluate.shots), other data, or score it zero-shot.")
        identity = need(train.samples, "identity")
        rows, persons = learnable(identity)
        trials: list[dict[str, Any]] = []
        nearest: dict[str, float] = {}
        best: MetricHead | None = None
        for name in candidates(self.config.readout):
            seen = normalised(val.features, name)
            nearest[name] = rank(seen, val.samples, rerank=self.config.rerank).mAP
            scatter = Scatter.measure(normalised(train.features.subset(rows), name), identity[rows])
            for shrinkage in SHRINKAGES:
                head = scatter.solve(shrinkage)
                metrics = rank(head(seen), val.samples, rerank=self.config.rerank)
                tried = {"readout": name, "shrinkage": shrinkage, "directions": head.directions}
                trials.append({**tried, **metrics.summary()})
                if best_trial(trials, "mAP") == len(trials) - 1:
                    best = head
        assert best is not None  # one of the trials is the best one
        learned = {"training_persons": persons, "training_images": len(rows)}
        self._head, self._chosen = best, selection(trials, "mAP") | learned | {"nearest_neighbour_mAP": nearest}
        self._record = {
            "metric": "discriminant directions of the training persons, within-person covariance shrunk; float64",
            **{key: self._chosen[key] for key in ("readout", "shrinkage", "directions", *learned)},
        }
        return self._chosen

    @one_thread
    def predict(self, test: Inputs) -> Mapping[str, NDArray[Any]]:
        """`features` float32 (N, K), unit length."""
        return {"features": self._head(normalised(test.features, self._chosen["readout"]))}

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
