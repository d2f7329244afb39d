"""What the p-values of a column allow to say: who may be best, who is best, ranks, and who is above the bar.

Everything is computed over the last axes, so that many columns can be judged at once; `higher` are means of which more
is better (lower is better: with the other sign), `p` two-sided p-values of all pairs (k, k).

    may be best  i, unless some j above it has (k - 1) p_ij / 2 <= .05     Hsu, Ann. Statist. 12, 1984, with Bonferroni
    best         leader a: p_a = max_j p_aj, not adjusted for k            Gutmann and Maymin, Ann. Statist. 15, 1987
    second       the same among the rest, below a best one alone           Hung and Fithian, Ann. Statist. 47, 2019
    ranks        1 + rows above whose p-value is below .05 after Holm's correction over all pairs
    above bar    p_i = max over the controls; below: p_i = (number of controls) x the least p of those above
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hcbench.reports.statistics.intervals import ALPHA, Array, holm

Mask = NDArray[np.bool_]
Integers = NDArray[np.int64]


def may_be_best(higher: Array, p: Array) -> Mask:
    """The rows of which one is the best, with 95 % confidence; what cannot be compared is never excluded."""
    above = higher[..., None, :] > higher[..., :, None]
    excluded = above & ((higher.shape[-1] - 1) * p / 2 <= ALPHA)
    return np.asarray(~excluded.any(axis=-1))


def leader(higher: Array) -> Integers:
    """Index of the row with the highest mean; of equal ones the first."""
    return np.asarray(np.argmax(higher, axis=-1))


def winner_p(higher: Array, p: Array) -> Array:
    """p-value of "the leader is not the best": that of its hardest rival; NaN where one cannot be compared.

    NaN with fewer than two rows, too: there is no contest.
    """
    if higher.shape[-1] < 2:
        return np.full(higher.shape[:-1], np.nan)
    first = leader(higher)[..., None]
    against = np.take_along_axis(p, first[..., None], axis=-2)[..., 0, :]
    itself = np.arange(higher.shape[-1]) == first
    return np.asarray(np.max(np.where(itself, 0.0, against), axis=-1))


def rank_intervals(higher: Array, p: Array) -> tuple[Integers, Integers]:
    """The best and the worst rank that each row may have, both from 1."""
    size = higher.shape[-1]
    upper = np.triu_indices(size, k=1)
    clear = np.zeros(p.shape, dtype=bool)
    clear[..., upper[0], upper[1]] = holm(p[..., upper[0], upper[1]]) < ALPHA
    clear |= np.swapaxes(clear, -1, -2)
    above = higher[..., None, :] > higher[..., :, None]
    below = higher[..., None, :] < higher[..., :, None]
    return 1 + np.sum(clear & above, axis=-1), size - np.sum(clear & below, axis=-1)


def bar_p(higher: Array, controls: Array, p: Array) -> tuple[Mask, Array]:
    """Whether each row stands above all of its controls, and the p-value of the one thing that can be said of it.

    A row above all controls has to beat the hardest one. Any other one can only be below a control, and then the
    choice of the control is paid for.

    Args:
        higher: (..., k) means.
        controls: (..., k, c) means of each row's controls.
        p: (..., k, c) p-values of the differences.

    Returns:
        (..., k) above, and p-values before Holm's correction over the rows; NaN where they are unknown.
    """
    ahead = higher[..., None] - controls
    above = np.all(ahead > 0, axis=-1)
    hardest = np.max(p, axis=-1)
    worse = np.where(ahead < 0, np.where(np.isnan(p), 1.0, p), 1.0)
    below = np.minimum(1.0, controls.shape[-1] * np.min(worse, axis=-1))
    unknown = np.all(np.isnan(p), axis=-1)
    return above, np.where(above, hardest, np.where(unknown, np.nan, below))
