"""What reports want to know of methods and benchmarks, taken from their cards and stored with every result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from hcbench.harness.planning.cell import COMPUTE_LIMITED_PASSES, Cell, Evaluation
from hcbench.harness.planning.knobs import recommended_knobs
from hcbench.harness.planning.leaks import of_card
from hcbench.harness.planning.registry import Registry
from hcbench.methods.card import SUPERVISION


def card_facts(cell: Cell, evaluations: Sequence[Evaluation], registry: Registry) -> dict[str, Any]:
    """Facts of a cell's method and of its benchmarks, as plain data.

    `default_evaluations` names the one of each benchmark that is also written on the cell's own run: on the benchmark's
    own data, under its first protocol, with the knobs as the method's card recommends them. A sweep leaves it alone.
    """
    default: dict[str, str] = {}
    for one in evaluations:
        card = registry.benchmark(one.benchmark)
        usual = (card.data[0], card.protocols[0], recommended_knobs(cell, registry, card.name))
        if (one.data, one.protocol, one.knobs) == usual:
            default.setdefault(one.benchmark, one.fingerprint)
    return {
        "method": {**method_facts(registry, cell), **of_card(cell, registry), **cell.facts},
        "benchmarks": {one.benchmark: benchmark_facts(registry, one.benchmark) for one in evaluations},
        "default_evaluations": sorted(default.values()),
    }


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
    }


def supervision_facts(supervision: str) -> dict[str, str]:
    """A supervision group with its title and its place among the groups of a report."""
    return {
        "supervision": supervision,
        "supervision_title": SUPERVISION[supervision],
        "supervision_order": str(tuple(SUPERVISION).index(supervision)),
    }


def benchmark_facts(registry: Registry, name: str) -> dict[str, Any]:
    """Title and metrics of a benchmark, and these again for data sets on which others are the main ones, by split."""
    card = registry.benchmark(name)
    special = {data for metric in card.metrics for data in (*metric.main_on, *metric.main_on_val)}
    return {
        "title": card.title,
        "metrics": [asdict(metric) for metric in card.metrics],
        "metrics_on": {
            split: {data: [asdict(metric) for metric in card.on(data, split).metrics] for data in sorted(special)}
            for split in ("val", "test")
        },
    }
