"""Pieces that the tables of scores share: headings, lines, cells, and sentences about intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hcbench.reports.comparisons import Analysis, Standing
from hcbench.reports.rows import Metric, Row
from hcbench.reports.statistics import BOTH, NO_INTERVAL, SEEDS_ONLY, TEST_ONLY, Estimate
from hcbench.reports.table import Cell, Column, Footnotes, TableRow

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


def score_line(analysis: Analysis, row: Row, cells: tuple[Cell, ...], notes: Iterable[str]) -> TableRow:
    """A line of a table of scores, with the row's coordinates in tidy files."""
    facts = {
        "method": row.method,
        "budget": row.budget,
        "backbone": row.backbone,
        "variant": ", ".join(f"{key}={value}" for key, value in row.variant),
        "oracle": "yes" if row.oracle else "",
    }
    return TableRow(
        title=row_title(analysis, row), group=row.supervision_title, cells=cells, notes=tuple(notes), facts=facts
    )


def score_cell(
    analysis: Analysis, row: Row, metric: Metric, notes: Footnotes, standings: Mapping[Row, Standing]
) -> Cell:
    """The cell of a row in a metric: a value with its interval, or why there is none."""
    found = analysis.estimates.get((row, metric))
    problems = _problems(analysis, row, metric)
    if found is None:
        return _missing(problems, notes)
    marks = []
    if problems:
        causes = [f"seed {seed} {status}{f' ({why})' if why else ''}" for seed, (status, why) in problems.items()]
        marks.append(notes.mark(f"{found.seeds} of {found.seeds + len(problems)} seeds: {'; '.join(causes)}"))
    mark = standings[row].mark if row in standings else ""
    return estimate_cell(found, mark=mark, notes=tuple(marks))


def estimate_cell(found: Estimate, *, mark: str = "", notes: tuple[str, ...] = ()) -> Cell:
    """A cell with the value and interval of an estimate."""
    known = found.kind != NO_INTERVAL
    return Cell(
        value=found.mean,
        low=found.low if known else None,
        high=found.high if known else None,
        kind=found.kind,
        seeds=found.seeds,
        mark=mark,
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


def interval_lines(analysis: Analysis, rows: Sequence[Row], metrics: Sequence[Metric]) -> tuple[str, ...]:
    """Number of seeds and kind of the intervals of these rows."""
    keys = [(row, metric) for row in rows for metric in metrics if (row, metric) in analysis.estimates]
    found = [analysis.estimates[key] for key in keys]
    if not found:
        return ()
    seeds = sorted({estimate.seeds for estimate in found})
    count = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    lines = [f"Mean over {count} seeds ± half-width of the 95 % interval." if seeds[-1] > 1 else "One seed."]
    meaning = {
        BOTH: "Intervals: test sampling (bootstrap) and pre-training seeds (Student t).",
        TEST_ONLY: "Intervals with one seed: test sampling only (bootstrap).",
        SEEDS_ONLY: "Intervals without stored replicates: seeds only.",
        NO_INTERVAL: "Values without ±: one seed, no stored replicates.",
    }
    kinds = {estimate.kind for estimate in found}
    lines += [text for kind, text in meaning.items() if kind in kinds]
    return tuple(lines)
