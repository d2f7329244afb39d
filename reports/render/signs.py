"""What stands around a value: ticks before it, marks behind it, and whether it is bold; the same in every format.

Filled signs rest on seeds of the table itself, hollow ones on a seed spread that was measured elsewhere. Then nothing
is bold, either: what may be best carries a circle.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hcbench.reports.render.table import Cell

TICKS: Final = {"above": "▲", "below": "▼", "open": "·"}
HOLLOW_TICKS: Final = {"above": "△", "below": "▽", "open": "·"}
STAR, HOLLOW_STAR, CIRCLE = "★", "☆", "○"


def before(cell: Cell) -> str:
    """The tick; empty where there is none."""
    return (HOLLOW_TICKS if cell.hollow else TICKS).get(cell.tick, "")


def behind(cell: Cell) -> str:
    """The star, or the circle of what may be best; empty where there is none."""
    if cell.mark == "star":
        return HOLLOW_STAR if cell.hollow else STAR
    return CIRCLE if cell.mark == "may be best" and cell.hollow else ""


def bold(cell: Cell) -> bool:
    """Whether the value is bold."""
    return cell.mark in ("star", "may be best") and not cell.hollow


def underlined(cell: Cell) -> bool:
    """Whether the value is underlined."""
    return cell.mark == "second"


def any_behind(cells: Iterable[Cell]) -> bool:
    """Whether some value of a column has a sign behind it, so that the others must leave room for one."""
    return any(behind(cell) for cell in cells)
