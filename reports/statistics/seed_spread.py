"""How much another seed would change a score: one spread for all rows of a column, and a little of each row's own.

Three runs of one method cannot tell its variance, those of all methods together can. Each row's variance is shrunk to
the common one (moderated variances: Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004) with a fixed prior of two degrees of
freedom. More of them make intervals of noisy methods too short, none leaves nothing to be told apart with three seeds;
`tests/reports/test_simulation.py` holds both claims.

    scale      g_i  = max(m_i (1 - m_i), .001)  if the metric is a fraction, else 1
    own        u_i  = var_s(y_is) / g_i^2,   f_i = S_i - 1
    pool       u0   = sum f_i u_i / sum f_i,    D = sum f_i          over trained rows, one term per checkpoint
    moderated  u~_i = (d0 u0 + f_i u_i) / (d0 + f_i)
    seed part  W_i  = g_i^2 u~_i / S_i,         v = min(d0 + f_i, D)

The scale is not optional: the spread of a fraction goes with p (1 - p), so that a score of 1 % hardly moves and one of
20 % does. Pooled in points, the noise of a good method would make differences between poor ones look unsure, and theirs
would make it look sure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from hcbench.reports.statistics.intervals import Array

PRIOR_FREEDOM: Final = 2.0
"""d0 of the pool of a column."""
BORROWED_PRIOR_FREEDOM: Final = 8.0
"""d0 where the pool was measured elsewhere, and rows have one seed each."""
SMALLEST_SCALE: Final = 1e-3
"""g_i at least: a score of 0 would have no spread at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """The spread that rows of a column share.

    Attributes:
        variance: u0, on the scale g; arrays where several columns are treated at once.
        freedom: D.
        prior: d0.
        source: Where it was measured, if not in this column.
    """

    variance: Array | float
    freedom: Array | float
    prior: float = PRIOR_FREEDOM
    source: str = ""


def scale(mean: Array, fraction: bool) -> Array:
    """g_i, what the spread of a score goes with.

    Args:
        mean: Means over seeds.
        fraction: Whether the metric is a share between 0 and 1.

    >>> scale(np.array([0.5, 0.0]), fraction=True)
    array([0.25 , 0.001])
    """
    return np.maximum(mean * (1 - mean), SMALLEST_SCALE) if fraction else np.ones_like(mean)


def pool(own: Array, freedom: Array, weight: Array | float = 1.0) -> Pool:
    """The common spread of some rows, over the last axis.

    Args:
        own: u_i; ignored where there is no freedom.
        freedom: f_i.
        weight: 1, or less where several rows are scores of one checkpoint: together they count once.
    """
    freedom = freedom * weight
    total = np.sum(freedom, axis=-1)
    variance = np.sum(np.where(freedom > 0, own, 0.0) * freedom, axis=-1) / np.maximum(total, 1e-300)
    return Pool(variance=variance, freedom=total)


def seed_variance(shared: Pool, own: Array, freedom: Array, scales: Array) -> Array:
    """W_i, the variance of each row's mean over seeds; a row of one seed has the common spread alone.

    Args:
        shared: The pool of the column.
        own: u_i; ignored where there is no freedom.
        freedom: f_i.
        scales: g_i.
    """
    common = shared.prior * np.asarray(shared.variance)[..., None]
    moderated = (common + freedom * np.where(freedom > 0, own, 0.0)) / (shared.prior + freedom)
    return np.asarray(scales**2 * moderated / (freedom + 1))


def row_freedom(shared: Pool, freedom: Array) -> Array:
    """Degrees of freedom of W_i: those of prior and row together, but never more than the pool has."""
    return np.asarray(np.minimum(shared.prior + freedom, np.asarray(shared.freedom)[..., None]))


def pair_freedom(shared: Pool, freedom: Array) -> Array:
    """Degrees of freedom of W_i + W_j, for all pairs of rows (..., k, k)."""
    both = freedom[..., :, None] + freedom[..., None, :]
    return np.asarray(np.minimum(shared.prior + both, np.asarray(shared.freedom)[..., None, None]))
