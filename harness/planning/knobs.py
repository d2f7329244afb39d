"""Knobs at evaluation: the values of SOLIDER's lambda, and the like, that one checkpoint is scored at.

A knob is a setting of the trained encoder's forward pass (`MethodCard.knobs`). It is asked for as `evaluate.<knob>`, or
as `<method>.<knob>` for one method alone; where nobody asks, each benchmark takes what the card recommends for it. It
belongs to evaluations: cells, and evaluations of methods without the knob, do not depend on it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from hcbench.errors import ConfigError
from hcbench.harness.planning.cell import Cell
from hcbench.harness.planning.checks import check_knob
from hcbench.harness.planning.registry import Registry
from hcbench.methods.card import MethodCard

SHARED = "evaluate"
"""The section whose knobs hold for every method that has them."""
_UNASKED = (None,)

Asked = Mapping[str, Mapping[str, tuple[float | None, ...]]]
"""By section and knob, see `config.Resolved.knobs`."""


def check_knobs(asked: Asked, cards: Iterable[MethodCard], registry: Registry) -> None:
    """Refuse values out of range, and a shared knob that none of the methods has.

    Raises:
        ConfigError: See above.
    """
    for section, knobs in asked.items():
        for name, values in knobs.items():
            for value in values:
                check_knob(f"{section}.{name}", value)
    cards = list(cards)
    for name, values in asked.get(SHARED, {}).items():
        if values != _UNASKED and not any(name in card.knobs for card in cards):
            owners = ", ".join(card.name for card in registry.methods.values() if name in card.knobs)
            raise ConfigError(
                f"{SHARED}.{name} is set, but none of the methods has this knob: {', '.join(c.name for c in cards)}.",
                f"It is a knob of {owners}. Name such a method, or leave {SHARED}.{name} out.",
            )


def knob_points(cell: Cell, registry: Registry, benchmark: str, asked: Asked) -> tuple[Mapping[str, float], ...]:
    """The settings of the knobs that a benchmark is run at, one evaluation each; one empty one without knobs.

    Args:
        cell: Whose encoder is scored.
        registry: Where its method's card stands.
        benchmark: Name of the benchmark.
        asked: What the user asked for; a method's own section goes before `evaluate`.
    """
    card, config = encoder_card(cell, registry)
    axes = []
    for name in card.knobs_of(config):
        own = asked.get(card.name, {}).get(name, _UNASKED)
        values = own if own != _UNASKED else asked.get(SHARED, {}).get(name, _UNASKED)
        recommended = card.knobs[name].get(benchmark)
        axes.append([(name, recommended if value is None else value) for value in values])
    points = (tuple(pair for pair in point if pair[1] is not None) for point in itertools.product(*axes))
    return tuple({name: value for name, value in point if value is not None} for point in dict.fromkeys(points))


def recommended_knobs(cell: Cell, registry: Registry, benchmark: str) -> Mapping[str, float]:
    """The settings of the knobs where nobody asks for others."""
    return knob_points(cell, registry, benchmark, {})[0]


def encoder_card(cell: Cell, registry: Registry) -> tuple[MethodCard, Mapping[str, Any]]:
    """The method whose kind of encoder a cell has, and its settings: of given weights, the method of their layout."""
    card = registry.methods[cell.method]
    layout = cell.method_config[card.layout_setting] if card.layout_setting else None
    owner = next((one for one in registry.methods.values() if layout in {own.name for own in one.weight_layouts}), card)
    if owner is card:
        return card, cell.method_config
    own = owner if cell.method_config["knobs"] else replace(owner, knobs={})
    return own, asdict(owner.config(**owner.defaults))
