"""The scores of a report: read from the table, told apart by what was asked, and which of them are out of date."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hcbench.records import ScoreRow
from hcbench.reports.rows import Metric, Pairs, Settings
from hcbench.reports.settings import shown

ScoredOn = tuple[str, str, str, str, float]
"""Benchmark, version, data, protocol and scale: what two numbers must share to stand in one column."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """A row of the table of scores, with its settings taken apart.

    Attributes:
        row: As it was stored.
        settings: `evaluate.*` without the scale, by name.
        scale: Share of the test set's identities.
        variant: Settings that tell it from other scores of its method.
    """

    row: ScoreRow
    settings: Settings
    scale: float
    variant: Pairs = ()

    @property
    def scored_on(self) -> ScoredOn:
        """What it must share with another score to be comparable."""
        return self.row.benchmark, self.row.version, self.row.data, self.row.protocol, self.scale

    @property
    def defined(self) -> bool:
        """Whether it is a number."""
        return bool(np.isfinite(self.row.value))

    @property
    def question(self) -> Hashable:
        """What its evaluation asks, whatever the version that answers."""
        return _base(self.scored_on), tuple(sorted((key, shown(value)) for key, value in self.settings.items()))


def newest_versions(scores: Mapping[str, Sequence[Score]]) -> tuple[dict[str, list[Score]], int]:
    """Scores by cell without those that it has from a newer version as well; how many evaluations those were."""
    kept: dict[str, list[Score]] = {}
    outdated: set[tuple[str, str]] = set()
    for cell, several in scores.items():
        newest: dict[Hashable, list[int]] = {}
        for score in several:
            newest[score.question] = max(newest.get(score.question, []), _numbers(score.row.version))
        kept[cell] = [score for score in several if _numbers(score.row.version) == newest[score.question]]
        old = [score for score in several if _numbers(score.row.version) != newest[score.question]]
        outdated |= {(cell, score.row.evaluation) for score in old}
    return kept, len(outdated)


def metrics_of(scores: Mapping[str, Sequence[Score]]) -> tuple[Metric, ...]:
    """All metrics, main ones first; a benchmark that never gave a number has one nameless metric."""
    found: dict[tuple[Any, ...], Metric] = {}
    several = [score for members in scores.values() for score in members]
    named = {score.scored_on for score in several if score.row.metric}
    versions = Counter(_base(scored_on) for scored_on in {score.scored_on for score in several})
    newest = _newest(several)
    for score in several:
        row = score.row
        if not row.metric and score.scored_on in named:
            continue
        found.setdefault(
            (*score.scored_on, row.metric),
            Metric(
                benchmark=row.benchmark,
                benchmark_title=row.benchmark_title,
                version=row.version,
                data=row.data,
                protocol=row.protocol,
                several_versions=versions[_base(score.scored_on)] > 1,
                outdated=_numbers(row.version) != newest[_base(score.scored_on)],
                scale=score.scale,
                name=row.metric,
                title=row.metric_title or "no result",
                main=row.main if row.metric else True,
                higher_is_better=row.higher_is_better if row.metric else True,
                percent=row.percent if row.metric else True,
            ),
        )
    defined = {(*score.scored_on, score.row.metric) for score in several if score.defined}
    scored = {key[:-1] for key in defined}
    # What a data set does not define (PCKh without heads) is no column beside what it does.
    kept = (m for key, m in found.items() if m.main or key in defined or m.scored_on not in scored)
    return tuple(sorted(kept, key=lambda metric: (metric.scored_on, not metric.main)))


def _newest(several: Sequence[Score]) -> dict[Hashable, list[int]]:
    """The newest version that anything has of each benchmark, as what orders it."""
    newest: dict[Hashable, list[int]] = {}
    for score in several:
        base = _base(score.scored_on)
        newest[base] = max(newest.get(base, []), _numbers(score.row.version))
    return newest


def _base(scored_on: ScoredOn) -> tuple[str, str, str, float]:
    benchmark, _, data, protocol, scale = scored_on
    return benchmark, data, protocol, scale


def _numbers(version: str) -> list[int]:
    """A version as what orders it: 10 after 9, and 1.2 after 1."""
    return [int(digits) for digits in re.findall(r"\d+", version)]
