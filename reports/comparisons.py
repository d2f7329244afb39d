"""Every estimate and every comparison of a workspace: who is separable from whom, ranks, marks, the bar.

The family of Holm's correction is all pairs of rows that share a budget (controls share all), over all main metrics
of the stored results: one family, whatever table is printed. `a` and `b` are separable where the adjusted p-value of
their paired difference is below .05 and the difference holds at least two seeds and the test-sampling part.

A row is marked best where it is separable from every other row it is compared with, second where it is separable
from every row below it and there is a best one and at least one row below. Rows with noise-free labels stand beside,
unmarked; the truth as a row belongs to no pair either, so that asking for it changes no p-value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from hcbench.reports.arrange import arrange
from hcbench.reports.results import Results
from hcbench.reports.rows import Arranged, Metric, Row
from hcbench.reports.statistics import (
    ALPHA,
    BOTH,
    Estimate,
    estimate,
    holm,
    p_values,
    paired,
    rank_interval,
)

BAR = ("random", "pixels", "histogram")
"""Controls whose best one is the bar for "learned something"."""

Key = tuple[Row, Row, Metric]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A paired difference a - b.

    Attributes:
        difference: Mean difference with its own 95 % interval (not adjusted).
        p: Two-sided p-value.
        adjusted_p: The same after Holm's correction over the family.
    """

    difference: Estimate
    p: float
    adjusted_p: float

    @property
    def separable(self) -> bool:
        """Whether the difference excludes 0 after Holm's correction; never with one seed."""
        return self.difference.kind == BOTH and self.adjusted_p < ALPHA

    def reversed(self) -> Comparison:
        """The comparison of b with a."""
        d = self.difference
        flipped = Estimate(
            mean=-d.mean,
            low=-d.high,
            high=-d.low,
            kind=d.kind,
            seeds=d.seeds,
            test_variance=d.test_variance,
            seed_variance=d.seed_variance,
        )
        return Comparison(difference=flipped, p=self.p, adjusted_p=self.adjusted_p)


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where a row stands among the rows it is compared with: ranks it may have, and best, second or no mark."""

    rank_low: int
    rank_high: int
    mark: str = ""


@dataclass(frozen=True)
class Analysis:
    """Arranged results with their statistics; made by `analyse`.

    Attributes:
        arranged: Rows, metrics, entries.
        estimates: Mean and interval wherever there is a number.
        comparisons: Paired differences of main metrics, keyed in row order.
    """

    arranged: Arranged
    estimates: Mapping[tuple[Row, Metric], Estimate]
    comparisons: Mapping[Key, Comparison] = field(default_factory=dict)

    def compare(self, a: Row, b: Row, metric: Metric) -> Comparison | None:
        """The paired difference a - b; None where the two cannot be compared."""
        if (found := self.comparisons.get((a, b, metric))) is not None:
            return found
        found = self.comparisons.get((b, a, metric))
        return None if found is None else found.reversed()

    def separable(self, a: Row, b: Row, metric: Metric) -> bool:
        """Whether the two rows differ for sure: Holm-adjusted p below .05, at least two seeds."""
        found = self.compare(a, b, metric)
        return found is not None and found.separable

    def standings(self, rows: Sequence[Row], metric: Metric) -> dict[Row, Standing]:
        """Ranks with ties and marks of these rows, compared with each other alone."""
        present = [row for row in rows if (row, metric) in self.estimates and not (row.oracle or row.truth)]
        sign = 1 if metric.higher_is_better else -1
        present.sort(key=lambda row: -sign * self.estimates[row, metric].mean)
        standings = {}
        best_is_marked = False
        for place, row in enumerate(present):
            above, below = present[:place], present[place + 1 :]
            # A pair may be paired over fewer seeds than its means: count it only where both orders agree.
            better = sum(self._beats(other, row, metric) for other in above)
            worse = sum(self._beats(row, other, metric) for other in below)
            low, high = rank_interval(better, worse, len(present))
            clear = bool(below) and worse == len(below)
            mark = ""
            if clear and place == 0:
                mark, best_is_marked = "best", True
            elif clear and place == 1 and best_is_marked:
                mark = "second"
            standings[row] = Standing(rank_low=low, rank_high=high, mark=mark)
        return standings

    def _beats(self, a: Row, b: Row, metric: Metric) -> bool:
        found = self.compare(a, b, metric)
        return found is not None and found.separable and (found.difference.mean > 0) == metric.higher_is_better

    def bar(self, row: Row, metric: Metric) -> Row | None:
        """The best of `random`, `pixels` and `histogram` in a metric, of the row's backbone where there is one."""
        controls = [
            other
            for other in self.arranged.rows
            if other.control and other.method in BAR and (other, metric) in self.estimates
        ]
        own = {other.method for other in controls if other.backbone == row.backbone}
        controls = [other for other in controls if other.backbone == row.backbone or other.method not in own]
        sign = 1 if metric.higher_is_better else -1
        return max(controls, key=lambda other: sign * self.estimates[other, metric].mean, default=None)


def analyse(results: Results) -> Analysis:
    """All estimates, paired differences and adjusted p-values of the stored results."""
    arranged = arrange(results)
    estimates = {key: estimate(entry.sample) for key, entry in arranged.entries.items() if entry.sample is not None}
    keys: list[Key] = []
    differences: list[Estimate] = []
    for a, b in combinations([row for row in arranged.rows if not row.truth], 2):
        if not (a.control or b.control or a.budget == b.budget):
            continue
        for metric in arranged.main_metrics:
            difference = _difference(arranged, a, b, metric)
            if difference is not None:
                keys.append((a, b, metric))
                differences.append(difference)
    p = p_values(differences)
    adjusted = holm(p)
    comparisons = {
        key: Comparison(difference=difference, p=float(p[i]), adjusted_p=float(adjusted[i]))
        for i, (key, difference) in enumerate(zip(keys, differences, strict=True))
    }
    return Analysis(arranged=arranged, estimates=estimates, comparisons=comparisons)


def _difference(arranged: Arranged, a: Row, b: Row, metric: Metric) -> Estimate | None:
    first, second = arranged.entries.get((a, metric)), arranged.entries.get((b, metric))
    if first is None or second is None or first.sample is None or second.sample is None:
        return None
    sample = paired(first.sample, second.sample)
    return None if sample is None else estimate(sample)
