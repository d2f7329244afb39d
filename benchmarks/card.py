"""`TaskCard`: the facts of a benchmark, readable without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hcbench.benchmarks.settings import EvaluateConfig
from hcbench.data.people.spec import STREET

FROZEN, FINETUNE, ZERO_SHOT = "frozen", "finetune", "zero-shot"
"""A light head on fixed features; the field's recipe; no head at all."""
OPTIONS = frozenset({"rerank", "boxes"})
"""Settings of `EvaluateConfig` that a benchmark must name to have them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricInfo:
    """One metric of a benchmark.

    Attributes:
        name: Key in results ("mAP", "R1", "AP50"); no "@" or "=".
        title: How tables write it.
        higher_is_better: Direction.
        main: Whether the main table and the tests use it.
        main_on: Data sets on which it is the main one, in the place of those that are elsewhere.
        main_on_val: Data sets on whose validation split it is the main one, where those of `main_on` are not defined
            there.
        percent: Whether tables show it times 100.
    """

    name: str
    title: str
    higher_is_better: bool = True
    main: bool = False
    main_on: tuple[str, ...] = ()
    main_on_val: tuple[str, ...] = ()
    percent: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskCard:
    """Facts of one benchmark; `version` changes with every edit that changes numbers.

    Attributes:
        name: Registry and CLI name.
        title: Name as tables show it.
        summary: One sentence.
        version: Part of every fingerprint.
        metrics: All metrics, main ones first.
        needs: Fields of `Samples` that the benchmark's data must know.
        data: Data sets that it can be run on; the first is the default.
        protocols: Protocols that it knows; the first is the default.
        text_tower: Whether its zero-shot protocol compares images with the encoder's own text tower; it is then scored
            beside the default one wherever a method has such a tower.
        options: Settings of `EvaluateConfig` that only some benchmarks have ("rerank", "boxes").
        shots: What `evaluate.shots` counts: images per "identity", per "attribute", or each "image".
        trains: Protocols under which something is learned from the training split; under the others no features of it
            are computed, and there are no shots.
        regime: What the embedded people do, one of `data.people.spec.REGIMES`: `street` (they stand, walk, carry and
            ride, in the boxes of a detector) or `everyday` (all poses, at all scales).
        resample_seed: Seed of the bootstrap's resample indices.
        implementation: "module:Class", imported only when an evaluation runs.
        implementations: The same for protocols that have a class of their own.
        reference: Where the definition comes from.
    """

    name: str
    title: str
    summary: str
    version: str
    metrics: tuple[MetricInfo, ...]
    needs: frozenset[str]
    implementation: str
    data: tuple[str, ...] = ("people",)
    protocols: tuple[str, ...] = ("frozen",)
    implementations: Mapping[str, str] = field(default_factory=dict)
    text_tower: bool = False
    options: frozenset[str] = frozenset()
    shots: str = "identity"
    trains: frozenset[str] = frozenset({"frozen", "finetune"})
    regime: str = STREET
    resample_seed: int = 0
    reference: str = ""

    @property
    def main_metrics(self) -> tuple[MetricInfo, ...]:
        """The metrics that the main table shows."""
        return tuple(metric for metric in self.metrics if metric.main)

    def on(self, data: str, split: str = "test") -> TaskCard:
        """The card with the main metrics of a data set's split: those that are not defined on it give way to others."""
        on_test = {metric.name for metric in self.metrics if data in metric.main_on}
        on_val = {metric.name for metric in self.metrics if data in metric.main_on_val and split == "val"}
        main = on_val or on_test
        if not main:
            return self
        return replace(self, metrics=tuple(replace(metric, main=metric.name in main) for metric in self.metrics))

    def effective(self, protocol: str, config: EvaluateConfig) -> EvaluateConfig:
        """The settings with those at their default that change nothing here, so that no number is computed twice."""
        plain = EvaluateConfig()
        idle: dict[str, Any] = {}
        if protocol != FINETUNE:
            idle["recipe"] = plain.recipe
        if protocol not in self.trains:
            idle["shots"] = plain.shots
        idle |= {name: getattr(plain, name) for name in OPTIONS - self.options}
        return replace(config, **idle)

    def under(self, protocol: str) -> TaskCard:
        """The card with the implementation of a protocol."""
        return replace(self, implementation=self.implementations.get(protocol, self.implementation))
