"""Pieces that the tables of scores share: headings, lines and cells."""

from __future__ import annotations

from collections.abc import Iterable

from hcbench.reports.comparisons import Analysis
from hcbench.reports.render.table import Cell, Column, Footnotes, TableRow
from hcbench.reports.rows import Metric, Row
from hcbench.reports.statistics.intervals import NO_INTERVAL, Estimate

SHORT_REASON = 24
"""Longest reason that stands in a cell; longer ones become footnotes."""


def several_backbones(analysis: Analysis) -> bool:
    """Whether rows must name their backbone."""
    return len({row.backbone for row in analysis.arranged.rows if row.backbone and not row.control}) > 1


def row_title(analysis: Analysis, row: Row) -> str:
    """The row's label, with its backbone where there are several."""
    return f"{row.label} · {row.backbone}" if several_backbones(analysis) and row.backbone else row.label


def metric_column(metric: Metric, form: str = "") -> Column:
    """The column of a metric under its benchmark's heading."""
    arrow = "" if metric.higher_is_better else " ↓"
    return Column(
        title=metric.title + arrow,
        group=metric.heading,
        format=form or metric_format(metric),
        facts=metric_facts(metric),
    )


def metric_format(metric: Metric) -> str:
    """How tables write the metric."""
    return "percent" if metric.percent else "number"


def metric_facts(metric: Metric) -> dict[str, str]:
    """The metric's coordinates in tidy files."""
    return {
        "benchmark": metric.benchmark,
        "version": metric.version,
        "data": metric.data,
        "protocol": metric.protocol,
        "scale": f"{metric.scale:g}",
        "metric": metric.name,
    }


def score_line(
    analysis: Analysis, row: Row, cells: tuple[Cell, ...], notes: Iterable[str], *, beside: bool = False
) -> TableRow:
    """A line of a table of scores, with the row's coordinates in tidy files.

    Args:
        analysis: The statistics.
        row: What the line shows.
        cells: Its cells.
        notes: Marks of its footnotes.
        beside: Whether its supervision stands beside its name instead of above its group.
    """
    facts = {
        "method": row.method,
        "supervision": row.supervision,
        "budget": row.budget,
        "backbone": row.backbone,
        "variant": ", ".join(f"{key}={value}" for key, value in row.variant),
        "oracle": "yes" if row.oracle else "",
    }
    return TableRow(
        title=row_title(analysis, row),
        group="" if beside else row.supervision_title,
        label=row.supervision_title if beside else "",
        cells=cells,
        notes=tuple(notes),
        facts=facts,
    )


def score_cell(
    analysis: Analysis, row: Row, metric: Metric, notes: Footnotes, budget: str = "", *, mark: str = "", tick: str = ""
) -> Cell:
    """The cell of a row in a metric: a value with its interval, or why there is none."""
    found = analysis.estimate(row, metric, budget)
    problems = _problems(analysis, row, metric)
    if found is None:
        return _missing(problems, notes)
    marks = []
    if problems:
        causes = [f"seed {seed} {status}{f' ({why})' if why else ''}" for seed, (status, why) in problems.items()]
        marks.append(notes.mark(f"{found.seeds} of {found.seeds + len(problems)} seeds: {'; '.join(causes)}"))
    hollow = rests_on_others(analysis, row, metric, budget)
    return estimate_cell(found, mark=mark, tick=tick, hollow=hollow and bool(mark or tick), notes=tuple(marks))


def rests_on_others(analysis: Analysis, row: Row, metric: Metric, budget: str = "") -> bool:
    """Whether what is said of the row rests on a seed spread that was measured elsewhere."""
    column = analysis.column(metric, row.budget or budget)
    return column is not None and column.borrowed


def estimate_cell(
    found: Estimate, *, mark: str = "", tick: str = "", hollow: bool = False, notes: tuple[str, ...] = ()
) -> Cell:
    """A cell with the value and interval of an estimate."""
    known = found.kind != NO_INTERVAL
    return Cell(
        value=found.mean,
        low=found.low if known else None,
        high=found.high if known else None,
        kind=found.kind,
        seeds=found.seeds,
        mark=mark,
        tick=tick,
        hollow=hollow,
        notes=notes,
    )


def _problems(analysis: Analysis, row: Row, metric: Metric) -> dict[int, tuple[str, str]]:
    """Seed to (status, reason) where the row has a cell but no value in this metric."""
    entry = analysis.arranged.entries.get((row, metric))
    problems = dict(entry.problems) if entry is not None else {}
    have = entry.sample.seeds if entry is not None and entry.sample is not None else ()
    for cell in analysis.arranged.cells[row]:
        seed = cell.row.seed
        if seed not in have and seed not in problems and cell.row.status != "done":
            problems[seed] = (cell.row.status, cell.row.reason)
    return dict(sorted(problems.items()))


def _missing(problems: dict[int, tuple[str, str]], notes: Footnotes) -> Cell:
    if not problems:
        return Cell(text="not run")
    # Several seeds mostly share their fate; the first one speaks, the table of failures names all.
    status, why = next(iter(problems.values()))
    if not why:
        return Cell(text=status)
    return Cell(text=f"{status} ({why})") if len(why) <= SHORT_REASON else Cell(text=status, notes=(notes.mark(why),))
