"""Seeds from names."""

from __future__ import annotations

from hcbench.data.seeds import name_seed


def test_names_are_kept_apart() -> None:
    assert name_seed("a", "b") != name_seed("ab")
    assert 0 <= name_seed("x") < 2**63


def test_seeds_never_change() -> None:
    """Every stored number depends on them."""
    assert name_seed("people", "budget", 0) == 5143785772186692360
    assert name_seed(0, "pose", "init", separator="/") == 1135782505722067019
