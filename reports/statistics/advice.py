"""How many seeds would make a table speak of methods, and not of single checkpoints."""

from __future__ import annotations

from collections.abc import Collection

ENOUGH = "--seeds 0,1,2"


def seed_advice(seeds: Collection[int]) -> str:
    """What is missing where no method has two seeds; empty where a verdict is possible.

    The shares are those of the simulation in `tests/reports/test_simulation.py`: a lead of four times the standard
    deviation of one run.

    Args:
        seeds: Number of seeds of each trained method.
    """
    if not seeds or max(seeds) > 1:
        return ""
    some = "it" if len(seeds) == 1 else "two or three methods" if len(seeds) > 3 else "two methods"
    rest = "" if len(seeds) < 3 else "; the others may stay at one"
    return (
        f"One seed says nothing about methods: {ENOUGH} for {some} would make every column speak{rest}. Three seeds "
        "of each find a lead of four times the spread of a run in eight of ten columns, two in half, five nearly "
        "always."
    )
