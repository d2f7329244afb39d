"""Pseudo labels: k-reciprocal Jaccard distances among one set of features, and DBSCAN over them.

After Zhong et al. (CVPR 2017) as unsupervised ReID uses it. Everything is sparse: two images whose neighbourhoods
share nothing have distance 1 and are not stored. N images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import sparse
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import sort_graph_by_row_values
from torch import Tensor

Int = NDArray[np.int64]
Double = NDArray[np.float64]

OUTLIER: Final = -1
"""Label of images that belong to no cluster."""
_BLOCK: Final = 64
_SEARCH_BLOCK: Final = 1024


@dataclass(frozen=True, slots=True)
class Clusters:
    """Pseudo labels of N images.

    Attributes:
        labels: int64 (N,), 0 .. clusters - 1, or OUTLIER.
        count: Clusters.
        outliers: Images without one.
        largest: Images of the largest cluster; 0 without one.
        median: Images of the median cluster; 0 without one.
    """

    labels: Int
    count: int
    outliers: int
    largest: int
    median: float


def jaccard_distances(features: Tensor, *, k1: int = 30, k2: int = 6, released: bool = False, most: float = 1.0) -> Any:
    """k-reciprocal Jaccard distances.

    The weight of an image's neighbour is the softmax of minus their squared L2 distance over the expanded k-reciprocal
    set; the weights of the `k2` nearest images are averaged (query expansion).

    Args:
        features: float (N, D), normalised here.
        k1: Neighbours of an image, itself not counted; clamped to N - 1.
        k2: Images whose weights are averaged, itself counted; 1 = none.
        released: Search for itself and k1 - 1 neighbours, as the released code does by a slip.
        most: Pairs that are further from each other are not stored.

    Returns:
        CSR matrix (N, N), float64, symmetric; pairs that are not stored have a distance above `most`, or 1.
    """
    features = F.normalize(features.detach().float().cpu(), dim=1)
    number = len(features)
    k1 = min(k1, number - 1)
    if k1 < 1:
        return sparse.csr_matrix((number, number))
    near = nearest(features, k1 if released and k1 > 1 else k1 + 1)
    weights = _weights(features, _expanded(near, k1))
    if k2 > 1:
        weights = (_pattern(near[:, :k2]) @ weights) / min(k2, near.shape[1])
    return _jaccard(weights.tocsr(), most)


def nearest(features: Tensor, count: int) -> Int:
    """Indices (N, count) of the nearest rows of unit features (N, D), itself first."""
    found = []
    for start in range(0, len(features), _SEARCH_BLOCK):
        cosines = features[start : start + _SEARCH_BLOCK] @ features.T
        rows = torch.arange(len(cosines))
        cosines[rows, start + rows] = torch.inf
        found.append(cosines.topk(count, dim=1).indices)
    return torch.cat(found).numpy()


def _pattern(near: Int) -> Any:
    """CSR (N, N) with ones at the neighbours (N, k) of every image."""
    number, count = near.shape
    ones = np.ones(near.size)
    return sparse.csr_matrix((ones, near.ravel(), np.arange(0, near.size + 1, count)), shape=(number, number))


def _reciprocal(near: Int) -> Any:
    """CSR (N, N) with ones where two images are among each other's neighbours."""
    forward = _pattern(near)
    return forward.multiply(forward.T).tocsr()


def _expanded(near: Int, k1: int) -> Any:
    """CSR pattern of the expanded sets: reciprocal neighbours, and theirs of half the size where 2/3 are shared."""
    own = _reciprocal(near)
    half = _reciprocal(near[:, : int(np.around(k1 / 2)) + 1])
    shared = own.multiply(own @ half.T).tocsr()  # for each reciprocal neighbour, how much of its half set is shared
    sizes = np.asarray(half.sum(axis=1)).ravel()
    shared.data = (shared.data > 2 / 3 * sizes[shared.indices]).astype(np.float64)
    shared.eliminate_zeros()
    return (own + shared @ half).tocsr()


def _weights(features: Tensor, expanded: Any) -> Any:
    """CSR with the rows of `expanded` filled with softmax(-squared distance)."""
    expanded.sort_indices()
    rows = np.repeat(np.arange(len(features)), np.diff(expanded.indptr))
    expanded.data = np.exp(-_squared_distances(features, rows, expanded.indices))
    scale = sparse.diags(1.0 / np.asarray(expanded.sum(axis=1)).ravel())
    return (scale @ expanded).tocsr()


def _squared_distances(features: Tensor, left: Int, right: Int) -> Double:
    steps = range(0, len(left), 1 << 16)
    pieces = [
        (features[left[i : i + (1 << 16)]] - features[right[i : i + (1 << 16)]]).double().square().sum(dim=1)
        for i in steps
    ]
    return np.asarray(torch.cat(pieces).numpy())


def _jaccard(weights: Any, most: float) -> Any:
    """Distances 1 - m / (2 - m) with m the sum of the smaller weights; rows of `weights` sum to 1."""
    inverted = weights.tocsc()
    least = 2 * (1 - most) / (2 - most)  # what pairs at the distance `most` share
    blocks = [_shared(weights[i : i + _BLOCK], inverted, least) for i in range(0, weights.shape[0], _BLOCK)]
    distances = sparse.vstack(blocks).tocsr()
    shared = np.minimum(distances.data, 1.0)
    distances.data = 1.0 - shared / (2.0 - shared)
    return distances


def _shared(block: Any, inverted: Any, least: float) -> Any:
    """Sum over columns of min(block[i, c], weights[j, c]), CSR (rows of block, N); only columns of both are touched."""
    rows, number = block.shape[0], inverted.shape[0]
    lengths = np.diff(inverted.indptr)[block.indices]
    first = inverted.indptr[block.indices] - np.concatenate([[0], np.cumsum(lengths)[:-1]])
    place = np.repeat(first, lengths) + np.arange(lengths.sum())
    smaller = np.minimum(inverted.data[place], np.repeat(block.data, lengths))
    row = np.repeat(np.repeat(np.arange(rows), np.diff(block.indptr)), lengths)
    total = np.bincount(row * number + inverted.indices[place], weights=smaller, minlength=rows * number)
    total[total < least * (1 - 1e-9)] = 0.0
    return sparse.csr_matrix(total.reshape(rows, number))


def eps_of(distances: Any, share: float) -> float | None:
    """Mean of the smallest `share` of the non-zero distances above the diagonal; None where that is no distance.

    Args:
        distances: CSR (N, N) of `jaccard_distances`; pairs that are not stored count as 1.
        share: rho of the paper.
    """
    number = distances.shape[0]
    above = sparse.triu(distances, k=1).data
    pairs = number * (number - 1) // 2
    count = round(share * (pairs - int((above == 0).sum())))
    if count < 1:
        return None
    smallest = np.sort(above[above > 0])[:count]
    return float((smallest.sum() + (count - len(smallest))) / count)


def cluster(distances: Any, *, eps: float, min_samples: int) -> Clusters:
    """DBSCAN over distances (CSR of `jaccard_distances`).

    Args:
        distances: Pairs that are not stored are never neighbours.
        eps: Largest distance of neighbours.
        min_samples: Neighbours that make a core, itself counted.
    """
    if distances.shape[0] < 2:
        labels = np.full(distances.shape[0], OUTLIER, np.int64)
    else:
        graph = sort_graph_by_row_values(distances, copy=True, warn_when_not_sorted=False)
        scan = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed")
        labels = np.asarray(scan.fit_predict(graph), np.int64)
    sizes = np.bincount(labels[labels >= 0])
    return Clusters(
        labels=labels,
        count=len(sizes),
        outliers=int((labels == OUTLIER).sum()),
        largest=int(sizes.max(initial=0)),
        median=float(np.median(sizes)) if len(sizes) else 0.0,
    )


def agreement(labels: Int, truth: Int) -> float:
    """Adjusted Rand index of pseudo labels (N,) with the truth (N,), outliers left out; NaN without a labelled pair.

    A diagnostic: training must never see it.
    """
    known = labels != OUTLIER
    return float(adjusted_rand_score(truth[known], labels[known])) if known.sum() > 1 else float("nan")
