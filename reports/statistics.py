"""Intervals, paired differences, p-values and Holm's correction; arrays in, numbers out.

A result has values v_s, one per seed s = 1..S, and replicates r_sb, b = 1..B, the metric on the b-th resample of the
test set. Column b is the same resample for everything that is compared, so the difference of two results is
d_s = v_s - w_s with replicates r_sb - q_sb, and everything below holds for results and differences alike.

    mean      m  = 1/S sum_s v_s
    test      Vt = variance over b of (1/S sum_s r_sb)                  (which people happen to be in the test set)
    seeds     Vs = 1/S * 1/(S-1) sum_s (v_s - m)^2                      (subset, initialisation, data order)
    interval  m -+ sqrt(z^2 Vt + t^2 Vs),   z = normal quantile, t = Student quantile with S - 1 degrees of freedom
    p-value   the level a at which the interval of confidence 1 - a touches 0

Each part keeps its own quantile (Howe, Approximate confidence limits on the mean of X+Y, JASA 69, 1974; the
"square-and-add" rule of Zou and Donner, Stat. Med. 27, 2008). Welch-Satterthwaite, one t quantile with pooled degrees
of freedom, was tried and left: with two or three seeds it covers 87 to 93 % instead of 95 % where seeds dominate, and
in the far tail, where Holm's correction works, it is wrong by factors of ten to several hundred. The rule above is
exact where one part dominates and errs on the safe side in between; `tests/reports/test_statistics.py` holds both
claims. The share of Vt that belongs to single seeds is counted in Vs, too: again the safe side.

One seed tells nothing about Vs. Then the interval is the percentile bootstrap (Efron and Tibshirani 1993, ch. 13),
its kind says "test sampling only", and nothing may be called separable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

CONFIDENCE = 0.95
ALPHA = 1.0 - CONFIDENCE
SMALLEST_P = 2e-13
"""Smaller p-values are given as this one: the quantile functions lose their digits below."""

BOTH = "test sampling and seeds"
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
        fixed: Whether a single seed may stand for every seed, as for controls that are not trained.
    """

    seeds: tuple[int, ...]
    values: Array
    replicates: Array | None = None
    fixed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A mean over seeds, or a mean paired difference, with its 95 % interval.

    Attributes:
        mean: Mean over seeds.
        low: Lower end of the interval; NaN where there is none.
        high: Upper end.
        kind: What the interval covers: `BOTH`, `TEST_ONLY`, `SEEDS_ONLY` or `NO_INTERVAL`.
        seeds: S.
        test_variance: Vt; NaN without replicates.
        seed_variance: Vs; NaN with one seed.
    """

    mean: float
    low: float
    high: float
    kind: str
    seeds: int
    test_variance: float
    seed_variance: float

    @property
    def half_width(self) -> float:
        """Half the length of the interval; NaN where there is none."""
        return (self.high - self.low) / 2


def estimate(sample: Sample) -> Estimate:
    """The mean of a sample with its 95 % interval (formulas: see the head of this file).

    >>> result = estimate(Sample(seeds=(0,), values=np.array([0.5]), replicates=np.array([[0.4, 0.5, 0.6]])))
    >>> result.kind, round(result.low, 3), round(result.high, 3)
    ('test sampling only', 0.405, 0.595)
    """
    seeds, mean = len(sample.values), float(np.mean(sample.values))
    replicates = _mean_replicates(sample.replicates)
    test = float(np.var(replicates, ddof=1)) if replicates is not None else float("nan")
    spread = float(np.var(sample.values, ddof=1)) / seeds if seeds > 1 else float("nan")
    if seeds == 1 and replicates is not None:
        low, high = (float(q) for q in np.quantile(replicates, (ALPHA / 2, 1 - ALPHA / 2)))
        kind = TEST_ONLY
    elif seeds == 1:
        low = high = float("nan")
        kind = NO_INTERVAL
    else:
        width = float(half_width(np.nan_to_num(test), spread, seeds, ALPHA))
        low, high = mean - width, mean + width
        kind = BOTH if replicates is not None else SEEDS_ONLY
    return Estimate(mean=mean, low=low, high=high, kind=kind, seeds=seeds, test_variance=test, seed_variance=spread)


def _mean_replicates(replicates: Array | None) -> Array | None:
    """Replicates (S, B) to their mean over seeds, without resamples on which the metric is undefined."""
    if replicates is None:
        return None
    mean = np.mean(replicates, axis=0)
    mean = mean[np.isfinite(mean)]
    return mean if len(mean) > 1 else None


def half_width(
    test_variance: Array | float, seed_variance: Array | float, seeds: NDArray[np.int64] | int, alpha: Array | float
) -> Array:
    """Half the length of the interval of confidence 1 - alpha: sqrt(z^2 Vt + t^2 Vs); elementwise.

    Args:
        test_variance: Vt.
        seed_variance: Vs; ignored for one seed.
        seeds: S.
        alpha: In (0, 1).
    """
    several = np.greater(seeds, 1)
    student = stdtrit(np.where(several, np.asarray(seeds) - 1, 1), np.asarray(alpha) / 2)
    seed_part = np.where(several, student**2 * np.where(several, seed_variance, 0.0), 0.0)
    return np.asarray(np.sqrt(ndtri(np.asarray(alpha) / 2) ** 2 * test_variance + seed_part))


def p_values(estimates: Sequence[Estimate]) -> Array:
    """Two-sided p-values of "the true mean is 0": the level at which the interval touches 0; NaN without interval.

    With one seed the normal distribution with variance Vt stands for the percentile bootstrap, which cannot give
    a p-value below 2 / B.
    """
    mean = np.abs([e.mean for e in estimates])
    seeds = np.array([e.seeds for e in estimates], dtype=np.int64)
    known = np.array([e.kind != NO_INTERVAL for e in estimates], dtype=bool)
    test = np.nan_to_num(np.array([e.test_variance for e in estimates], dtype=np.float64))
    spread = np.nan_to_num(np.array([e.seed_variance for e in estimates], dtype=np.float64))
    # Bisection on log(alpha): the half-width falls as alpha grows, from far beyond |mean| down to 0 at alpha = 1.
    low, high = np.full(len(mean), np.log(SMALLEST_P)), np.zeros(len(mean))
    for _ in range(60):
        middle = (low + high) / 2
        outside = mean > half_width(test, spread, seeds, np.exp(middle))
        low, high = np.where(outside, low, middle), np.where(outside, middle, high)
    p = np.exp(high)
    p = np.where(mean == 0, 1.0, p)
    return np.where(known, p, np.nan)


def holm(p: Array) -> Array:
    """Holm's step-down adjustment (Scand. J. Statist. 6, 1979); NaN stays NaN and is no member of the family.

    >>> holm(np.array([0.01, 0.04, 0.03]))
    array([0.03, 0.06, 0.06])
    """
    adjusted = np.full(len(p), np.nan)
    members = np.flatnonzero(np.isfinite(p))
    order = members[np.argsort(p[members], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * p[order]))
    return adjusted


def paired(a: Sample, b: Sample) -> Sample | None:
    """The sample of a - b: seeds paired by seed, replicate columns subtracted; None where no seed is common.

    A `fixed` sample of one seed is paired with every seed of the other. Seeds that only one of them has are left
    out, so the mean of the difference may then differ from the difference of the means.
    """
    if b.fixed and len(b.seeds) == 1:
        b = _spread(b, a.seeds)
    elif a.fixed and len(a.seeds) == 1:
        a = _spread(a, b.seeds)
    common = tuple(sorted(set(a.seeds) & set(b.seeds)))
    if not common:
        return None
    rows_a, rows_b = ([sample.seeds.index(seed) for seed in common] for sample in (a, b))
    replicates = None
    if a.replicates is not None and b.replicates is not None and a.replicates.shape[1] == b.replicates.shape[1]:
        replicates = a.replicates[rows_a] - b.replicates[rows_b]
    return Sample(seeds=common, values=a.values[rows_a] - b.values[rows_b], replicates=replicates)


def _spread(sample: Sample, seeds: tuple[int, ...]) -> Sample:
    count = len(seeds)
    replicates = None if sample.replicates is None else np.repeat(sample.replicates, count, axis=0)
    return Sample(seeds=seeds, values=np.repeat(sample.values, count), replicates=replicates)


def rank_interval(better: int, worse: int, total: int) -> tuple[int, int]:
    """Ranks that a row may have when `better` rows are separably better and `worse` rows separably worse.

    >>> rank_interval(better=1, worse=2, total=5)
    (2, 3)
    """
    return 1 + better, total - worse
