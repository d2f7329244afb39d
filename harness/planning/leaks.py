"""What a cell was trained on, as the store keeps it, and what that means for each of its scores."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from hcbench.data.overlaps import NOTHING, Verdict, judge
from hcbench.harness.planning.cell import ACROSS, Cell
from hcbench.harness.planning.corpora import PEOPLE
from hcbench.harness.planning.registry import Registry

TAG = "trained_on"
_UNTRAINED = ("control", "truth")
"""Supervision of rows that have learned from no image."""


def trained_on(sources: Iterable[str]) -> dict[str, str]:
    """The facts of a cell that say what its images were."""
    return {TAG: json.dumps(sorted(sources))}


def of_card(cell: Cell, registry: Registry) -> dict[str, str]:
    """The same for cells that train nothing here: untrained networks, and weights of which the card knows the data."""
    card = registry.method(cell.method)
    if card.trains:
        return {}
    if card.supervision in _UNTRAINED:
        return trained_on([NOTHING])
    return trained_on(card.trained_on)


def verdict(tags: Mapping[str, str], params: Mapping[str, Any], data: str) -> Verdict:
    """What a stored cell's training, and that of the heads, means for its score on a data set.

    Args:
        tags: Of the cell's run.
        params: Of the cell's run; results from before the tag was written are told by them.
        data: The data set that was scored, or `A>B` where heads of A were scored on B.
    """
    of_heads, _, scored = data.partition(ACROSS)
    sources = _sources(tags, params)
    return judge([*sources, f"{of_heads}:train"] if sources else [], scored or of_heads)


def _sources(tags: Mapping[str, str], params: Mapping[str, Any]) -> list[str]:
    """What a cell was trained on; empty where nobody says."""
    if TAG in tags:
        try:
            found: list[str] = json.loads(tags[TAG])
        except ValueError:  # cut by an older hcbench: nobody knows the whole
            return []
        return found
    if tags.get("supervision") in _UNTRAINED:
        return [NOTHING]
    trains = int(params.get("budget_images", 0)) > 0
    return [PEOPLE] if trains and params.get("corpus.name") == PEOPLE else []
