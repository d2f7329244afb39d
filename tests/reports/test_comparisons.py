"""Who is separable from whom, ranks, marks and the bar."""

from __future__ import annotations

import json

import numpy as np
import pytest
from matplotlib.text import Text

from hcbench.reports.comparisons import analyse
from hcbench.reports.figures import draw_figures
from hcbench.reports.statistics import BOTH, TEST_ONLY, holm
from hcbench.reports.tables import main_table, rank_table


def by_method(analysis) -> dict:
    return {row.method: row for row in analysis.arranged.rows}


def test_holm_is_over_all_pairs_and_main_metrics(full) -> None:
    analysis = analyse(full(3).results())
    assert len(analysis.comparisons) == 12 * 11 // 2 * 2  # 12 rows, 2 main metrics
    expected = holm(np.array([c.p for c in analysis.comparisons.values()]))
    np.testing.assert_array_equal([c.adjusted_p for c in analysis.comparisons.values()], expected)


def test_rows_of_other_budgets_are_no_pairs_but_controls_count_once(full) -> None:
    analysis = analyse(full(3, ("0.1pct", "1pct")).results())
    controls, methods, metrics, budgets = 3, 9, 2, 2
    pairs = controls * 2 // 2 + budgets * (methods * 8 // 2 + methods * controls)
    assert len(analysis.comparisons) == metrics * pairs


def test_comparisons_are_antisymmetric(full) -> None:
    analysis = analyse(full(3).results())
    rows, metric = by_method(analysis), analysis.arranged.main_metrics[0]
    forward = analysis.compare(rows["genpoccl"], rows["mae"], metric)
    backward = analysis.compare(rows["mae"], rows["genpoccl"], metric)
    assert forward is not None
    assert backward is not None
    assert forward.difference.mean == pytest.approx(0.17, abs=1e-3)
    assert backward.difference.mean == -forward.difference.mean
    assert (backward.difference.low, backward.difference.high) == (-forward.difference.high, -forward.difference.low)
    assert analysis.separable(rows["genpoccl"], rows["mae"], metric)
    assert analysis.separable(rows["mae"], rows["genpoccl"], metric)


def test_marks_where_separable(full) -> None:
    analysis = analyse(full(3).results())
    rows, metric = by_method(analysis), analysis.arranged.main_metrics[0]
    found = analysis.standings([rows["solider"], rows["mae"], rows["simclr"]], metric)
    assert {row.method: (s.mark, s.rank_low, s.rank_high) for row, s in found.items()} == {
        "simclr": ("best", 1, 1),
        "mae": ("second", 2, 2),
        "solider": ("", 3, 3),
    }


def test_one_seed_marks_nothing_and_ties_everything(full) -> None:
    analysis = analyse(full(1).results())
    metric = analysis.arranged.main_metrics[0]
    assert {c.difference.kind for c in analysis.comparisons.values()} == {TEST_ONLY}
    assert min(c.adjusted_p for c in analysis.comparisons.values()) < 1e-6  # the numbers alone would allow marks
    standings = analysis.standings(analysis.arranged.rows, metric)
    assert {(s.mark, s.rank_low, s.rank_high) for s in standings.values()} == {("", 1, 12)}


def test_noisy_seeds_are_not_separable(full) -> None:
    analysis = analyse(full(3, jitter=0.05).results())
    metric = analysis.arranged.main_metrics[0]
    assert not any(s.mark for s in analysis.standings(analysis.arranged.rows, metric).values())


def test_lower_is_better_turns_marks_round(full) -> None:
    space = full(3)
    for score in space.scores:
        score["higher_is_better"] = False
    analysis = analyse(space.results())
    rows, metric = by_method(analysis), analysis.arranged.main_metrics[0]
    found = analysis.standings([rows["solider"], rows["mae"], rows["simclr"]], metric)
    assert [row.method for row, s in found.items() if s.mark == "best"] == ["solider"]
    assert analysis.bar(rows["mae"], metric) == rows["random"]


def test_the_bar_is_the_best_of_the_three_controls(full) -> None:
    space = full(3)
    for seed in range(3):
        space.score(space.cell("imagenet", "control", seed=seed), "reid", 0.45)
    analysis = analyse(space.results())
    rows, metric = by_method(analysis), analysis.arranged.main_metrics[1]
    assert metric.benchmark == "reid"
    assert analysis.bar(rows["mae"], metric) == rows["histogram"]
    found = analysis.compare(rows["mae"], rows["histogram"], metric)
    assert found is not None
    assert found.difference.mean == pytest.approx(0.05, abs=1e-3)


def test_a_control_with_one_seed_is_compared_with_all_seeds(workspace) -> None:
    workspace.score(workspace.cell("histogram", "control"), "reid", 0.2)
    for seed in range(3):
        workspace.score(workspace.cell("mae", seed=seed), "reid", 0.5 + seed * 1e-4)
    analysis = analyse(workspace.results())
    rows, metric = by_method(analysis), analysis.arranged.main_metrics[0]
    found = analysis.compare(rows["mae"], rows["histogram"], metric)
    assert found is not None
    assert (found.difference.kind, found.difference.seeds) == (BOTH, 3)
    assert found.separable


def test_oracle_rows_are_never_best(workspace) -> None:
    for noise, value in ((0.0, 0.9), (1.0, 0.5)):
        for seed in range(3):
            cell = workspace.cell("plip", "captions", seed=seed, config=json.dumps({"corpus.noise": noise}))
            workspace.score(cell, "reid", value + seed * 1e-4)
    for seed in range(3):
        workspace.score(workspace.cell("other", "captions", seed=seed), "reid", 0.3 + seed * 1e-4)
    analysis = analyse(workspace.results())
    standings = analysis.standings(analysis.arranged.rows, analysis.arranged.main_metrics[0])
    assert {row.label: s.mark for row, s in standings.items()} == {"PLIP · noise=1": "best", "OTHER": ""}


def test_the_truth_is_shown_and_compared_with_nothing(full) -> None:
    space = full(3)
    before = analyse(space.results())
    for seed in range(3):
        cell = space.cell("oracle", "truth", seed=seed, budget="-", budget_images=0)
        for benchmark in ("pose", "reid"):
            space.score(cell, benchmark, 1.0)
    analysis = analyse(space.results())
    row, metric = by_method(analysis)["oracle"], analysis.arranged.main_metrics[0]
    assert analysis.estimates[row, metric].mean == pytest.approx(1.0)
    assert {key: c.adjusted_p for key, c in analysis.comparisons.items()} == {
        key: c.adjusted_p for key, c in before.comparisons.items()
    }
    standings = analysis.standings(analysis.arranged.at("1pct"), metric)
    assert row not in standings
    assert {other.method for other, standing in standings.items() if standing.mark == "best"} == {"supervised"}
    assert analysis.bar(by_method(analysis)["mae"], metric).method == "histogram"
    assert "ORACLE" in [line.title for line in main_table(analysis, "1pct").rows]
    assert "ORACLE" not in [line.title for line in rank_table(analysis, "1pct").rows]
    for figure in draw_figures(analysis).values():
        assert "ORACLE" not in [text.get_text() for text in figure.findobj(Text)]
