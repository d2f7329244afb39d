"""k-reciprocal re-ranking (Zhong et al., CVPR 2017) in its original form, with bounded memory.

Distances come in *unsquared* and are squared once; some public harnesses square twice or not at all, so re-ranked
numbers of different harnesses never compare. Rows of the joint query-and-gallery matrix are made on demand; besides
the three inputs only k1 + 1 neighbours and a sparse weight row per image are kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from hcbench.benchmarks.metrics.arrays import FloatArray, score_matrix
from hcbench.errors import TaskError

Indices = NDArray[np.intp]


def rerank(
    dist_qg: ArrayLike,
    dist_qq: ArrayLike,
    dist_gg: ArrayLike,
    *,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
) -> FloatArray:
    """Re-rank with k-reciprocal neighbours.

    Args:
        dist_qg: (Q, G) unsquared Euclidean distances from queries to gallery.
        dist_qq: (Q, Q) among queries.
        dist_gg: (G, G) among gallery images.
        k1: Size of the neighbourhoods; half of it is rounded half-to-even.
        k2: Number of nearest images whose weights are averaged (query expansion); 1 = none.
        lambda_value: Weight 0..1 of the original distance; the rest is the Jaccard distance.

    Returns:
        (Q, G) float64 distances.

    Raises:
        TaskError: Shapes do not fit, a value is NaN, negative or too large to be squared (such as infinity), or a
            setting is out of range.
    """
    rows = _JointDistances(dist_qg, dist_qq, dist_gg)
    if k1 < 1 or k2 < 1 or not 0.0 <= lambda_value <= 1.0:
        raise TaskError(
            f"Re-ranking got k1={k1}, k2={k2}, lambda_value={lambda_value}; "
            "expected k1 >= 1, k2 >= 1 and lambda_value in 0..1."
        )
    neighbours = np.stack([_nearest(rows.row(image), max(k1 + 1, k2)) for image in range(rows.count)])
    weights = _reciprocal_weights(rows, neighbours[:, : k1 + 1], k1)
    if k2 > 1:
        near = neighbours[:, :k2]
        mean = sparse.csr_matrix(
            (np.full(near.size, 1.0 / near.shape[1]), near.ravel(), np.arange(0, near.size + 1, near.shape[1])),
            shape=(rows.count, rows.count),
        )
        weights = (mean @ weights).tocsr()
    original = np.stack([rows.row(query)[rows.queries :] for query in range(rows.queries)])
    return _jaccard(weights, rows.queries) * (1.0 - lambda_value) + original * lambda_value


class _JointDistances:
    """Rows of the squared joint distance matrix, each scaled by the largest value of its column."""

    def __init__(self, dist_qg: ArrayLike, dist_qq: ArrayLike, dist_gg: ArrayLike) -> None:
        self._qg, self._qq, self._gg = (
            score_matrix(matrix, name)
            for matrix, name in ((dist_qg, "dist_qg"), (dist_qq, "dist_qq"), (dist_gg, "dist_gg"))
        )
        self.queries, gallery = self._qg.shape
        self.count = self.queries + gallery
        if self._qq.shape != (self.queries,) * 2 or self._gg.shape != (gallery,) * 2:
            raise TaskError(
                f"dist_qq {self._qq.shape} and dist_gg {self._gg.shape} do not fit dist_qg {self._qg.shape}; "
                f"expected ({self.queries}, {self.queries}) and ({gallery}, {gallery})."
            )
        matrices = self._qg, self._qq, self._gg
        lowest = min(float(matrix.min()) for matrix in matrices)
        if lowest < 0:
            raise TaskError(
                f"Re-ranking got a distance of {lowest:g}, expected unsquared Euclidean distances (>= 0).",
                "Cosine similarity has to be turned into sqrt(2 - 2 * similarity) first.",
            )
        largest = max(float(matrix.max()) for matrix in matrices)
        if not np.isfinite(largest * largest):
            raise TaskError(
                f"Re-ranking got a distance of {largest:g}, expected distances whose squares are finite.",
                "Look for diverged features or pairs masked by infinity: distances are scaled by the largest of them.",
            )

    def row(self, image: int) -> FloatArray:
        """Column `image` of the squared joint matrix over its largest value: the original's transposed scaling."""
        if image < self.queries:
            parts = self._qq[:, image], self._qg[image]
        else:
            parts = self._qg[:, image - self.queries], self._gg[:, image - self.queries]
        squared = np.square(np.concatenate(parts).astype(np.float64))
        largest = squared.max()
        return squared / largest if largest > 0 else squared


def _nearest(row: FloatArray, count: int) -> Indices:
    """First `count` entries of a stable argsort, without sorting the rest."""
    if count >= len(row):
        return np.argsort(row, kind="stable")
    candidates = np.flatnonzero(row <= np.partition(row, count - 1)[count - 1])
    return candidates[np.argsort(row[candidates], kind="stable")][:count]


def _reciprocal_weights(rows: _JointDistances, neighbours: Indices, k1: int) -> Any:
    """Sparse (images, images) weights exp(-d), normalised per row, on each image's expanded reciprocal set."""
    half = int(np.around(k1 / 2)) + 1
    close = [_reciprocal(neighbours, image, half) for image in range(rows.count)]
    columns, values = [], []
    belongs = np.zeros(rows.count, dtype=bool)  # membership in `own`, kept to save a search per candidate
    for image in range(rows.count):
        own = _reciprocal(neighbours, image, k1 + 1)
        belongs[own] = True
        theirs = [close[candidate] for candidate in own]
        members = [own, *(t for t in theirs if np.count_nonzero(belongs[t]) > 2.0 / 3.0 * len(t))]
        belongs[own] = False
        expanded = np.unique(np.concatenate(members))
        weight = np.exp(-rows.row(image)[expanded])
        columns.append(expanded)
        values.append(weight / weight.sum())
    starts = np.cumsum([0, *map(len, columns)])
    return sparse.csr_matrix((np.concatenate(values), np.concatenate(columns), starts), shape=(rows.count,) * 2)


def _reciprocal(neighbours: Indices, image: int, count: int) -> Indices:
    """Images among the nearest `count` of `image` that have `image` among their own nearest `count`."""
    forward: Indices = neighbours[image, :count]
    mutual: Indices = forward[(neighbours[forward, :count] == image).any(axis=1)]
    return mutual


def _jaccard(weights: Any, queries: int) -> FloatArray:
    """Jaccard distance (queries, gallery): rows sum to 1, so the union is 2 minus the shared weight.

    A query without reciprocal neighbours, as one of many identical images is, shares nothing: its distances are 1.
    """
    inverted = weights[queries:].tocsc()
    gallery = inverted.shape[0]
    distance = np.ones((queries, gallery))
    for query in range(queries):
        span = slice(weights.indptr[query], weights.indptr[query + 1])
        columns, own = weights.indices[span], weights.data[span]
        if not len(columns):
            continue
        pieces = [slice(inverted.indptr[c], inverted.indptr[c + 1]) for c in columns]
        images = np.concatenate([inverted.indices[piece] for piece in pieces])
        other = np.concatenate([inverted.data[piece] for piece in pieces])
        smaller = np.minimum(other, np.repeat(own, [piece.stop - piece.start for piece in pieces]))
        shared = np.bincount(images, weights=smaller, minlength=gallery)
        distance[query] = 1.0 - shared / (2.0 - shared)
    return distance
