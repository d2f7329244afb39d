"""What a main table says, in one sentence per column: who is best, or may be, and how that stands to the controls."""

from __future__ import annotations

from collections.abc import Sequence

from hcbench.reports.bar import ABOVE, BELOW
from hcbench.reports.comparisons import Analysis
from hcbench.reports.parts import row_title
from hcbench.reports.rows import Metric, Row
from hcbench.reports.views import MAY_BE_BEST, STAR, View

MOST_NAMES = 3
"""More rows than these are counted, not named."""


def finding_lines(analysis: Analysis, metrics: Sequence[Metric], budget: str, view: View) -> tuple[str, ...]:
    """A sentence for each column where something can be said of methods."""
    found = ((metric, _finding(analysis, metric, budget, view)) for metric in metrics)
    return tuple(f"{metric.heading} {metric.title}: {text}." for metric, text in found if text)


def _finding(analysis: Analysis, metric: Metric, budget: str, view: View) -> str:
    column = analysis.column(metric, budget)
    if column is None or column.pool is None:
        return ""
    standings = {row: one for (row, other), one in view.standings.items() if other == metric and row in column.index}
    rows = sorted(standings, key=lambda row: -column.higher[column.index[row]])
    stars = [row for row in rows if standings[row].mark == STAR]
    possible = [row for row in rows if standings[row].mark == MAY_BE_BEST]
    if stars:
        text = f"{_named(analysis, stars)} {'is' if len(stars) == 1 else 'are'} best"
        return text + _beside_controls(analysis, metric, stars)
    if len(possible) == len(rows) and len(rows) > 1:
        return "no method is shown to be better than another"
    return (
        f"{_named(analysis, possible)} may be best" + _beside_controls(analysis, metric, possible) if possible else ""
    )


def _named(analysis: Analysis, rows: Sequence[Row]) -> str:
    names = [row_title(analysis, row) for row in rows]
    if len(names) > MOST_NAMES:
        return f"{len(names)} methods"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _beside_controls(analysis: Analysis, metric: Metric, rows: Sequence[Row]) -> str:
    """Where the best stand to the controls, if all of them stand alike."""
    ticks = [analysis.ticks.get((row, metric)) for row in rows]
    verdicts = {tick.verdict for tick in ticks if tick is not None}
    if verdicts == {ABOVE}:
        return ", above all controls"
    if verdicts == {BELOW}:
        best = next(tick for tick in ticks if tick is not None).control
        return f", and still below {best.title}" if len(rows) == 1 else ", and still below a control"
    return ""
