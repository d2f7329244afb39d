from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcbench.data.budget import draw_groups, parse_budget
from hcbench.errors import BudgetError

PEOPLE = 117_126


@pytest.mark.parametrize(
    ("text", "images"),
    [("0.1pct", 117 * 5), ("1pct", 1_171 * 5), ("1%", 1_171 * 5), ("100pct", 585_630), ("5000", 5_000), ("5k", 5_000),
     ("1.5k", 1_500), ("7", 5)],
)  # fmt: skip
def test_grammar_gives_whole_groups(text: str, images: int) -> None:
    assert parse_budget(text).groups(PEOPLE, 5) * 5 == images


@pytest.mark.parametrize(
    "text", ["", "abc", "1 pct of it", "-5", "1e3", "pct", "0", "0pct", "200pct", "100.5pct", "0k"]
)
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(BudgetError):
        parse_budget(text)


@pytest.mark.parametrize(("text", "share"), [("1.50pct", "1.5pct"), ("5k", "5000"), ("1%", "1pct")])
def test_label_is_canonical(text: str, share: str) -> None:
    assert parse_budget(text).label == share


def test_more_than_there_is_names_what_there_is() -> None:
    with pytest.raises(BudgetError, match="585,630"):
        parse_budget("600k").groups(PEOPLE, 5)
    with pytest.raises(BudgetError, match="holds 100"):
        parse_budget("5k").groups(PEOPLE, 5, available_groups=20)


def test_less_than_a_group_is_refused() -> None:
    with pytest.raises(BudgetError, match="no whole group"):
        parse_budget("4").groups(PEOPLE, 5)


@given(st.integers(0, 5), st.integers(1, 400), st.integers(0, 400))
def test_budgets_are_nested(seed: int, small: int, more: int) -> None:
    large = draw_groups(seed, 2_000, small + more, corpus="people")
    assert np.array_equal(draw_groups(seed, 2_000, small, corpus="people"), large[:small])
    assert len(np.unique(large)) == len(large)


@given(st.floats(0.001, 100.0), st.floats(0.001, 100.0))
def test_a_larger_share_never_buys_fewer_groups(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert parse_budget(f"{low:.3f}pct").groups(PEOPLE, 5) <= parse_budget(f"{high:.3f}pct").groups(PEOPLE, 5)


def test_seeds_and_corpora_draw_differently() -> None:
    draws = [draw_groups(0, PEOPLE, 50, corpus="people"), draw_groups(1, PEOPLE, 50, corpus="people"),
             draw_groups(0, PEOPLE, 50, corpus="other")]  # fmt: skip
    assert not np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
