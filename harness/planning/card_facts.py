"""What reports want to know of methods and benchmarks, taken from their cards and stored with every result."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hcbench.benchmarks.card import MetricInfo
from hcbench.harness.planning.cell import COMPUTE_LIMITED_PASSES, Cell, Evaluation
from hcbench.harness.planning.knobs import recommended_knobs
from hcbench.harness.planning.leaks import of_card
from hcbench.harness.planning.registry import Registry
from hcbench.methods.card import SUPERVISION


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkFacts:
    """Facts of a benchmark.

    Attributes:
        title: As tables write it.
        metrics: All metrics, main ones first.
        metrics_on: The same for data sets on which others are the main ones: split to data set to metrics.
    """

    title: str
    metrics: tuple[MetricInfo, ...]
    metrics_on: Mapping[str, Mapping[str, tuple[MetricInfo, ...]]] = field(default_factory=dict)

    def metrics_of(self, data: str, split: str) -> tuple[MetricInfo, ...]:
        """The metrics on a data set's split."""
        return self.metrics_on.get(split, {}).get(data, self.metrics)


@dataclass(frozen=True, kw_only=True, slots=True)
class CardFacts:
    """Facts of a cell's method and of its benchmarks.

    Attributes:
        method: What is stored with the cell, as text: title, supervision and more (`method_facts`).
        benchmarks: By name.
        default_evaluations: Fingerprint of the evaluation of each benchmark that is also written on the cell's own run:
            on the benchmark's own data, under its first protocol, with the knobs as the method's card recommends them.
            A sweep leaves it alone.
    """

    method: Mapping[str, str] = field(default_factory=dict)
    benchmarks: Mapping[str, BenchmarkFacts] = field(default_factory=dict)
    default_evaluations: tuple[str, ...] = ()


def read_facts(record: Mapping[str, Any]) -> CardFacts:
    """Facts as a job's file holds them; those that an older version did not write are left out."""
    return CardFacts(
        method={name: str(value) for name, value in record.get("method", {}).items()},
        benchmarks={
            name: BenchmarkFacts(
                title=one["title"],
                metrics=read_metrics(one["metrics"]),
                metrics_on={
                    split: {data: read_metrics(metrics) for data, metrics in by_data.items()}
                    for split, by_data in one.get("metrics_on", {}).items()
                },
            )
            for name, one in record.get("benchmarks", {}).items()
        },
        default_evaluations=tuple(record.get("default_evaluations", ())),
    )


def card_facts(cell: Cell, evaluations: Sequence[Evaluation], registry: Registry) -> CardFacts:
    """Facts of a cell's method and of its benchmarks."""
    default: dict[str, str] = {}
    for one in evaluations:
        card = registry.benchmark(one.benchmark)
        usual = (card.data[0], card.protocols[0], recommended_knobs(cell, registry, card.name))
        if (one.data, one.protocol, one.knobs) == usual:
            default.setdefault(one.benchmark, one.fingerprint)
    return CardFacts(
        method={**method_facts(registry, cell), **of_card(cell, registry), **cell.facts},
        benchmarks={one.benchmark: benchmark_facts(registry, one.benchmark) for one in evaluations},
        default_evaluations=tuple(sorted(default.values())),
    )


def method_facts(registry: Registry, cell: Cell) -> dict[str, str]:
    """Title and supervision of a cell's method, which labels it is given, and from which sources (json)."""
    card = registry.method(cell.method)
    named = [title for switch, title in card.titles.items() if cell.method_config.get(switch) is True]
    return {
        "title": named[0] if named else card.title,
        **supervision_facts(card.supervision),
        "least_passes": str(COMPUTE_LIMITED_PASSES),
        "needs": ", ".join(sorted(card.needs)),
        "sources": json.dumps(card.sources(cell.method_config)),
        "nameless": ", ".join(sorted(f"{card.name}.{setting}" for setting in card.nameless)),
    }


def read_metrics(records: Iterable[Mapping[str, Any]]) -> tuple[MetricInfo, ...]:
    """Metrics as they were written by `asdict`; older results lack `main_on` and `main_on_val`."""
    return tuple(
        MetricInfo(
            name=record["name"],
            title=record["title"],
            higher_is_better=record["higher_is_better"],
            main=record["main"],
            main_on=tuple(record.get("main_on", ())),
            main_on_val=tuple(record.get("main_on_val", ())),
            percent=record["percent"],
        )
        for record in records
    )


def supervision_facts(supervision: str) -> dict[str, str]:
    """A supervision group with its title and its place among the groups of a report."""
    return {
        "supervision": supervision,
        "supervision_title": SUPERVISION[supervision],
        "supervision_order": str(tuple(SUPERVISION).index(supervision)),
    }


def benchmark_facts(registry: Registry, name: str) -> BenchmarkFacts:
    """Title and metrics of a benchmark, and these again for data sets on which others are the main ones, by split."""
    card = registry.benchmark(name)
    special = {data for metric in card.metrics for data in (*metric.main_on, *metric.main_on_val)}
    return BenchmarkFacts(
        title=card.title,
        metrics=card.metrics,
        metrics_on={
            split: {data: card.on(data, split).metrics for data in sorted(special)} for split in ("val", "test")
        },
    )
