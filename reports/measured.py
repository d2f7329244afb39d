"""One metric at one budget, measured: the mean and interval of every row, and how sure each pair of rows differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hcbench.reports.rows import Metric, Row
from hcbench.reports.statistics.intervals import (
    ALPHA,
    BORROWED,
    BOTH,
    NO_INTERVAL,
    SEEDS_ONLY,
    TEST_ONLY,
    Array,
    Estimate,
    Sample,
    half_width,
    p_values,
    paired,
)
from hcbench.reports.statistics.resampling import covariances, difference_variances
from hcbench.reports.statistics.seed_spread import Pool, pair_freedom, pool, row_freedom, scale, seed_variance

SEEDLESS = ("pixels", "histogram")
"""Controls that hold nothing random: one seed of theirs stands for all."""


@dataclass(frozen=True, kw_only=True)
class MeasuredColumn:
    """The rows of a column with everything that is unsure about them.

    Attributes:
        metric: What is measured.
        rows: Rows that have a value, k of them.
        means: (k,) means over seeds.
        seeds: Number of seeds of each row.
        fixed: Whether no seed changes a row, by row.
        scored: What was scored, by row: equal where two rows show the same evaluations.
        covariance: (k, k) test part, NaN for rows without replicates.
        spread: (k,) variance of each mean over other seeds; 0 where no seed changes anything.
        freedom: (k,) degrees of freedom of `spread`.
        pair_test: (k, k) test part of differences.
        pair_spread: (k, k) seed part of differences; NaN where it cannot be known.
        pair_freedom: (k, k) degrees of freedom of `pair_spread`.
        pool: The spread that rows share; None where no trained row has two seeds: then nothing is said about methods.
    """

    metric: Metric
    rows: tuple[Row, ...]
    means: Array
    seeds: tuple[int, ...]
    fixed: tuple[bool, ...]
    scored: tuple[Hashable, ...]
    covariance: Array
    spread: Array
    freedom: Array
    pair_test: Array
    pair_spread: Array
    pair_freedom: Array
    pool: Pool | None

    @cached_property
    def index(self) -> dict[Row, int]:
        """Where each row stands in the arrays."""
        return {row: index for index, row in enumerate(self.rows)}

    @cached_property
    def higher(self) -> Array:
        """Means of which more is better."""
        return self.means if self.metric.higher_is_better else -self.means

    @cached_property
    def p(self) -> Array:
        """(k, k) two-sided p-values of all differences; NaN where nothing can be said."""
        if self.pool is None:
            return np.full(self.pair_test.shape, np.nan)
        differences = self.means[:, None] - self.means[None, :]
        return p_values(differences, self.pair_test, self.pair_spread, self.pair_freedom)

    @property
    def borrowed(self) -> bool:
        """Whether the seed spread was measured elsewhere."""
        return self.pool is not None and bool(self.pool.source)

    def once(self, rows: Iterable[Row]) -> dict[Row, list[Row]]:
        """Those of some rows that stand for themselves, each with all that show the very same evaluations.

        A benchmark that lacks the setting of a sweep has one score, in several rows; it must not be its own rival.
        """
        first: dict[Hashable, Row] = {}
        found: dict[Row, list[Row]] = {}
        for row in rows:
            found.setdefault(first.setdefault(self.scored[self.index[row]], row), []).append(row)
        return found

    def estimate(self, row: Row) -> Estimate:
        """The row's mean with its 95 % interval."""
        at = self.index[row]
        return self._estimate(
            self.means[at], self.covariance[at, at], self.spread[at], self.freedom[at], self.seeds[at]
        )

    def difference(self, a: Row, b: Row) -> Estimate:
        """The difference a - b with its own 95 % interval, not corrected for other comparisons."""
        i, j = self.index[a], self.index[b]
        test, spread, freedom = self.pair_test[i, j], self.pair_spread[i, j], self.pair_freedom[i, j]
        return self._estimate(self.means[i] - self.means[j], test, spread, freedom, min(self.seeds[i], self.seeds[j]))

    def _estimate(self, mean: float, test: float, spread: float, freedom: float, seeds: int) -> Estimate:
        """Numbers with the interval that they allow."""
        tested, seeded = bool(np.isfinite(test)), self.pool is not None and bool(np.isfinite(spread))
        if not tested and not seeded:
            kind = NO_INTERVAL
        elif not seeded:
            kind = TEST_ONLY
        elif not tested:
            kind = SEEDS_ONLY
        else:
            kind = BORROWED if self.borrowed else BOTH
        width = float("nan")
        if kind != NO_INTERVAL:
            width = float(half_width(test if tested else 0.0, spread if seeded else 0.0, freedom, ALPHA))
        mean = float(mean)
        return Estimate(mean=mean, low=mean - width, high=mean + width, kind=kind, seeds=seeds)


def measure(
    metric: Metric,
    samples: Mapping[Row, Sample],
    checkpoints: Mapping[Row, Hashable],
    scored: Mapping[Row, Hashable],
    elsewhere: Pool | None = None,
) -> MeasuredColumn:
    """Everything that can be said of the rows of one column.

    Args:
        metric: What is measured.
        samples: What was measured of each row.
        checkpoints: What was scored, by row: equal where two rows are scores of the same checkpoints.
        scored: Evaluations behind each row: equal where two rows show the same ones.
        elsewhere: Spread to borrow where no trained row has two seeds.
    """
    rows, several = tuple(samples), list(samples.values())
    means = np.array([np.mean(sample.values) for sample in several], dtype=np.float64)
    fixed = np.array([_seedless(row, sample) for row, sample in samples.items()], dtype=bool)
    freedom = np.where(fixed, 0.0, [len(sample.seeds) - 1.0 for sample in several])
    scales = scale(means, fraction=metric.percent and bool(np.all((means >= 0) & (means <= 1))))
    own = np.array([np.var(s.values, ddof=1) if len(s.seeds) > 1 else 0.0 for s in several]) / scales**2
    shared = _shared(rows, own, freedom, checkpoints) or elsewhere
    spread = np.where(fixed, 0.0, np.nan)
    row_v, pair_v = np.ones(len(rows)), np.ones((len(rows), len(rows)))
    if shared is not None:
        spread = np.where(fixed, 0.0, seed_variance(shared, own, freedom, scales))
        row_v, pair_v = row_freedom(shared, freedom), pair_freedom(shared, freedom)
    covariance = covariances(several)
    pair_test, pair_spread = difference_variances(covariance), spread[:, None] + spread[None, :]
    for i, j in _twins(rows, checkpoints):
        test, seeds, v = _same_checkpoint(several[i], several[j], fixed=bool(fixed[i] and fixed[j]))
        for at in ((i, j), (j, i)):
            pair_test[at], pair_spread[at], pair_v[at] = test, seeds, v
    return MeasuredColumn(
        metric=metric, rows=rows, means=means, seeds=tuple(len(sample.seeds) for sample in several),
        fixed=tuple(map(bool, fixed)), scored=tuple(scored[row] for row in rows),
        covariance=covariance, spread=spread, freedom=row_v, pair_test=pair_test, pair_spread=pair_spread,
        pair_freedom=pair_v, pool=shared,
    )  # fmt: skip


def _seedless(row: Row, sample: Sample) -> bool:
    """Whether no seed changes the row: a control whose seeds are all equal, or which holds nothing random."""
    if not row.control:
        return False
    if len(sample.seeds) > 1:
        return bool(np.ptp(sample.values) == 0)
    return row.method in SEEDLESS or row.given or row.truth


def _shared(rows: Sequence[Row], own: Array, freedom: Array, checkpoints: Mapping[Row, Hashable]) -> Pool | None:
    """The pool of the trained rows; None where none of them has two seeds."""
    trained = np.array([not row.control for row in rows], dtype=bool)
    counts = Counter(checkpoints[row] for row in rows if not row.control)
    weight = np.array([1 / max(1, counts[checkpoints[row]]) for row in rows])
    found = pool(own[trained], freedom[trained], weight[trained])
    return found if found.freedom > 0 else None


def _twins(rows: Sequence[Row], checkpoints: Mapping[Row, Hashable]) -> list[tuple[int, int]]:
    """Pairs of rows that are scores of the same checkpoints."""
    named = [checkpoints[row] for row in rows]
    return [(i, j) for j in range(len(rows)) for i in range(j) if named[i] == named[j]]


def _same_checkpoint(a: Sample, b: Sample, *, fixed: bool) -> tuple[float, float, float]:
    """Test part, seed part and degrees of freedom of a difference that is paired by seed."""
    nothing = float("nan")
    difference = paired(a, b)
    if difference is None:
        return nothing, nothing, 1.0
    test = nothing
    if difference.replicates is not None:
        means = np.mean(difference.replicates, axis=0)
        means = means[np.isfinite(means)]
        test = float(np.var(means, ddof=1)) if len(means) > 1 else nothing
    seeds = len(difference.seeds)
    if fixed:
        return test, 0.0, 1.0
    return test, float(np.var(difference.values, ddof=1)) / seeds if seeds > 1 else nothing, max(1.0, seeds - 1.0)
