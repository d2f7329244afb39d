"""The values of one setting side by side: budgets, backbones, lambdas ... one table per main metric."""

from __future__ import annotations

from collections.abc import Sequence

from hcbench.errors import ConfigError, did_you_mean
from hcbench.reports.comparisons import Analysis
from hcbench.reports.ledger import compute_limited
from hcbench.reports.parts import metric_facts, metric_format, score_cell, several_backbones
from hcbench.reports.render.table import Cell, Column, Footnotes, Table, TableRow
from hcbench.reports.rows import Metric, Row
from hcbench.reports.wording import interval_lines


def comparison_tables(analysis: Analysis, dimension: str) -> list[Table]:
    """One table per main metric with the values of a dimension side by side, such as budgets or lambdas.

    Args:
        analysis: The statistics.
        dimension: `budget`, `backbone` or a setting that was swept, by full or last name (`lambda`).

    Raises:
        ConfigError: Nothing differs in this dimension.
    """
    names = _dimensions(analysis)
    key = next((name for name in names if dimension in (name, name.rpartition(".")[2])), None)
    if key is None:
        hint = did_you_mean(dimension, names) if names else "Run more than one budget, backbone or setting first."
        raise ConfigError(f"The stored results do not differ in {dimension!r}.", hint)
    rows = analysis.arranged.rows
    values = list(analysis.arranged.budgets) if key == "budget" else _values(rows, key)
    return [_comparison(analysis, metric, key, values) for metric in analysis.arranged.main_metrics]


def _dimensions(analysis: Analysis) -> list[str]:
    """Dimensions in which the stored rows differ."""
    rows = [row for row in analysis.arranged.rows if not row.control]
    names = ["budget"] if len(analysis.arranged.budgets) > 1 else []
    names += ["backbone"] if several_backbones(analysis) else []
    names += dict.fromkeys(key for row in rows for key, _ in row.variant)
    return names


def _value(row: Row, key: str) -> str:
    if key in ("budget", "backbone"):
        return str(getattr(row, key))
    return dict(row.variant).get(key, "")


def _values(rows: Sequence[Row], key: str) -> list[str]:
    found = {_value(row, key) for row in rows if not row.control} - {""}
    return sorted(found, key=lambda value: (0, float(value), "") if _is_float(value) else (1, 0.0, value))


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _comparison(analysis: Analysis, metric: Metric, key: str, values: Sequence[str]) -> Table:
    """Lines are rows that agree in everything but the dimension; controls stand in every column of a budget curve."""
    lines: dict[tuple[str, str], dict[str, Row]] = {}
    titles: dict[tuple[str, str], TableRow] = {}
    notes = Footnotes()
    for row in analysis.arranged.rows:
        others = tuple((k, v) for k, v in row.variant if k != key)
        named = [f"{k.rpartition('.')[2]}={v}" for k, v in others]
        named += [row.backbone] if key != "backbone" and several_backbones(analysis) and row.backbone else []
        named += [row.budget] if key != "budget" and len(analysis.arranged.budgets) > 1 and row.budget else []
        title = " · ".join([row.title, *named]) + (" [oracle: no label noise]" if row.oracle else "")
        line = (row.supervision_title, title)
        titles.setdefault(
            line, TableRow(title=title, group=row.supervision_title, cells=(), facts={"method": row.method})
        )
        everywhere = row.control and not _value(row, key)
        lines.setdefault(line, {}).update({value: row for value in (values if everywhere else [_value(row, key)])})
    rows = []
    for line, by_value in lines.items():
        cells = tuple(
            _curve_point(analysis, by_value[value], metric, key, value, notes) if value in by_value else Cell()
            for value in values
        )
        rows.append(TableRow(title=titles[line].title, group=titles[line].group, cells=cells, facts=titles[line].facts))
    shown = key.rpartition(".")[2]
    return Table(
        name=f"{shown}-{metric.benchmark}-{metric.name}",
        title=f"{metric.heading}, {metric.title}, by {shown}",
        header=interval_lines(analysis, analysis.arranged.rows, (metric,)),
        columns=tuple(
            Column(title=value, group=shown, format=metric_format(metric), facts={**metric_facts(metric), shown: value})
            for value in values
        ),
        rows=tuple(rows),
        footnotes=notes.texts,
    )


def _curve_point(analysis: Analysis, row: Row, metric: Metric, key: str, value: str, notes: Footnotes) -> Cell:
    limited = compute_limited(analysis.arranged, row) if key == "budget" else ""
    if limited:
        return Cell(text="compute-limited", notes=(notes.mark(f"{limited}; kept out of the curve"),))
    return score_cell(analysis, row, metric, notes, value if key == "budget" else "")
