"""Every estimate and every verdict of a store: intervals, marks of each view, and ticks against the controls.

One column is one main metric at one budget, and is judged by all that is stored, whatever part of it is printed. Rows
of one budget alone are compared; controls stand beside those of every budget and never compete. Rows with noise-free
labels stand beside, unmarked; the truth as a row is compared with nothing, so that asking for it changes no p-value.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hcbench.reports.arrange import arrange
from hcbench.reports.bar import Tick, ticks
from hcbench.reports.borrowed import BorrowedSpread
from hcbench.reports.measured import MeasuredColumn, measure
from hcbench.reports.results import Results
from hcbench.reports.rows import Arranged, Metric, Row
from hcbench.reports.statistics.intervals import Estimate, Sample
from hcbench.reports.statistics.seed_spread import Pool
from hcbench.reports.views import View, view

Place = tuple[str, Metric]
"""A budget and a metric: one column."""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Arranged results with their statistics; made by `analyse`.

    Attributes:
        arranged: Rows, metrics, entries; what is shown.
        columns: Everything measured, by budget and metric.
        ticks: Trained rows against the controls, in main metrics.
        views: Marks of all trained methods side by side, by budget.
        group_views: Marks inside supervision groups of two or more, by budget.
        hidden: Trained rows by budget that compete and are not shown.
    """

    arranged: Arranged
    columns: Mapping[Place, MeasuredColumn]
    ticks: Mapping[tuple[Row, Metric], Tick]
    views: Mapping[str, View]
    group_views: Mapping[str, View]
    hidden: int = 0

    def column(self, metric: Metric, budget: str) -> MeasuredColumn | None:
        """The measured column; None where nothing has a value."""
        return self.columns.get((budget, metric))

    def estimate(self, row: Row, metric: Metric, budget: str = "") -> Estimate | None:
        """Mean and interval of a row; None where there is no value.

        Args:
            row: Of `arranged.rows`.
            metric: Of `arranged.metrics`.
            budget: Beside whose rows a control stands, since it shares their seed spread; by default the largest.
        """
        where = row.budget or budget or self.arranged.budgets[-1]
        column = self.columns.get((where, metric))
        return column.estimate(row) if column is not None and row in column.index else None

    def of_cells(self, cells: Collection[str], evaluations: Collection[str]) -> Analysis:
        """The same verdicts, with the rows and metrics of some cells and evaluations alone to be shown."""
        arranged = self.arranged.of_cells(cells, evaluations)
        here = set(arranged.budgets)
        others = [row for row in self.arranged.rows if row.competes and row.budget in here]
        return replace(self, arranged=arranged, hidden=len(set(others) - set(arranged.rows)))


def analyse(results: Results, borrowed: Sequence[BorrowedSpread] = ()) -> Analysis:
    """All estimates and verdicts of the stored results.

    Args:
        results: What the store holds.
        borrowed: Seed spread that may stand for seeds that were not run.
    """
    arranged = arrange(results)
    columns: dict[Place, MeasuredColumn] = {}
    judged: dict[tuple[Row, Metric], Tick] = {}
    views: dict[str, View] = {}
    group_views: dict[str, View] = {}
    checkpoints: dict[Row, Hashable] = {
        row: frozenset(cell.row.cell for cell in cells) for row, cells in arranged.cells.items()
    }
    for budget in arranged.budgets:
        rows = arranged.at(budget)
        for metric in arranged.metrics:
            if samples := _samples(arranged, rows, metric):
                elsewhere = _elsewhere(borrowed, arranged, samples, metric, budget)
                scored = {row: arranged.entries[row, metric].evaluations for row in samples}
                columns[budget, metric] = measure(metric, samples, checkpoints, scored, elsewhere)
        main = [columns[budget, metric] for metric in arranged.main_metrics if (budget, metric) in columns]
        for column in main:
            judged |= {(row, column.metric): tick for row, tick in ticks(column).items()}
        trained = [row for row in rows if row.competes]
        views[budget] = view(main, [trained])
        group_views[budget] = view(main, _groups(trained))
    return Analysis(arranged=arranged, columns=columns, ticks=judged, views=views, group_views=group_views)


def _samples(arranged: Arranged, rows: Sequence[Row], metric: Metric) -> dict[Row, Sample]:
    """What was measured of each row, for rows with a value."""
    entries = {row: arranged.entries.get((row, metric)) for row in rows}
    return {row: entry.sample for row, entry in entries.items() if entry is not None and entry.sample is not None}


def _elsewhere(
    borrowed: Sequence[BorrowedSpread], arranged: Arranged, rows: Iterable[Row], metric: Metric, budget: str
) -> Pool | None:
    """Seed spread of elsewhere that fits the column."""
    found = (one.pool_for(arranged, rows, metric, budget) for one in borrowed)
    return next((pool for pool in found if pool is not None), None)


def _groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Supervision groups of two rows or more."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.supervision, []).append(row)
    return [members for members in groups.values() if len(members) > 1]
