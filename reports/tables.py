"""The tables of scores: main, bar, ranks, details, failures.

Each builder takes an `Analysis` and gives a `Table`; it formats nothing and decides nothing about looks.
"""

from __future__ import annotations

from collections.abc import Sequence

from hcbench.reports.arrange import LEAKS
from hcbench.reports.comparisons import Analysis, Standing
from hcbench.reports.ledger import EQUAL_FLOPS, compute_limited, equal_compute, inequalities
from hcbench.reports.parts import (
    estimate_cell,
    interval_lines,
    metric_column,
    metric_facts,
    metric_format,
    row_title,
    score_cell,
    score_line,
)
from hcbench.reports.rows import Metric, Row
from hcbench.reports.statistics import BOTH
from hcbench.reports.table import Cell, Column, Footnotes, Table, TableRow

EMBEDDED = "people"
"""The corpus whose settings are told above a table."""


def main_table(analysis: Analysis, budget: str, *, every_group: bool = False) -> Table:
    """Methods by main metrics at one budget, controls included.

    Args:
        analysis: The statistics.
        budget: One of `analysis.arranged.budgets`.
        every_group: Compare all rows with each other instead of inside their supervision group.
    """
    rows = analysis.arranged.at(budget)
    metrics = analysis.arranged.main_metrics
    standings = {metric: _standings(analysis, rows, metric, every_group) for metric in metrics}
    notes = Footnotes()
    unequal = inequalities(analysis.arranged, rows)
    leaking = _leaking(analysis, rows, metrics)
    lines = []
    for row in rows:
        cells = tuple(score_cell(analysis, row, metric, notes, standings[metric]) for metric in metrics)
        cells += (_leak(analysis, row, metrics, notes),) if leaking else ()
        marks = [notes.mark(f"not equal: {'; '.join(unequal[row])}")] if row in unequal else []
        marks += [notes.mark(limited)] if (limited := compute_limited(analysis.arranged, row)) else []
        lines.append(score_line(analysis, row, cells, marks))
    scope = "all supervision groups compared" if every_group else "compared inside supervision groups"
    at = f" at {budget}" if budget else ""
    return Table(
        name=f"{'all-groups' if every_group else 'main'}{f'-{budget}' if budget else ''}",
        title=f"Scores{at}, {scope}",
        header=(
            *interval_lines(analysis, rows, metrics),
            *_marking_lines(analysis, rows, metrics, every_group),
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


def bar_table(analysis: Analysis, budget: str) -> Table:
    """Paired difference of each row to the best control: has the method learned something?"""
    rows = [row for row in analysis.arranged.at(budget) if not row.control]
    metrics = analysis.arranged.main_metrics
    notes = Footnotes()
    bars = {metric: {analysis.bar(row, metric) for row in rows} for metric in metrics}
    usual = {metric: next(iter(found)) for metric, found in bars.items() if len(found) == 1}
    named = [f"{bar.label} ({m.heading} {m.title})" for m, bar in usual.items() if bar is not None]
    lines = []
    for row in rows:
        cells = tuple(_above_bar(analysis, row, metric, None if metric in usual else notes) for metric in metrics)
        lines.append(score_line(analysis, row, cells, ()))
    return Table(
        name=f"bar-{budget}" if budget else "bar",
        title=f"Above the best control{f' at {budget}' if budget else ''}",
        header=(
            "Paired difference to the best of random, pixels and histogram in each metric, percentage points, with "
            "its own 95 % interval.",
            *([f"The best are {', '.join(named)}."] if named else []),
            "✓ above and ✗ below the bar: the difference excludes 0 after Holm's correction, from two seeds on.",
        ),
        columns=tuple(metric_column(metric, "signed" if metric.percent else "number") for metric in metrics),
        rows=tuple(lines),
        footnotes=notes.texts,
    )


def rank_table(analysis: Analysis, budget: str) -> Table:
    """Ranks with ties inside supervision groups: 1–3 where rows cannot be told apart."""
    rows = [row for row in analysis.arranged.at(budget) if not row.truth]
    metrics = analysis.arranged.main_metrics
    standings = {metric: _standings(analysis, rows, metric, False) for metric in metrics}
    lines = []
    for row in rows:
        found = [standings[metric].get(row) for metric in metrics]
        middles = [(s.rank_low + s.rank_high) / 2 for s in found if s is not None]
        mean = Cell(value=sum(middles) / len(middles)) if len(middles) == len(metrics) else Cell()
        lines.append(score_line(analysis, row, (*(_rank(s) for s in found), mean), ()))
    return Table(
        name=f"ranks-{budget}" if budget else "ranks",
        title=f"Ranks{f' at {budget}' if budget else ''} inside supervision groups",
        header=("A row ranks behind those that are separably better and before those that are separably worse.",),
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
        cells = tuple(score_cell(analysis, row, metric, notes, {}) for metric in metrics)
        lines.append(score_line(analysis, row, (Cell(text=_readouts(analysis, row, metrics)), *cells), ()))
    first = metrics[0]
    names = [first.benchmark, "" if first.data == "people" else first.data, budget]
    where = f"{first.heading}, version {first.version}, {first.protocol}"
    return Table(
        name="-".join(name for name in names if name),
        title=f"{where}{f', at {budget}' if budget else ''}: all metrics",
        header=interval_lines(analysis, rows, metrics),
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


def _standings(analysis: Analysis, rows: Sequence[Row], metric: Metric, every_group: bool) -> dict[Row, Standing]:
    if every_group:
        return analysis.standings(rows, metric)
    standings: dict[Row, Standing] = {}
    for group in dict.fromkeys(row.supervision for row in rows):
        standings |= analysis.standings([row for row in rows if row.supervision == group], metric)
    return standings


def _rank(standing: Standing | None) -> Cell:
    if standing is None:
        return Cell()
    low, high = standing.rank_low, standing.rank_high
    return Cell(text=str(low) if low == high else f"{low}–{high}")


def _above_bar(analysis: Analysis, row: Row, metric: Metric, notes: Footnotes | None) -> Cell:
    control = analysis.bar(row, metric)
    found = analysis.compare(row, control, metric) if control is not None else None
    if control is None or found is None:
        return Cell()
    mark = ""
    if found.separable:
        mark = "above" if (found.difference.mean > 0) == metric.higher_is_better else "below"
    bar = () if notes is None else (notes.mark(f"bar: {row_title(analysis, control)}"),)
    return estimate_cell(found.difference, mark=mark, notes=bar)


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


def _marking_lines(
    analysis: Analysis, rows: Sequence[Row], metrics: Sequence[Metric], every_group: bool
) -> tuple[str, ...]:
    family = len(analysis.comparisons)
    trained = [analysis.estimates.get((row, metric)) for row in rows if not row.control for metric in metrics]
    if not any(found is not None and found.kind == BOTH for found in trained):
        return ("Nothing is marked best: that takes two seeds or more with stored replicates.",)
    scope = "of all rows" if every_group else "of its supervision group"
    return (
        f"Best {scope} and second best are marked only where separable (paired differences, Holm over "
        f"{family:,} comparisons).",
    )
