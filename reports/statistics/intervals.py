"""Intervals, p-values and Holm's correction; arrays in, numbers out.

A row of a column (one metric at one budget) has values y_s, one per seed s = 1..S, and replicates R_sb, b = 1..B, the
metric on the b-th resample of the test set. Column b is the same resample for everything that is compared. What is
unsure about a mean, or about the difference of two, has two parts:

    test      C: which people happen to be in the test set            (resampling.py, from the replicates)
    seeds     W: subset, initialisation, data order                   (seed_spread.py, from all rows together)
    interval  m -+ sqrt(z^2 C + t^2 W),   z = normal quantile, t = Student quantile with v degrees of freedom
    p-value   the level a at which the interval of confidence 1 - a touches 0

Each part keeps its own quantile (Howe, Approximate confidence limits on the mean of X+Y, JASA 69, 1974; the
"square-and-add" rule of Zou and Donner, Stat. Med. 27, 2008). Welch-Satterthwaite, one t quantile with pooled degrees
of freedom, was tried and left: with two or three seeds it covers 87 to 93 % instead of 95 % where seeds dominate, and
in the far tail, where corrections for many comparisons work, it is wrong by factors of ten to several hundred.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

CONFIDENCE = 0.95
ALPHA = 1.0 - CONFIDENCE
SMALLEST_P = 2e-13
"""Smaller p-values are given as this one: the quantile functions lose their digits below."""

BOTH = "test sampling and seeds"
BORROWED = "test sampling and borrowed seed spread"
TEST_ONLY = "test sampling only"
SEEDS_ONLY = "seeds only"
NO_INTERVAL = "no interval"

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """Everything measured of one result.

    Attributes:
        seeds: S seeds.
        values: (S,) metric values, finite.
        replicates: (S, B) bootstrap replicates; None where they were not stored.
    """

    seeds: tuple[int, ...]
    values: Array
    replicates: Array | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A mean over seeds, or a difference of two, with its 95 % interval.

    Attributes:
        mean: Mean over seeds, or difference of the means.
        low: Lower end of the interval; NaN where there is none.
        high: Upper end.
        kind: What the interval covers: `BOTH`, `BORROWED`, `TEST_ONLY`, `SEEDS_ONLY` or `NO_INTERVAL`.
        seeds: S; of a difference, the smaller one of its two.
    """

    mean: float
    low: float
    high: float
    kind: str
    seeds: int

    @property
    def half_width(self) -> float:
        """Half the length of the interval; NaN where there is none."""
        return (self.high - self.low) / 2

    @property
    def reversed(self) -> Estimate:
        """The same with the other sign: of b - a, where this is of a - b."""
        return Estimate(mean=-self.mean, low=-self.high, high=-self.low, kind=self.kind, seeds=self.seeds)


def half_width(
    test_variance: Array | float, seed_variance: Array | float, freedom: Array | float, alpha: Array | float
) -> Array:
    """Half the length of the interval of confidence 1 - alpha: sqrt(z^2 C + t^2 W); elementwise.

    Args:
        test_variance: C.
        seed_variance: W.
        freedom: v, degrees of freedom of W; without meaning where W is 0.
        alpha: In (0, 1).
    """
    seed_variance = np.asarray(seed_variance, dtype=np.float64)
    tail = np.asarray(alpha) / 2
    student = stdtrit(np.where(seed_variance > 0, freedom, 1.0), tail)
    seed_part = np.where(seed_variance == 0, 0.0, student**2 * seed_variance)
    return np.asarray(np.sqrt(ndtri(tail) ** 2 * test_variance + seed_part))


def p_values(difference: Array, test_variance: Array, seed_variance: Array, freedom: Array) -> Array:
    """Two-sided p-values of "the true difference is 0": the level at which the interval touches 0.

    NaN where one of the arguments is NaN: what is unknown is never shown to differ.

    Args:
        difference: Differences of means; arguments broadcast.
        test_variance: C of each.
        seed_variance: W of each.
        freedom: v of each.
    """
    size, test, spread, freedom = np.broadcast_arrays(np.abs(difference), test_variance, seed_variance, freedom)
    # Bisection on log(alpha): the half-width falls as alpha grows, from far beyond the difference to 0 at alpha = 1.
    low, high = np.full(size.shape, np.log(SMALLEST_P)), np.zeros(size.shape)
    for _ in range(48):  # to 1e-13 of log(p)
        middle = (low + high) / 2
        outside = size > half_width(test, spread, freedom, np.exp(middle))
        low, high = np.where(outside, low, middle), np.where(outside, middle, high)
    p = np.where(size == 0, 1.0, np.exp(high))
    return np.where(np.isfinite(size + test + spread), p, np.nan)


def holm(p: Array) -> Array:
    """Holm's step-down adjustment (Scand. J. Statist. 6, 1979) over the last axis; NaN stays NaN and is no member.

    >>> holm(np.array([0.01, 0.04, 0.03]))
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, axis=-1, kind="stable")  # NaN come last
    members = np.sum(np.isfinite(p), axis=-1, keepdims=True)
    factors = np.maximum(members - np.arange(p.shape[-1]), 1)
    sorted_p = factors * np.take_along_axis(p, order, axis=-1)
    adjusted = np.empty_like(p)
    stepped = np.minimum(1.0, np.maximum.accumulate(sorted_p, axis=-1))
    np.put_along_axis(adjusted, order, stepped, axis=-1)
    return adjusted


def paired(a: Sample, b: Sample) -> Sample | None:
    """The sample of a - b: seeds paired by seed, replicate columns subtracted; None where no seed is common.

    For two scores of the same checkpoints alone: only there do runs of one seed belong together.
    """
    common = tuple(sorted(set(a.seeds) & set(b.seeds)))
    if not common:
        return None
    rows_a, rows_b = ([sample.seeds.index(seed) for seed in common] for sample in (a, b))
    replicates = None
    if a.replicates is not None and b.replicates is not None and a.replicates.shape[1] == b.replicates.shape[1]:
        replicates = a.replicates[rows_a] - b.replicates[rows_b]
    return Sample(seeds=common, values=a.values[rows_a] - b.values[rows_b], replicates=replicates)
