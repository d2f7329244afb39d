"""Figures: scores with intervals per benchmark, and budget curves.

Colours are from colour-blind safe sets (Okabe and Ito, Tol) without the pale ones, markers differ too; a method keeps
both in every figure of a report. Controls are grey lines, not points: they are the level to beat. No pyplot state is
left behind.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from hcbench.reports.comparisons import Analysis
from hcbench.reports.ledger import compute_limited
from hcbench.reports.parts import row_title
from hcbench.reports.rows import Metric, Row
from hcbench.reports.tables import by_benchmark

MARKERS = "osD^vPX<>*"
DASHES = ("--", ":", "-.", (0, (1, 3)), (0, (6, 2, 1, 2, 1, 2)))
COLOURS = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#332288", "#882255", "#56b4e9", "#222222", "#999933")
GREY = "0.45"
_LOOKS: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": "0.7",
    "grid.color": "0.92",
    "legend.frameon": False,
    "svg.hashsalt": "hcbench",  # the same results give the same bytes
    "svg.fonttype": "none",
}


def draw_figures(analysis: Analysis) -> dict[str, Figure]:
    """Every figure of the report by file name: one per benchmark and budget, and one of curves per benchmark."""
    figures: dict[str, Figure] = {}
    budgets = analysis.arranged.budgets
    for measured in by_benchmark(analysis):
        metrics = [metric for metric in measured if metric.main and metric.name]
        if not metrics:
            continue
        name = _name(metrics[0])
        for budget in budgets:
            rows = _drawable(analysis, analysis.arranged.at(budget), metrics)
            if any(not row.control for row in rows):
                figures["-".join(part for part in (name, budget) if part)] = score_figure(analysis, metrics, budget)
        if len(budgets) > 1 and _lines(analysis, metrics[0]):
            figures[f"{name}-budgets"] = budget_figure(analysis, metrics)
    return figures


def figure_bytes(figure: Figure, form: str) -> bytes:
    """The figure as a `png` or `svg` file; no date, no version, so that equal figures are equal files."""
    buffer = io.BytesIO()
    metadata = {"Software": None} if form == "png" else {"Date": None, "Creator": None}
    with _looks():
        figure.savefig(buffer, format=form, dpi=160, metadata=metadata)
    return buffer.getvalue()


def score_figure(analysis: Analysis, metrics: Sequence[Metric], budget: str) -> Figure:
    """Scores of one benchmark at one budget: a panel per metric, a dot with its interval per method.

    Rows stand under their supervision group, the best of a group first in the first metric.
    """
    rows = _drawable(analysis, analysis.arranged.at(budget), metrics)
    trained = _by_group(analysis, [row for row in rows if not row.control], metrics[0])
    controls = [row for row in rows if row.control]
    places, headings = _places(trained)
    height = 1.1 + 0.27 * (len(places) + len(headings)) + 0.14 * len(controls)
    with _looks():
        figure = _figure(2.4 + 3.4 * len(metrics), height)
        axes = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        for axis, metric in zip(axes, metrics, strict=True):
            for row, place in places.items():
                _dot(axis, analysis, row, metric, place)
            for index, control in enumerate(controls):
                if level := analysis.estimate(control, metric):
                    x = _factor(metric) * level.mean
                    label = row_title(analysis, control) if axis is axes[0] else None
                    axis.axvline(x, color=GREY, linewidth=1, linestyle=DASHES[index % len(DASHES)], label=label)
            axis.set_xlabel(f"{metric.title}{', %' if metric.percent else ''}")
            axis.grid(axis="y", visible=False)
            axis.tick_params(left=False)
        axes[0].set_yticks(list(places.values()), [row_title(analysis, row) for row in places])
        axes[0].set_ylim(max([*places.values(), 0]) + 0.6, min([*headings.values(), 0]) - 0.5)
        for heading, place in headings.items():
            axes[0].annotate(
                heading,
                (0, place),
                (-6, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="right",
                va="center",
                color=GREY,
                fontstyle="italic",
                fontsize=8,
            )
        figure.suptitle(_title(metrics[0], budget), x=0.01, ha="left", fontsize=11)
        sns.despine(figure, left=True)
        if controls:
            figure.legend(loc="outside lower right", ncols=min(3, len(controls)), fontsize=8)
    return figure


def budget_figure(analysis: Analysis, metrics: Sequence[Metric]) -> Figure:
    """Scores over stored images (logarithmic), a panel per metric; compute-limited rows are left out."""
    with _looks():
        figure = _figure(2.6 + 4.0 * len(metrics), 3.6)
        axes = figure.subplots(1, len(metrics), squeeze=False)[0]
        lines = {line: None for metric in metrics for line in _lines(analysis, metric)}
        for axis, metric in zip(axes, metrics, strict=True):
            found = _lines(analysis, metric)
            sizes = sorted({row.budget_images: row.budget for rows in found.values() for row in rows}.items())
            for index, line in enumerate(lines):
                if line in found:
                    _curve(axis, analysis, found[line], metric, line, index - (len(lines) - 1) / 2)
            for index, row in enumerate(_drawable(analysis, analysis.arranged.rows, [metric])):
                if row.control and (level := analysis.estimate(row, metric)):
                    y = _factor(metric) * level.mean
                    dash = DASHES[index % len(DASHES)]
                    axis.axhline(y, color=GREY, linewidth=1, linestyle=dash, label=row_title(analysis, row), zorder=1)
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(FixedLocator([size for size, _ in sizes]))
            axis.xaxis.set_minor_locator(NullLocator())
            names = dict(sizes)
            axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _, names=names: _tick(x, names)))
            axis.set_xlabel("budget (stored images)")
            axis.set_ylabel(f"{metric.title}{', %' if metric.percent else ''}")
            axis.grid(axis="x", visible=False)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", fontsize=8)
        figure.suptitle(_title(metrics[0], ""), x=0.01, ha="left", fontsize=11)
        sns.despine(figure)
    return figure


@contextmanager
def _looks() -> Iterator[None]:
    """The style of all figures, undone afterwards."""
    style: dict[Any, Any] = sns.axes_style("whitegrid")
    with mpl.rc_context({**style, **_LOOKS}):
        yield


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _style(analysis: Analysis, row: Row) -> tuple[str, str]:
    """Colour and marker of a method, by its place in the report: the same in all figures of a report."""
    methods = list(dict.fromkeys(other.method for other in analysis.arranged.rows if not other.control))
    place = methods.index(row.method)
    return COLOURS[place % len(COLOURS)], MARKERS[(place + place // len(COLOURS)) % len(MARKERS)]


def _factor(metric: Metric) -> float:
    return 100.0 if metric.percent else 1.0


def _drawable(analysis: Analysis, rows: Sequence[Row], metrics: Sequence[Metric]) -> list[Row]:
    """Rows with a value; the truth is left out, since its 100 % would squeeze all others into a corner."""
    return [row for row in rows if not row.truth and any(analysis.estimate(row, metric) for metric in metrics)]


def _by_group(analysis: Analysis, rows: Sequence[Row], metric: Metric) -> dict[str, list[Row]]:
    """Rows by supervision group, the best first."""
    sign = -1 if metric.higher_is_better else 1

    def score(row: Row) -> float:
        found = analysis.estimate(row, metric)
        return sign * found.mean if found is not None else float("inf")

    groups = groupby(rows, key=lambda row: row.supervision_title)
    return {title: sorted(members, key=score) for title, members in groups}


def _places(groups: dict[str, list[Row]]) -> tuple[dict[Row, float], dict[str, float]]:
    """Heights of rows and of group headings, counted downwards."""
    places: dict[Row, float] = {}
    headings: dict[str, float] = {}
    height = 0.0
    for title, rows in groups.items():
        headings[title] = height
        for row in rows:
            height += 1
            places[row] = height
        height += 1.2
    return places, headings


def _dot(axis: Axes, analysis: Analysis, row: Row, metric: Metric, place: float) -> None:
    found = analysis.estimate(row, metric)
    if found is None:
        return
    factor = _factor(metric)
    colour, marker = _style(analysis, row)
    if found.low == found.low:
        axis.hlines(place, factor * found.low, factor * found.high, color=colour, linewidth=1.6, zorder=3)
    fill, edge = ("white", colour) if row.oracle else (colour, "white")
    axis.plot(factor * found.mean, place, marker, mfc=fill, mec=edge, mew=0.8, markersize=7, zorder=4)


def _lines(analysis: Analysis, metric: Metric) -> dict[str, list[Row]]:
    """Curves by label: rows that differ in the budget alone, small budgets first; two points at least."""
    lines: dict[str, list[Row]] = {}
    for row in analysis.arranged.rows:
        drawn = not row.control and analysis.estimate(row, metric) and not compute_limited(analysis.arranged, row)
        if drawn:
            lines.setdefault(row_title(analysis, row), []).append(row)
    return {label: sorted(rows, key=lambda r: r.budget_images) for label, rows in lines.items() if len(rows) > 1}


def _curve(axis: Axes, analysis: Analysis, rows: Sequence[Row], metric: Metric, label: str, offset: float) -> None:
    """One curve; intervals of several methods are drawn a little apart, so that none hides another."""
    factor = _factor(metric)
    colour, marker = _style(analysis, rows[0])
    found = [estimate for row in rows if (estimate := analysis.estimate(row, metric))]
    x = [row.budget_images * 1.02**offset for row in rows]
    style = "--" if rows[0].oracle else "-"
    y = [factor * e.mean for e in found]
    axis.plot(x, y, style, marker=marker, color=colour, mec="white", mew=0.6, markersize=6, label=label)
    known = [(place, e) for place, e in zip(x, found, strict=True) if e.low == e.low]
    if known:
        axis.vlines(
            [place for place, _ in known],
            [factor * e.low for _, e in known],
            [factor * e.high for _, e in known],
            color=colour,
            linewidth=1.0,
            alpha=0.6,
        )


def _tick(x: float, names: dict[int, str]) -> str:
    size = round(x)
    name = names.get(size, "")
    return f"{name}\n({size:,})" if name and name != str(size) else f"{size:,}"


def _title(metric: Metric, budget: str) -> str:
    return f"{metric.heading} at {budget}" if budget else metric.heading


def _name(metric: Metric) -> str:
    parts = [metric.benchmark]
    parts += [metric.data] if metric.data not in ("", "people") else []
    parts += [metric.protocol] if metric.protocol not in ("", "frozen") else []
    parts += [f"scale{metric.scale:g}"] if metric.scale != 1 else []
    return "-".join(parts)
