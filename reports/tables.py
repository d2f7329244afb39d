"""The tables of scores: main, groups, bar, ranks, details, failures.

Each builder takes an `Analysis` and gives a `Table`; it formats nothing and decides nothing about looks.
"""

from __future__ import annotations

from collections.abc import Sequence

from hcbench.reports.arrange import LEAKS
from hcbench.reports.comparisons import Analysis
from hcbench.reports.findings import finding_lines
from hcbench.reports.ledger import EQUAL_FLOPS, compute_limited, equal_compute, inequalities
from hcbench.reports.parts import (
    estimate_cell,
    metric_column,
    metric_facts,
    metric_format,
    rests_on_others,
    row_title,
    score_cell,
    score_line,
)
from hcbench.reports.render.table import Cell, Column, Footnotes, Table, TableRow
from hcbench.reports.rows import Metric, Row
from hcbench.reports.views import Standing, View
from hcbench.reports.wording import interval_lines, verdict_lines

EMBEDDED = "people"
"""The corpus whose settings are told above a table."""


def main_table(analysis: Analysis, budget: str) -> Table:
    """All trained methods by main metrics at one budget, with what each was given beside its name; controls below.

    Args:
        analysis: The statistics.
        budget: One of `analysis.arranged.budgets`.
    """
    everything = analysis.arranged.at(budget)
    rows = [row for row in everything if not row.control] + [row for row in everything if row.control]
    metrics = analysis.arranged.main_metrics
    view = analysis.views.get(budget, View())
    notes = Footnotes()
    unequal = inequalities(analysis.arranged, everything)
    leaking = _leaking(analysis, rows, metrics)
    lines = []
    for row in rows:
        cells = tuple(_marked_cell(analysis, row, metric, budget, view, notes, ticks=True) for metric in metrics)
        cells += (_leak(analysis, row, metrics, notes),) if leaking else ()
        marks = [notes.mark(f"not equal: {'; '.join(unequal[row])}")] if row in unequal else []
        marks += [notes.mark(limited)] if (limited := compute_limited(analysis.arranged, row)) else []
        lines.append(score_line(analysis, row, cells, marks, beside=not row.control))
    return Table(
        name=f"main-{budget}" if budget else "main",
        title=f"Scores at {budget}, all trained methods" if budget else "Scores",
        findings=finding_lines(analysis, metrics, budget, view),
        header=(
            *interval_lines(analysis, rows, metrics, budget),
            *verdict_lines(analysis, metrics, budget, view, scope="of all trained methods", unit="columns", ticks=True),
            *_corpus_line(analysis, rows),
            *_effort_line(analysis, rows),
        ),
        columns=(
            *(metric_column(metric) for metric in metrics),
            *([Column(title="leaks", format="text")] if leaking else []),
        ),
        rows=tuple(lines),
        footnotes=notes.texts,
    )


def group_table(analysis: Analysis, budget: str) -> Table | None:
    """The same scores, compared inside supervision groups of two or more; None where there is no such group."""
    metrics = analysis.arranged.main_metrics
    view = analysis.group_views.get(budget, View())
    rows = [row for row in analysis.arranged.at(budget) if any((row, metric) in view.standings for metric in metrics)]
    if not rows:
        return None
    notes = Footnotes()
    lines = [
        score_line(
            analysis, row,
            tuple(_marked_cell(analysis, row, metric, budget, view, notes, ticks=False) for metric in metrics), (),
        )
        for row in rows
    ]  # fmt: skip
    return Table(
        name=f"groups-{budget}" if budget else "groups",
        title=f"Scores{f' at {budget}' if budget else ''}, compared inside supervision groups of two or more",
        header=verdict_lines(analysis, metrics, budget, view, scope="of its group", unit="contests", ticks=False),
        columns=tuple(metric_column(metric) for metric in metrics),
        rows=tuple(lines),
        footnotes=notes.texts,
    )


def bar_table(analysis: Analysis, budget: str) -> Table:
    """Difference of each row to the best control: has the method learned something?"""
    rows = [row for row in analysis.arranged.at(budget) if not row.control]
    metrics = analysis.arranged.main_metrics
    notes = Footnotes()
    bars = {metric: {tick.control for row in rows if (tick := analysis.ticks.get((row, metric)))} for metric in metrics}
    usual = {metric: next(iter(found)) for metric, found in bars.items() if len(found) == 1}
    named = [f"{bar.label} ({m.heading} {m.title})" for m, bar in usual.items()]
    lines = []
    for row in rows:
        cells = tuple(_above_bar(analysis, row, metric, None if metric in usual else notes) for metric in metrics)
        lines.append(score_line(analysis, row, cells, (), beside=True))
    lines_above = verdict_lines(analysis, metrics, budget, View(), scope="", unit="", ticks=True)
    return Table(
        name=f"bar-{budget}" if budget else "bar",
        title=f"Above the controls{f' at {budget}' if budget else ''}",
        header=(
            "Difference to the best of random, pixels and histogram in each metric, percentage points, with its own "
            "95 % interval; ticks are about all of the controls.",
            *([f"The best are {', '.join(named)}."] if named else []),
            *lines_above,
        ),
        columns=tuple(metric_column(metric, "signed" if metric.percent else "number") for metric in metrics),
        rows=tuple(lines),
        footnotes=notes.texts,
    )


def rank_table(analysis: Analysis, budget: str) -> Table:
    """Ranks of all trained methods with ties: 1–3 where rows cannot be told apart."""
    rows = [row for row in analysis.arranged.at(budget) if row.competes]
    metrics = analysis.arranged.main_metrics
    standings = analysis.views.get(budget, View()).standings
    lines = []
    for row in rows:
        found = [standings.get((row, metric)) for metric in metrics]
        middles = [(s.rank_low + s.rank_high) / 2 for s in found if s is not None]
        mean = Cell(value=sum(middles) / len(middles)) if len(middles) == len(metrics) else Cell()
        lines.append(score_line(analysis, row, (*(_rank(s) for s in found), mean), (), beside=True))
    return Table(
        name=f"ranks-{budget}" if budget else "ranks",
        title=f"Ranks{f' at {budget}' if budget else ''} among all trained methods",
        header=(
            "A row ranks behind those that are shown to be better and before those that are shown to be worse "
            "(Holm over all pairs of a column).",
        ),
        columns=(
            *(metric_column(metric, "text") for metric in metrics),
            Column(title="mean of middles", format="number"),
        ),
        rows=tuple(lines),
    )


def detail_table(analysis: Analysis, metrics: Sequence[Metric], budget: str) -> Table:
    """All metrics of one benchmark at one budget, with the readouts that validation chose.

    Args:
        analysis: The statistics.
        metrics: The benchmark's metrics.
        budget: One of `analysis.arranged.budgets`.
    """
    rows = analysis.arranged.at(budget)
    notes = Footnotes()
    lines = []
    for row in rows:
        cells = tuple(score_cell(analysis, row, metric, notes, budget) for metric in metrics)
        lines.append(score_line(analysis, row, (Cell(text=_readouts(analysis, row, metrics)), *cells), ()))
    first = metrics[0]
    names = [first.benchmark, "" if first.data == "people" else first.data, budget]
    where = f"{first.heading}, version {first.version}, {first.protocol}"
    return Table(
        name="-".join(name for name in names if name),
        title=f"{where}{f', at {budget}' if budget else ''}: all metrics",
        header=interval_lines(analysis, rows, metrics, budget),
        columns=(
            Column(title="readout", format="text"),
            *(Column(title=m.title, format=metric_format(m), facts=metric_facts(m)) for m in metrics),
        ),
        rows=tuple(lines),
        footnotes=notes.texts,
    )


def failure_table(analysis: Analysis) -> Table | None:
    """Everything that did not end as done, with its reason; None where all is well."""
    failures = analysis.arranged.failures
    if not failures:
        return None
    titles = ("budget", "seed", "benchmark", "status", "reason")
    lines = []
    for failure in failures:
        texts = [failure.cell.budget, str(failure.cell.seed)]
        texts += [failure.benchmark or "pre-training", failure.status, failure.reason]
        lines.append(
            TableRow(
                title=failure.cell.title,
                cells=tuple(Cell(text=text) for text in texts),
                facts={"method": failure.cell.method},
            )
        )
    return Table(
        name="failures",
        title="Not done",
        columns=tuple(Column(title=title, format="text") for title in titles),
        rows=tuple(lines),
    )


def by_benchmark(analysis: Analysis) -> list[tuple[Metric, ...]]:
    """The metrics of each benchmark, version, data set, protocol and scale."""
    found: dict[tuple[str, str, str, str, float], list[Metric]] = {}
    for metric in analysis.arranged.metrics:
        found.setdefault(metric.scored_on, []).append(metric)
    return [tuple(metrics) for metrics in found.values()]


def _leaking(analysis: Analysis, rows: Sequence[Row], metrics: Sequence[Metric]) -> bool:
    """Whether some score is not known to be clean; where all are, a column that says so tells nothing."""
    found = (analysis.arranged.entries.get((row, metric)) for row in rows if not row.truth for metric in metrics)
    return any(entry is not None and entry.leak not in ("", "clean") for entry in found)


def _leak(analysis: Analysis, row: Row, metrics: Sequence[Metric], notes: Footnotes) -> Cell:
    """Whether what the row was trained on overlaps with what it is scored on; the worst of its scores."""
    entries = [(metric, analysis.arranged.entries.get((row, metric))) for metric in metrics]
    told = [(entry.leak, f"{metric.heading}: {entry.leak}, {entry.leak_reason}")
            for metric, entry in entries if entry is not None and entry.leak]  # fmt: skip
    for status in LEAKS:
        reasons = dict.fromkeys(reason for leak, reason in told if leak == status)
        if reasons:
            marks = () if status == "clean" else (notes.mark("; ".join(reasons)),)
            return Cell(text=status, notes=marks)
    return Cell()


def _marked_cell(
    analysis: Analysis, row: Row, metric: Metric, budget: str, view: View, notes: Footnotes, *, ticks: bool
) -> Cell:
    standing, tick = view.standings.get((row, metric)), analysis.ticks.get((row, metric))
    return score_cell(
        analysis, row, metric, notes, budget, mark=standing.mark if standing else "",
        tick=tick.verdict if ticks and tick else "",
    )  # fmt: skip


def _rank(standing: Standing | None) -> Cell:
    if standing is None:
        return Cell()
    low, high = standing.rank_low, standing.rank_high
    return Cell(text=str(low) if low == high else f"{low}–{high}")


def _above_bar(analysis: Analysis, row: Row, metric: Metric, notes: Footnotes | None) -> Cell:
    tick = analysis.ticks.get((row, metric))
    if tick is None:
        return Cell()
    bar = () if notes is None else (notes.mark(f"best control: {row_title(analysis, tick.control)}"),)
    hollow = bool(tick.verdict) and rests_on_others(analysis, row, metric)
    return estimate_cell(tick.difference, tick=tick.verdict, hollow=hollow, notes=bar)


def _readouts(analysis: Analysis, row: Row, metrics: Sequence[Metric]) -> str:
    """Chosen readouts by frequency: `cls` or `cls+stripes (2), mean (1)`."""
    chosen: dict[int, str] = {}
    for metric in metrics:
        entry = analysis.arranged.entries.get((row, metric))
        chosen |= dict(entry.readouts) if entry is not None else {}
    names = [name for name in chosen.values() if name]
    counts = sorted({name: names.count(name) for name in names}.items(), key=lambda item: (-item[1], item[0]))
    return counts[0][0] if len(counts) == 1 else ", ".join(f"{name} ({count})" for name, count in counts)


def _corpus_line(analysis: Analysis, rows: Sequence[Row]) -> tuple[str, ...]:
    """Style, noise and caption detail of the embedded corpus, where all rows share them; nothing for other corpora.

    What captions name decides how much positives of a group share, so comparisons of methods carry their level.
    """
    trained = [cell for row in rows if not row.control for cell in analysis.arranged.cells[row]]
    if {cell.row.corpus for cell in trained} != {EMBEDDED}:
        return ()
    cells = [cell.settings for cell in trained]
    shared = []
    for name in ("style", "noise", "caption_detail"):
        values = {str(settings.get(f"corpus.{name}", "")) for settings in cells}
        if len(values) == 1 and (value := values.pop()):
            shared.append(f"{name}={value}")
    return (f"Pre-training data: {', '.join(shared)}.",) if shared else ()


def _effort_line(analysis: Analysis, rows: Sequence[Row]) -> tuple[str, ...]:
    """What is equal, where it is compute."""
    if not any(equal_compute(analysis.arranged, row) for row in rows):
        return ()
    named = any(("effort", "compute") in row.variant for row in rows)
    which = "Rows with effort=compute" if named else "Methods"
    return (f"{which} had equal FLOPs (within {EQUAL_FLOPS:.0%}), not equal images seen.",)
