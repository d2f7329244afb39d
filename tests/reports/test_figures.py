"""Figures: what is drawn, and files that are pictures."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np

from hcbench.reports.comparisons import analyse
from hcbench.reports.figures import budget_figure, draw_figures, figure_bytes


def test_one_figure_per_benchmark_and_budget_and_one_of_curves(full) -> None:
    assert list(draw_figures(analyse(full(2).results()))) == ["pose-1pct", "reid-1pct"]
    both = draw_figures(analyse(full(2, ("0.1pct", "1pct")).results()))
    assert list(both) == ["pose-0.1pct", "pose-1pct", "pose-budgets", "reid-0.1pct", "reid-1pct", "reid-budgets"]


def test_files_are_pictures_and_repeat_to_the_byte(full) -> None:
    results = full(2, ("0.1pct", "1pct")).results()
    analysis = analyse(results)
    metrics = [metric for metric in analysis.arranged.main_metrics if metric.benchmark == "reid"]
    first, second = (budget_figure(analysis, metrics) for _ in range(2))
    png = figure_bytes(first, "png")
    assert png.startswith(b"\x89PNG")
    assert png == figure_bytes(second, "png")
    image = first.canvas.buffer_rgba()  # type: ignore[attr-defined]
    assert np.asarray(image)[..., :3].std() > 5  # not a blank page
    svg = figure_bytes(first, "svg")
    assert b"<svg" in svg
    assert svg == figure_bytes(second, "svg")


def test_dots_intervals_and_control_lines_are_where_the_numbers_are(full) -> None:
    analysis = analyse(full(3).results())
    figure = draw_figures(analysis)["pose-1pct"]
    axis = figure.axes[0]
    metric = analysis.arranged.main_metrics[0]
    dots = sorted(float(line.get_xdata()[0]) for line in axis.lines if line.get_marker() not in ("None", None, ""))
    trained = [row for row in analysis.arranged.rows if not row.control]
    np.testing.assert_allclose(dots, sorted(100 * analysis.estimate(row, metric).mean for row in trained))
    ends = sorted(tuple(c.get_segments()[0][:, 0]) for c in axis.collections)
    expected = sorted((100 * e.low, 100 * e.high) for e in (analysis.estimate(row, metric) for row in trained))
    np.testing.assert_allclose(ends, expected)
    lines = {
        line.get_label(): float(line.get_xdata()[0])
        for line in axis.lines
        if line.get_xdata()[0] == line.get_xdata()[-1]
    }
    for row in analysis.arranged.rows:
        if row.control:
            np.testing.assert_allclose(lines[row.title], 100 * analysis.estimate(row, metric).mean)


def test_a_method_keeps_its_colour(full) -> None:
    figures = draw_figures(analyse(full(2, ("0.1pct", "1pct")).results()))
    colours = [
        {line.get_label(): line.get_color() for line in figures[name].axes[0].lines}["GENPOCCL"]
        for name in ("pose-budgets", "reid-budgets")
    ]
    assert colours[0] == colours[1]


def test_compute_limited_rows_stay_out_of_curves(full) -> None:
    space = full(2, ("0.1pct", "0.3pct", "1pct"))
    for cell in space.cells:
        if cell["method"] == "hap" and cell["budget"] == "1pct":
            cell["ledger.images_seen"] = 6000
    axis = draw_figures(analyse(space.results()))["reid-budgets"].axes[0]
    points = {line.get_label(): len(line.get_xdata()) for line in axis.lines}
    assert (points["HAP"], points["MAE"]) == (2, 3)


def test_no_style_is_left_behind(full) -> None:
    before = dict(mpl.rcParams)
    figure_bytes(draw_figures(analyse(full(1).results()))["reid-1pct"], "png")
    assert dict(mpl.rcParams) == before
