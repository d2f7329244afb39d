"""Cluster bootstrap: whole identities are drawn with replacement, a metric is re-evaluated with weights.

People, not images, are the independent draws of a test set, so every image of a drawn identity comes along. A
resample is a row of weights (how often each sample was drawn), and every metric of this package can be evaluated
again from its per-sample values and such a row, without ranking or matching a second time. The rows depend on the
cluster labels and the seed alone, so two methods scored on the same test set share them and their replicates can be
subtracted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcbench.benchmarks.metrics.arrays import AnyArray, FloatArray, ratio, to_numpy
from hcbench.errors import TaskError

REPLICATES = 1000
_BLOCK = 64  # replicates per matrix product: bounds the float64 copy of the weights


def resample_weights(clusters: ArrayLike, *, replicates: int = REPLICATES, seed: int) -> NDArray[np.uint8]:
    """Draw whole clusters with replacement, as many as there are.

    Args:
        clusters: (N,) cluster (identity) of each sample, numbers or strings. Only which samples share a cluster and
            the sorted order of the names matter, not the order of the samples.
        replicates: Number of resamples B.
        seed: Seed of the draws; part of a benchmark's version.

    Returns:
        (B, N) how often each sample counts in each resample.

    Raises:
        TaskError: There are no samples.

    >>> weights = resample_weights(["ann", "ann", "bob"], replicates=4, seed=0)
    >>> weights.shape, bool((weights[:, 0] == weights[:, 1]).all())
    ((4, 3), True)
    """
    labels = to_numpy(clusters)
    if labels.ndim != 1 or labels.size == 0:
        raise TaskError(f"Bootstrap clusters have shape {labels.shape}, expected one label for each of N > 0 samples.")
    names, members = np.unique(labels, return_inverse=True)
    count = len(names)
    # Raw 64-bit words are the one thing that NumPy promises never to change; 53 of them make a uniform number.
    words = np.random.PCG64(seed).random_raw(replicates * count)
    drawn = ((words >> np.uint64(11)) * 2.0**-53 * count).astype(np.int64).reshape(replicates, count)
    drawn += np.arange(replicates)[:, None] * count
    times = np.bincount(drawn.ravel(), minlength=replicates * count).reshape(replicates, count)
    return np.minimum(times, 255).astype(np.uint8)[:, members]


def check_weights(weights: ArrayLike, samples: int) -> AnyArray:
    """Give weights back as a (B, N) array.

    Raises:
        TaskError: They do not fit the number of samples.
    """
    array = to_numpy(weights)
    if array.ndim != 2 or array.shape[1] != samples:
        raise TaskError(
            f"Bootstrap weights have shape {array.shape}, expected (replicates, {samples}).",
            "Draw them with resample_weights() from the cluster labels of exactly these samples.",
        )
    return array


def weighted_sums(weights: ArrayLike, columns: ArrayLike) -> FloatArray:
    """Sum each column over the samples, weighted.

    Args:
        weights: (B, N) resample weights.
        columns: (N, M) values without NaN.

    Returns:
        (B, M) sums.

    >>> weighted_sums([[1, 1], [2, 0]], [[10.0], [1.0]]).tolist()
    [[11.0], [20.0]]
    """
    values = to_numpy(columns).astype(np.float64)
    array = check_weights(weights, len(values))
    sums = np.empty((len(array), values.shape[1]))
    for start in range(0, len(array), _BLOCK):
        sums[start : start + _BLOCK] = array[start : start + _BLOCK].astype(np.float64) @ values
    return sums


def weighted_means(weights: ArrayLike, columns: ArrayLike) -> FloatArray:
    """Average each column over the samples where it is defined, weighted.

    Args:
        weights: (B, N) resample weights.
        columns: (N, M) values; NaN = this sample does not count.

    Returns:
        (B, M) means; NaN where no sample that counts was drawn.

    >>> weighted_means([[1, 1, 1], [0, 3, 1]], [[0.0], [1.0], [float("nan")]]).tolist()
    [[0.5], [1.0]]
    """
    values = to_numpy(columns).astype(np.float64)
    counted = ~np.isnan(values)
    sums = weighted_sums(weights, np.where(counted, values, 0.0))
    return ratio(sums, weighted_sums(weights, counted), empty=np.nan)
