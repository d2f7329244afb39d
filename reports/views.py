"""Who is marked in a table: rows of one view compete column by column, and all columns of a view are one family.

The main view holds all trained methods; a second one holds the supervision groups of two or more. Columns of a
benchmark version that a newer one has replaced are a family of their own: old results cost new ones nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hcbench.reports.measured import MeasuredColumn
from hcbench.reports.rows import Metric, Row
from hcbench.reports.statistics.intervals import ALPHA, Array, holm
from hcbench.reports.statistics.verdicts import leader, may_be_best, rank_intervals, winner_p

STAR, MAY_BE_BEST, SECOND = "star", "may be best", "second"
"""Marks of a row: shown to be the best, not shown not to be, shown to be the best of the rest below a star."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where a row stands among those that it competes with: ranks that it may have, and its mark or none."""

    rank_low: int
    rank_high: int
    mark: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """Marks of one table.

    Attributes:
        standings: Of every row that competes, in every column where it has a value.
        judged: Number of contests that were decided upon together, the most of any family.
        rivals: Number of rows that compete in each column.
    """

    standings: Mapping[tuple[Row, Metric], Standing] = field(default_factory=dict)
    judged: int = 0
    rivals: Mapping[Metric, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Contest:
    """Rows of one column that compete, each with those that show the same evaluations."""

    metric: Metric
    rows: Mapping[Row, Sequence[Row]]
    higher: Array
    p: Array

    @property
    def winner(self) -> float:
        return float(winner_p(self.higher, self.p))

    @property
    def runner_up(self) -> float:
        rest = [index for index in range(len(self.rows)) if index != int(leader(self.higher))]
        return float(winner_p(self.higher[rest], self.p[np.ix_(rest, rest)]))


def view(columns: Iterable[MeasuredColumn], groups: Iterable[Sequence[Row]]) -> View:
    """Marks of all columns of a view.

    Args:
        columns: Of one budget.
        groups: Rows that compete with each other: one group, or several side by side.
    """
    several = [list(rows) for rows in groups]
    contests = [_contest(column, rows) for column in columns for rows in several]
    standings: dict[tuple[Row, Metric], Standing] = {}
    judged = 0
    for outdated in (False, True):
        family = [contest for contest in contests if contest.metric.outdated == outdated and contest.rows]
        first = holm(np.array([contest.winner for contest in family]))
        # The second test follows a star alone; columns without one count as members that show nothing.
        second = holm(np.array([c.runner_up if p < ALPHA else 1.0 for c, p in zip(family, first, strict=True)]))
        for contest, star, runner_up in zip(family, first, second, strict=True):
            found = _standings(contest, starred=star < ALPHA, followed=runner_up < ALPHA)
            standings |= {
                (row, contest.metric): standing
                for first_of, standing in found.items()
                for row in contest.rows[first_of]
            }
        judged = max(judged, int(np.isfinite(first).sum()))
    rivals: dict[Metric, int] = {}
    for contest in contests:
        rivals[contest.metric] = max(rivals.get(contest.metric, 0), len(contest.rows))
    return View(standings=standings, judged=judged, rivals=rivals)


def _contest(column: MeasuredColumn, rows: Sequence[Row]) -> _Contest:
    present = column.once(row for row in rows if row in column.index and row.competes)
    places = [column.index[row] for row in present]
    return _Contest(
        metric=column.metric, rows=present, higher=column.higher[places], p=column.p[np.ix_(places, places)]
    )


def _standings(contest: _Contest, *, starred: bool, followed: bool) -> dict[Row, Standing]:
    low, high = rank_intervals(contest.higher, contest.p)
    upper = contest.p[np.triu_indices(len(contest.rows), k=1)]
    marks = [""] * len(contest.rows)
    order = np.argsort(-contest.higher, kind="stable")
    if starred:  # what is shown to be the best leaves no other that may be
        marks[order[0]] = STAR
        if followed:
            marks[order[1]] = SECOND
    elif np.isfinite(upper).any():
        marks = [MAY_BE_BEST if possible else "" for possible in may_be_best(contest.higher, contest.p)]
    return {
        row: Standing(rank_low=int(low[i]), rank_high=int(high[i]), mark=marks[i]) for i, row in enumerate(contest.rows)
    }
