"""Columns as people have them: failed seeds, one row, no fractions, undefined values, lost replicates, old versions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hcbench.reports.comparisons import analyse
from hcbench.reports.statistics.intervals import BOTH, NO_INTERVAL, SEEDS_ONLY, Sample
from hcbench.reports.statistics.resampling import covariances
from hcbench.reports.tables import bar_table, main_table

VALUES = {"mae": 0.30, "dino": 0.40, "hap": 0.50}


def three(workspace, benchmark: str = "reid", *, skip=(), **changes) -> None:
    """Three methods of three seeds that are clearly apart, and the controls."""
    for seed in range(3):
        for method, value in VALUES.items():
            if (method, seed) not in skip:
                workspace.score(workspace.cell(method, seed=seed), benchmark, value + 1e-3 * seed, **changes)
        for method in ("random", "pixels", "histogram"):
            workspace.score(workspace.cell(method, "control", seed=seed), benchmark, 0.2, **changes)


def table_of(workspace) -> dict:
    return {row.title: row.cells[0] for row in main_table(analyse(workspace.results()), "1pct").rows}


def test_of_three_seeds_one_failed(workspace) -> None:
    three(workspace, skip=[("hap", 2)])
    workspace.cell("hap", seed=2, status="failed", reason="disk full")
    table = main_table(analyse(workspace.results()), "1pct")
    (cell,) = (row.cells[0] for row in table.rows if row.title == "HAP")
    assert (cell.mark, cell.seeds, cell.kind) == ("star", 2, BOTH)
    assert table.footnotes[cell.notes[0]] == "2 of 3 seeds: seed 2 failed (disk full)"


def test_a_column_of_one_row_has_ticks_and_no_best(workspace) -> None:
    for seed in range(3):
        workspace.score(workspace.cell("mae", seed=seed), "reid", 0.5 + 1e-3 * seed)
        workspace.score(workspace.cell("pixels", "control", seed=seed), "reid", 0.2)
    table = main_table(analyse(workspace.results()), "1pct")
    (cell,) = (row.cells[0] for row in table.rows if row.title == "MAE")
    assert (cell.mark, cell.tick) == ("", "above")
    assert "One method alone: there is nothing to be best of." in table.header
    assert any("the control pixels" in line for line in table.header)
    assert not any("nothing to be best of" in line for line in bar_table(analyse(workspace.results()), "1pct").header)


def test_metrics_that_are_no_fraction_have_no_scale(workspace) -> None:
    """A loss of 3 is no share: p (1 - p) would be negative. Its spread is pooled as it is."""
    three(workspace, percent=False)
    for score in workspace.scores:
        score["value"] = 10 * score["value"]
    for key in workspace.replicates:
        workspace.replicates[key] = 10 * workspace.replicates[key]
    analysis = analyse(workspace.results())
    column = analysis.column(analysis.arranged.main_metrics[0], "1pct")
    own = [np.var(analysis.arranged.entries[row, column.metric].sample.values, ddof=1) for row in column.rows]
    trained = [variance for row, variance in zip(column.rows, own, strict=True) if not row.control]
    assert column.pool.variance == pytest.approx(np.mean(trained))
    assert table_of(workspace)["HAP"].mark == "star"


def test_a_percentage_outside_of_0_and_1_is_no_fraction_either(workspace) -> None:
    three(workspace)
    for score in workspace.scores:
        score["value"] += 1.0
    analysis = analyse(workspace.results())
    column = analysis.column(analysis.arranged.main_metrics[0], "1pct")
    assert column.pool.variance == pytest.approx(1e-6, rel=1e-6)


def test_scores_of_zero_have_a_spread(workspace) -> None:
    for seed in range(3):
        for method in VALUES:
            workspace.score(workspace.cell(method, seed=seed), "reid", 0.0 if method == "mae" else 0.3 + 0.01 * seed)
    column = next(iter(analyse(workspace.results()).columns.values()))
    assert (column.spread > 0).all()
    assert np.isfinite(column.p).all()


def test_undefined_seeds_are_left_out_and_undefined_rows_do_not_compete(workspace) -> None:
    three(workspace, skip=[("hap", 0), ("dino", 0), ("dino", 1), ("dino", 2)])
    workspace.score(workspace.cell("hap", seed=0), "reid", math.nan, reason="no query")
    for seed in range(3):
        workspace.score(workspace.cell("dino", seed=seed), "reid", math.nan, reason="no query")
    cells = table_of(workspace)
    assert (cells["HAP"].mark, cells["HAP"].seeds) == ("star", 2)
    assert cells["DINO"].text == "n/a (no query)"


def test_resamples_without_a_value_are_left_out_of_their_pairs() -> None:
    rng = np.random.default_rng(0)
    replicates = rng.normal(0.4, 0.02, (3, 2, 100))
    samples = [Sample(seeds=(0, 1), values=np.zeros(2), replicates=found) for found in replicates]
    holed = replicates.copy()
    holed[0, 1, :10] = np.nan
    found = covariances([Sample(seeds=(0, 1), values=np.zeros(2), replicates=one) for one in holed])
    cut = covariances([Sample(seeds=(0, 1), values=np.zeros(2), replicates=one[:, 10:]) for one in replicates])
    np.testing.assert_allclose(found[0], cut[0], rtol=1e-9)
    np.testing.assert_allclose(found[1:, 1:], covariances(samples)[1:, 1:], rtol=1e-9)


@pytest.mark.parametrize("lost", ["mae", "hap"])
def test_a_row_whose_replicates_are_lost_cannot_be_excluded(workspace, lost) -> None:
    """Its test sampling is unknown: it is shown neither better nor worse, so nobody is shown to be best."""
    three(workspace)
    cells = {cell["cell"] for cell in workspace.cells if cell["method"] == lost}
    for score in workspace.scores:
        if score["cell"] in cells:
            workspace.replicates.pop((score["evaluation"], score["metric"]), None)
    table = main_table(analyse(workspace.results()), "1pct")
    found = {row.title: row.cells[0] for row in table.rows}
    assert found[lost.upper()].kind == SEEDS_ONLY
    assert found[lost.upper()].mark == "may be best"
    assert "star" not in {cell.mark for cell in found.values()}
    assert found[lost.upper()].tick == ""
    assert any("not excluded from being best" in line for line in table.header)


def test_replicates_of_other_resamples_count_as_lost(workspace) -> None:
    three(workspace)
    cells = {cell["cell"] for cell in workspace.cells if cell["method"] == "mae"}
    for score in workspace.scores:
        if score["cell"] in cells:
            key = (score["evaluation"], score["metric"])
            workspace.replicates[key] = workspace.replicates[key][:50]
    assert table_of(workspace)["MAE"].kind == SEEDS_ONLY


def test_without_seeds_and_replicates_there_is_no_interval(workspace) -> None:
    workspace.score(workspace.cell("mae"), "reid", 0.3)
    workspace.replicates.clear()
    cell = table_of(workspace)["MAE"]
    assert (cell.kind, cell.low, cell.mark) == (NO_INTERVAL, None, "")


def test_columns_of_older_versions_are_judged_among_themselves(workspace) -> None:
    """Old results beside new ones cost the new ones no correction, and marks of the old stay as they were."""
    three(workspace, "pose")
    before = {row.title: row.cells[0].mark for row in main_table(analyse(workspace.results()), "1pct").rows}
    for seed in range(3):
        workspace.score(workspace.cell("new", seed=seed), "pose", 0.6 + 1e-3 * seed, version="2")
        workspace.score(workspace.cell("newer", seed=seed), "pose", 0.7 + 1e-3 * seed, version="2")
    analysis = analyse(workspace.results())
    old, new = (metric for metric in analysis.arranged.main_metrics)
    assert (old.version, old.outdated, new.version, new.outdated) == ("1", True, "2", False)
    table = main_table(analysis, "1pct")
    assert {row.title: row.cells[0].mark for row in table.rows if row.title in before} == before
    assert {row.title: row.cells[1].mark for row in table.rows if row.cells[1].mark} == {"NEWER": "star"}
    assert analysis.views["1pct"].judged == 1


def test_equal_rows_may_all_be_best(workspace) -> None:
    for seed in range(3):
        for method in VALUES:
            workspace.score(workspace.cell(method, seed=seed), "reid", 0.3)
    assert {cell.mark for cell in table_of(workspace).values()} == {"may be best"}


def test_a_score_that_a_sweep_repeats_is_not_its_own_rival(workspace) -> None:
    """Pose lacks the knob that ReID sweeps: one score stands in two rows, competes once, and both carry its mark."""
    for seed in range(3):
        cell = workspace.cell("solider", seed=seed)
        for value in (0.0, 0.5):
            workspace.score(cell, "reid", 0.3 + value / 10 + 1e-3 * seed, config={"lambda": value})
        workspace.score(cell, "pose", 0.6 + 1e-3 * seed)
        workspace.score(workspace.cell("mae", seed=seed), "pose", 0.3 + 1e-3 * seed)
        workspace.score(workspace.cell("pixels", "control", seed=seed), "pose", 0.2)
    analysis = analyse(workspace.results())
    found = {row.title: row.cells[0] for row in main_table(analysis, "1pct").rows}
    assert {title: (cell.mark, cell.tick) for title, cell in found.items() if cell.mark} == {
        "SOLIDER · lambda=0": ("star", "above"),
        "SOLIDER · lambda=0.5": ("star", "above"),
    }
    assert analysis.views["1pct"].rivals[analysis.arranged.main_metrics[0]] == 2


def test_controls_scored_once_leave_the_header_to_the_methods(workspace) -> None:
    for seed in range(3):
        workspace.score(workspace.cell("mae", seed=seed), "reid", 0.3 + 0.01 * seed)
        workspace.score(workspace.cell("random", "control", seed=seed), "reid", 0.2 + 0.01 * seed)
    for method in ("pixels", "histogram"):
        workspace.score(workspace.cell(method, "control"), "reid", 0.1)
    table = main_table(analyse(workspace.results()), "1pct")
    assert table.header[0] == "Mean over 3 seeds ± half-width of the 95 % interval."
    assert not any("test sampling only" in line or "one seed" in line.lower() for line in table.header)
    assert {row.cells[0].kind for row in table.rows} == {BOTH}
