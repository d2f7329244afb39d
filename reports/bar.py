"""Has a method learned something? The bar is all three controls: `random`, `pixels` and `histogram`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hcbench.reports.measured import MeasuredColumn
from hcbench.reports.rows import Row
from hcbench.reports.statistics.intervals import ALPHA, Estimate, holm
from hcbench.reports.statistics.verdicts import bar_p

BAR = ("random", "pixels", "histogram")
"""The controls that a method has to beat, all of them."""
ABOVE, BELOW, OPEN = "above", "below", "open"
"""What a tick says: above every control, below at least one, or neither is shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """A row against the controls of its column.

    Attributes:
        verdict: `ABOVE`, `BELOW`, `OPEN`, or empty where nothing can be said.
        control: The best control.
        difference: Row minus the best control, with its own 95 % interval.
    """

    verdict: str
    control: Row
    difference: Estimate


def ticks(column: MeasuredColumn) -> dict[Row, Tick]:
    """Where the trained rows of a column stand to their controls; none without controls."""
    once = column.once(row for row in column.rows if not row.control)
    controls = {row: rivals for row in once if (rivals := controls_of(column, row))}
    if not controls:
        return {}
    judged = {row: _against(column, row, rivals) for row, rivals in controls.items()}
    adjusted = holm(np.array([p for _, p in judged.values()]))
    found: dict[Row, Tick] = {}
    for (row, (above, raw)), p in zip(judged.items(), adjusted, strict=True):
        best = max(controls[row], key=lambda control: column.higher[column.index[control]])
        verdict = "" if np.isnan(raw) else OPEN
        if p < ALPHA:
            verdict = ABOVE if above else BELOW
        tick = Tick(verdict=verdict, control=best, difference=column.difference(row, best))
        found |= dict.fromkeys(once[row], tick)
    return found


def controls_of(column: MeasuredColumn, row: Row) -> list[Row]:
    """Up to three controls, of the row's backbone and read as the row is where there are such ones."""
    found = []
    for name in BAR:
        rivals = [other for other in column.rows if other.control and other.method == name]
        rivals = [other for other in rivals if other.backbone == row.backbone] or rivals
        if rivals:
            found.append(max(rivals, key=lambda other: (_agreeing(other, row), column.higher[column.index[other]])))
    return found


def missing_controls(columns: Iterable[MeasuredColumn]) -> list[str]:
    """Controls that some of these columns lack."""
    present = [{row.method for row in column.rows} for column in columns]
    return [name for name in BAR if not all(name in methods for methods in present)]


def _agreeing(a: Row, b: Row) -> int:
    return len(set(a.variant) & set(b.variant))


def _against(column: MeasuredColumn, row: Row, controls: Sequence[Row]) -> tuple[bool, float]:
    at, others = column.index[row], [column.index[control] for control in controls]
    above, p = bar_p(column.higher[[at]], column.higher[others][None, :], column.p[at, others][None, :])
    return bool(above[0]), float(p[0])
