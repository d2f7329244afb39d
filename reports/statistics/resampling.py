"""How much other people in the test set would change scores: variances and covariances from bootstrap replicates.

    C_ij = mean Cov_b(R_is, R_js') over all s, s' for i != j, over s != s' for i = j     (S_i = 1: Var_b)
    C_d  = max(0, C_ii + C_jj - 2 C_ij)

What a resample does to one checkpoint alone differs between seeds and so is part of the spread between seeds already:
with s != s' it is left out here, and counted once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from hcbench.reports.statistics.intervals import Array, Sample


def covariances(samples: Sequence[Sample]) -> Array:
    """C_ij of some rows of one column, (k, k); NaN in the rows and columns of those without replicates.

    Resamples on which a metric is undefined for one of two rows are left out of their covariance. Replicates of
    another number than most rows have are of other resamples, and count as none.
    """
    lengths = Counter(sample.replicates.shape[1] for sample in samples if sample.replicates is not None)
    count = max(lengths, key=lambda length: (lengths[length], length)) if lengths else 2
    means = np.full((len(samples), count), np.nan)
    for index, sample in enumerate(samples):
        if sample.replicates is not None and sample.replicates.shape[1] == count:
            means[index] = np.mean(sample.replicates, axis=0)
    found = _complete_pairs(means)
    for index, sample in enumerate(samples):
        if sample.replicates is not None and len(sample.seeds) > 1 and np.isfinite(found[index, index]):
            seeds = len(sample.seeds)
            defined = sample.replicates[:, np.isfinite(means[index])]
            alone = np.sum(np.var(defined, axis=1, ddof=1))
            # Var of the mean holds every pair of seeds; those of a seed with itself are taken out.
            found[index, index] = max(0.0, (seeds**2 * found[index, index] - alone) / (seeds * (seeds - 1)))
    return found


def difference_variances(covariance: Array) -> Array:
    """C_d of all pairs of rows, (..., k, k)."""
    own = np.diagonal(covariance, axis1=-2, axis2=-1)
    return np.maximum(0.0, own[..., :, None] + own[..., None, :] - 2 * covariance)


def _complete_pairs(means: Array) -> Array:
    """Covariance of the rows of (k, B), each pair over the columns that both have; NaN with fewer than two."""
    known = np.isfinite(means)
    counts = known.sum(axis=1, keepdims=True)
    centres = np.where(known, means, 0.0).sum(axis=1, keepdims=True) / np.maximum(counts, 1)
    centred = np.where(known, means - centres, 0.0)
    both = known.astype(np.float64) @ known.T.astype(np.float64)
    sums = centred @ known.T.astype(np.float64)  # of row i over the columns that j has, too
    products = centred @ centred.T - sums * sums.T / np.maximum(both, 1)
    return np.where(both > 1, products / np.maximum(both - 1, 1), np.nan)
