"""Marks of a view from p-values that are set by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from hcbench.reports.measured import MeasuredColumn
from hcbench.reports.rows import Metric, Row
from hcbench.reports.statistics.seed_spread import Pool
from hcbench.reports.views import view

ROWS = [
    Row(
        method=f"m{i}", title=f"M{i}", supervision=group, supervision_title=group, budget="1pct", budget_images=5855,
        backbone="vit",
    )
    for i, group in enumerate(["images"] * 4 + ["captions"] * 4)
]  # fmt: skip
METRIC = Metric(
    benchmark="reid", benchmark_title="ReID", version="1", data="people", protocol="frozen", scale=1.0, name="mAP",
    title="mAP", main=True, higher_is_better=True, percent=True,
)  # fmt: skip


def column(name: str, means, p, *, rows=ROWS, **changes) -> MeasuredColumn:
    """A column whose p-values are `p`: a number for all pairs, or a matrix."""
    means = np.asarray(means, dtype=np.float64)
    k = len(means)
    p = np.full((k, k), p) if np.isscalar(p) else np.array(p)
    np.fill_diagonal(p, 0.5)  # means nothing, but is no division by 0
    gaps = np.abs(means[:, None] - means[None, :])
    return MeasuredColumn(
        metric=replace(METRIC, benchmark=name, **changes), rows=tuple(rows[:k]), means=means, seeds=(3,) * k,
        fixed=(False,) * k, scored=tuple(range(k)), covariance=np.eye(k), spread=np.zeros(k), freedom=np.ones(k),
        pair_test=(gaps / stats.norm.isf(p / 2)) ** 2, pair_spread=np.zeros((k, k)), pair_freedom=np.ones((k, k)),
        pool=Pool(variance=1.0, freedom=10.0),
    )  # fmt: skip


def marks(found, name: str) -> dict[str, str]:
    return {
        row.method: one.mark for (row, metric), one in found.standings.items() if metric.benchmark == name and one.mark
    }


def test_the_helper_sets_p_values() -> None:
    np.testing.assert_allclose(column("a", [0.3, 0.2], 0.03).p[0, 1], 0.03, rtol=1e-9)


def test_stars_are_corrected_over_the_columns_of_a_view() -> None:
    """A column at p = .03 has its star alone, and loses it beside another that shows nothing."""
    first, open_one = column("a", [0.3, 0.2], 0.03), column("b", [0.3, 0.2], 0.5)
    assert marks(view([first], [ROWS]), "a") == {"m0": "star"}
    both = view([first, open_one], [ROWS])
    assert marks(both, "a") == {"m0": "may be best"}
    assert both.judged == 2
    clear = column("c", [0.3, 0.2], 0.02)
    assert marks(view([first, clear], [ROWS]), "a") == {"m0": "star"}, "Holm's second step, behind .02 x 2"


def test_a_star_leaves_no_other_that_may_be_best() -> None:
    """Eight rows at p = .04: the winner test shows the best, the set would still hold all (7 x .04 / 2)."""
    found = view([column("a", np.linspace(0.5, 0.3, 8), 0.04)], [ROWS])
    assert [row.method for (row, _), one in found.standings.items() if one.mark == "star"] == ["m0"]
    assert "may be best" not in marks(found, "a").values()


def test_the_set_is_corrected_for_its_rivals() -> None:
    """Eight rows: excluded at p <= .05 x 2 / 7 = .0143 alone."""
    p = np.full((8, 8), 0.5)
    p[0, 6] = p[6, 0] = 0.0142
    p[0, 7] = p[7, 0] = 0.0144
    assert set(marks(view([column("a", np.linspace(0.5, 0.3, 8), p)], [ROWS]), "a")) == {
        f"m{i}" for i in (*range(6), 7)
    }


def test_the_second_follows_a_star_alone_and_is_corrected_alike() -> None:
    p = np.array([[1, 0.01, 0.01], [0.01, 1, 0.03], [0.01, 0.03, 1]])
    first, other = column("a", [0.5, 0.4, 0.3], p), column("b", [0.5, 0.4, 0.3], 0.5)
    assert marks(view([first], [ROWS]), "a") == {"m0": "star", "m1": "second"}
    assert marks(view([first, other], [ROWS]), "a") == {"m0": "star"}
    p[0, 1] = p[1, 0] = 0.2
    assert marks(view([column("a", [0.5, 0.4, 0.3], p)], [ROWS]), "a").get("m1") != "second"
    assert marks(view([column("a", [0.5, 0.4], 0.001)], [ROWS]), "a") == {"m0": "star"}, "a rest of one is no contest"


def test_the_hardest_rival_decides_not_the_next() -> None:
    p = np.array([[1, 0.001, 0.2], [0.001, 1, 0.5], [0.2, 0.5, 1]])
    assert marks(view([column("a", [0.5, 0.4, 0.3], p)], [ROWS]), "a") == {"m0": "may be best", "m2": "may be best"}


def test_groups_of_a_view_are_one_family() -> None:
    found = column("a", np.linspace(0.5, 0.3, 8), 0.03)
    assert "star" in marks(view([found], [ROWS[:4]]), "a").values()
    both = view([found], [ROWS[:4], ROWS[4:]])
    assert both.judged == 2
    assert "star" not in marks(both, "a").values()


def test_old_columns_are_no_members_of_the_family_of_new_ones() -> None:
    new, old = column("a", [0.3, 0.2], 0.03), column("b", [0.3, 0.2], 0.5, outdated=True)
    assert marks(view([new, old], [ROWS]), "a") == {"m0": "star"}


def test_unknown_p_values_show_nothing() -> None:
    silent = replace(column("a", [0.3, 0.2], 0.001), pool=None)
    assert marks(view([silent], [ROWS]), "a") == {}
    assert view([silent], [ROWS]).judged == 0
    p = np.array([[1, 0.001, np.nan], [0.001, 1, np.nan], [np.nan, np.nan, 1]])
    found = view([column("a", [0.5, 0.4, 0.3], p), column("b", [0.3, 0.2], 0.03)], [ROWS])
    assert marks(found, "a") == {"m0": "may be best", "m2": "may be best"}
    assert marks(found, "b") == {"m0": "star"}, "a column that nothing can be said of costs the others nothing"


@pytest.mark.parametrize(("p", "ranks"), [(0.001, (2, 2)), (0.5, (1, 3))])
def test_ranks_are_intervals(p: float, ranks: tuple[int, int]) -> None:
    found = view([column("a", [0.5, 0.4, 0.3], p)], [ROWS])
    (middle,) = (one for (row, _), one in found.standings.items() if row.method == "m1")
    assert (middle.rank_low, middle.rank_high) == ranks
