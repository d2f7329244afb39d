"""Who competes with whom, marks, ticks, and what is asked for without changing them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from matplotlib.text import Text

from hcbench.reports.comparisons import analyse
from hcbench.reports.figures import draw_figures
from hcbench.reports.statistics.intervals import BOTH, TEST_ONLY, holm
from hcbench.reports.tables import main_table, rank_table


def by_method(analysis) -> dict:
    return {row.method: row for row in analysis.arranged.rows}


def marks(analysis, metric=None, views="views") -> dict[str, str]:
    """Mark of every row that has one, by label, at 1pct."""
    metric = metric or analysis.arranged.main_metrics[0]
    standings = getattr(analysis, views)["1pct"].standings
    return {row.label: found.mark for (row, other), found in standings.items() if other == metric and found.mark}


def tick(analysis, method: str, place: int = 0) -> str:
    return analysis.ticks[by_method(analysis)[method], analysis.arranged.main_metrics[place]].verdict


def test_all_trained_methods_compete_and_controls_never_do(full) -> None:
    analysis = analyse(full(3).results())
    assert marks(analysis) == {"SUPERVISED": "star", "GENPOCCL": "second"}
    assert {row.method for row, _ in analysis.views["1pct"].standings}.isdisjoint({"random", "pixels", "histogram"})
    assert analysis.views["1pct"].judged == 2


def test_a_second_view_compares_inside_groups_of_two_or_more(full) -> None:
    analysis = analyse(full(3).results())
    assert marks(analysis, views="group_views") == {
        "SIMCLR": "star", "MAE": "second", "HAP": "star", "GENPOCCL": "star",
    }  # fmt: skip
    assert analysis.group_views["1pct"].judged == 6, "three groups in two columns are one family"


def test_controls_better_than_all_are_not_marked(full) -> None:
    space = full(3)
    best = {cell["cell"] for cell in space.cells if cell["method"] == "histogram"}
    for score in space.scores:
        score["value"] += 0.5 * (score["cell"] in best)
    analysis = analyse(space.results())
    assert marks(analysis) == {"SUPERVISED": "star", "GENPOCCL": "second"}
    assert tick(analysis, "supervised") == "below"


def test_a_row_that_no_seed_spread_separates_may_be_best_and_is_no_star(full) -> None:
    found = marks(analyse(full(3, jitter=0.05).results()))
    assert "star" not in found.values()
    assert {"SUPERVISED", "GENPOCCL"} <= found.keys()
    assert "SOLIDER" not in found


def test_below_a_star_no_other_row_may_be_best(full) -> None:
    """With many rows the set is wider than the winner test; what is shown to be best stands alone."""
    for jitter in (0.004, 0.008, 0.012):
        for metric_marks in (marks(analyse(full(3, jitter=jitter).results()), m) for m in (None,)):
            assert "star" not in metric_marks.values() or "may be best" not in metric_marks.values()


def test_one_seed_says_nothing_about_methods(full) -> None:
    analysis = analyse(full(1).results())
    assert marks(analysis) == {}
    assert {found.verdict for found in analysis.ticks.values()} == {""}
    assert {analysis.estimate(row, m).kind for row in analysis.arranged.rows for m in analysis.arranged.metrics} == {
        TEST_ONLY
    }
    ranks = {(found.rank_low, found.rank_high) for found in analysis.views["1pct"].standings.values()}
    assert ranks == {(1, 9)}


def test_two_methods_with_three_seeds_make_a_column_speak_of_all(full) -> None:
    space = full(3)
    kept = [c for c in space.cells if c["seed"] == 0 or c["method"] in ("mae", "plip")]
    space.cells = kept
    analysis = analyse(space.results())
    assert marks(analysis) == {"SUPERVISED": "star", "GENPOCCL": "second"}
    assert analysis.estimate(by_method(analysis)["hap"], analysis.arranged.main_metrics[0]).kind == BOTH


def test_lower_is_better_turns_marks_and_ticks_round(full) -> None:
    space = full(3)
    for score in space.scores:
        score["higher_is_better"] = False
    analysis = analyse(space.results())
    assert marks(analysis) == {"SOLIDER": "star", "MAE": "second"}
    assert tick(analysis, "mae") == "below"


def test_a_tick_above_takes_all_three_controls(full) -> None:
    space = full(3)
    for cell in [cell["cell"] for cell in space.cells if cell["method"] == "mae"]:
        for score in space.scores:
            score["value"] = 0.25 if score["cell"] == cell else score["value"]
    for seed in range(3):
        space.score(space.cell("imagenet", "given", seed=seed, budget="-", budget_images=0), "reid", 0.95)
    analysis = analyse(space.results())
    assert tick(analysis, "mae") == "below", "above random and pixels, below the histogram"
    assert tick(analysis, "plip", 1) == "above", "ImageNet's weights are no part of the bar"
    found = analysis.ticks[by_method(analysis)["simclr"], analysis.arranged.main_metrics[1]]
    assert found.control.method == "histogram"
    assert found.difference.mean == pytest.approx(0.1, abs=1e-3)


def test_ticks_are_corrected_over_the_methods_of_a_column(full) -> None:
    analysis = analyse(full(3, jitter=0.02).results())
    column = analysis.column(analysis.arranged.main_metrics[0], "1pct")
    raw = {}
    for row in column.rows:
        if not row.control:
            places = [column.index[other] for other in column.rows if other.control]
            assert all(column.means[column.index[row]] > column.means[place] for place in places)
            raw[row] = max(column.p[column.index[row], place] for place in places)
    adjusted = dict(zip(raw, holm(np.array(list(raw.values()))), strict=True))
    for row, p in adjusted.items():
        assert (analysis.ticks[row, column.metric].verdict == "above") == (p < 0.05)


def test_controls_that_no_seed_changes_count_once_and_have_no_spread(workspace) -> None:
    """One seed of pixels stands for all; one of `random` does not, and takes the spread of the methods."""
    for method in ("pixels", "histogram", "random"):
        workspace.score(workspace.cell(method, "control"), "reid", 0.2)
    for seed in range(3):
        workspace.score(workspace.cell("mae", seed=seed), "reid", 0.5 + seed * 1e-2)
    analysis = analyse(workspace.results())
    column = analysis.column(analysis.arranged.main_metrics[0], "1pct")
    spread = {row.method: column.spread[column.index[row]] for row in column.rows}
    assert spread["pixels"] == spread["histogram"] == 0
    assert spread["random"] > 0
    assert tick(analysis, "mae") == "above"


def test_controls_do_not_enter_the_pool(full) -> None:
    space, noisy = full(3), full(3)
    for score in noisy.scores:
        if score["cell"] in {cell["cell"] for cell in noisy.cells if cell["method"] == "random"}:
            score["value"] += np.random.default_rng(int(score["cell"][4:])).normal(0, 0.1)
    pools = [
        analysis.column(analysis.arranged.main_metrics[0], "1pct").pool
        for analysis in (analyse(space.results()), analyse(noisy.results()))
    ]
    assert pools[0] == pools[1]
    assert pools[0].freedom == 9 * 2


def test_scores_of_one_checkpoint_are_paired_by_seed_and_counted_once(workspace) -> None:
    for seed in range(3):
        cell, effect = workspace.cell("solider", seed=seed), 0.05 * seed
        for value in (0.0, 0.5):
            workspace.score(cell, "reid", 0.3 + 0.04 * value + effect, config={"lambda": value})
        workspace.score(workspace.cell("mae", seed=seed), "reid", 0.3 + effect)
    analysis = analyse(workspace.results())
    column = analysis.column(analysis.arranged.main_metrics[0], "1pct")
    assert column.pool.freedom == 2 * 2, "two methods of three seeds, however often scored"
    first, second = (row for row in column.rows if row.method == "solider")
    other = next(row for row in column.rows if row.method == "mae")
    assert column.difference(first, second).half_width < 0.01 < 0.05 < column.difference(first, other).half_width
    assert column.p[column.index[first], column.index[second]] < 0.01


def test_rows_of_other_budgets_do_not_compete(full) -> None:
    both, one = analyse(full(3, ("0.1pct", "1pct")).results()), analyse(full(3).results())
    assert set(both.views) == {"0.1pct", "1pct"}
    assert marks(both) == marks(one)
    for budget, found in both.views.items():
        assert {row.budget for row, _ in found.standings} == {budget}


def test_what_a_run_shows_is_judged_by_all_that_is_stored(full) -> None:
    """One row of a store is marked alike after a run of it alone and in a report of everything."""
    space = full(3)
    analysis = analyse(space.results())
    cells = {cell["cell"] for cell in space.cells if cell["method"] in ("mae", "histogram")}
    evaluations = {s["evaluation"] for s in space.scores if s["cell"] in cells and s["benchmark"] == "reid"}
    part = analysis.of_cells(cells, evaluations)
    assert {row.method for row in part.arranged.rows} == {"mae", "histogram"}
    assert [metric.benchmark for metric in part.arranged.main_metrics] == ["reid"]
    assert part.hidden == 8
    whole = {line.title: line.cells[1] for line in main_table(analysis, "1pct").rows}
    for line in main_table(part, "1pct").rows:
        assert line.cells[0] == whole[line.title]
    assert not [line for line in main_table(part, "1pct").rows if line.cells[0].mark], "MAE alone is not the best"


def test_oracle_rows_are_never_best(workspace) -> None:
    for noise, value in ((0.0, 0.9), (1.0, 0.5)):
        for seed in range(3):
            cell = workspace.cell("plip", "captions", seed=seed, config=json.dumps({"corpus.noise": noise}))
            workspace.score(cell, "reid", value + seed * 1e-4)
    for seed in range(3):
        workspace.score(workspace.cell("other", "captions", seed=seed), "reid", 0.3 + seed * 1e-4)
    assert marks(analyse(workspace.results())) == {"PLIP · noise=1": "star"}


def test_the_truth_is_shown_and_compared_with_nothing(full) -> None:
    space = full(3)
    before = analyse(space.results())
    for seed in range(3):
        cell = space.cell("oracle", "truth", seed=seed, budget="-", budget_images=0)
        for benchmark in ("pose", "reid"):
            space.score(cell, benchmark, 1.0)
    analysis = analyse(space.results())
    row, metric = by_method(analysis)["oracle"], analysis.arranged.main_metrics[0]
    assert analysis.estimate(row, metric).mean == pytest.approx(1.0)
    assert analysis.views["1pct"].standings == before.views["1pct"].standings
    assert analysis.ticks == before.ticks
    assert "ORACLE" in [line.title for line in main_table(analysis, "1pct").rows]
    assert "ORACLE" not in [line.title for line in rank_table(analysis, "1pct").rows]
    for figure in draw_figures(analysis).values():
        assert "ORACLE" not in [text.get_text() for text in figure.findobj(Text)]
