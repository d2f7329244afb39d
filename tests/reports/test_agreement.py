"""Verdicts of whole reports agree with an independent slow version of the formulas."""

from __future__ import annotations

import numpy as np
import pytest
from slow_statistics import Column, holm

from hcbench.reports.bar import BAR
from hcbench.reports.comparisons import analyse

METHODS = {"mae": "images", "dino": "images", "solider": "images", "hap": "structure", "plip": "captions"}


def scatter(workspace, rng, *, seeds, noisy: bool = True) -> None:
    """Random scores of five methods and three controls, some clearly apart, some not."""
    centres = dict(zip(METHODS, rng.choice([0.3, 0.32, 0.4, 0.55], len(METHODS)), strict=True))
    for method, group in METHODS.items():
        for seed in range(int(rng.choice(seeds))):
            cell = workspace.cell(method, group, seed=seed)
            for benchmark in ("pose", "reid"):
                workspace.score(cell, benchmark, centres[method] + rng.normal(0, 0.01 if noisy else 0), noise=0.01)
    for method in BAR:
        level = rng.choice([0.3, 0.35, 0.45])
        for seed in range(3):
            cell = workspace.cell(method, "control", seed=seed)
            for benchmark in ("pose", "reid"):
                jitter = rng.normal(0, 0.01) if method == "random" else 0.0
                name = f"{method}-{benchmark}" if jitter == 0 else None
                extra = {"evaluation": f"{name}{seed}"} if name else {}
                workspace.score(cell, benchmark, level + jitter, noise=0.01, **extra)


@pytest.mark.parametrize("case", range(6))
def test_reports_agree_with_the_slow_version(workspace, case) -> None:
    rng = np.random.default_rng(case)
    scatter(workspace, rng, seeds=[(3,), (2, 3), (1, 2, 3), (1, 3, 5), (2,), (3, 5)][case])
    analysis = analyse(workspace.results())
    arranged = analysis.arranged
    rows = arranged.at("1pct")
    trained = [i for i, row in enumerate(rows) if not row.control]
    controls = [i for i, row in enumerate(rows) if row.control]
    slow, winners = {}, {}
    for metric in arranged.main_metrics:
        samples = [arranged.entries[row, metric].sample for row in rows]
        slow[metric] = Column(
            [s.values for s in samples], [s.replicates for s in samples], [row.control for row in rows]
        )
        winners[metric] = slow[metric].winner(trained)
    stars = dict(zip(winners, holm([p for _, p in winners.values()]), strict=True))
    for metric, column in slow.items():
        for i, row in enumerate(rows):
            found = analysis.estimate(row, metric, "1pct")
            np.testing.assert_allclose(
                (found.mean, found.half_width), (column.m[i], column.row_half_width(i)), rtol=1e-9
            )
        fast = analysis.column(metric, "1pct")
        for i in range(len(rows)):
            for j in range(i):
                at = fast.index[rows[i]], fast.index[rows[j]]
                np.testing.assert_allclose(fast.p[at], column.p(i, j), rtol=1e-6)
        standings = analysis.views["1pct"].standings
        leader, _ = winners[metric]
        starred = stars[metric] < 0.05
        expected = {i: "star" for i in [leader]} if starred else dict.fromkeys(column.best_set(trained), "may be best")
        marks = {i: standings[rows[i], metric].mark for i in trained}
        assert {i: mark for i, mark in marks.items() if mark not in ("", "second")} == expected
        ranks = {i: (standings[rows[i], metric].rank_low, standings[rows[i], metric].rank_high) for i in trained}
        assert ranks == column.ranks(trained)
        ticks = {i: analysis.ticks[rows[i], metric].verdict for i in trained}
        assert ticks == column.ticks(trained, controls)


def test_the_cases_hold_every_verdict(workspace) -> None:
    """Agreement says little where nothing is ever shown: the six cases meet every mark and tick."""
    marks, ticks = set(), set()
    for case in range(6):
        space = type(workspace)()
        scatter(space, np.random.default_rng(case), seeds=[(3,), (2, 3), (1, 2, 3), (1, 3, 5), (2,), (3, 5)][case])
        analysis = analyse(space.results())
        marks |= {standing.mark for standing in analysis.views["1pct"].standings.values()}
        ticks |= {tick.verdict for tick in analysis.ticks.values()}
    assert ticks == {"above", "below", "open"}
    assert {"star", "may be best", ""} <= marks
