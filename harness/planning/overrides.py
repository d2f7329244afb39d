"""Which settings of a cell the user changed, so that a report can say so in the name of its row."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hcbench.harness.planning.cell import Cell
from hcbench.harness.planning.config import Resolved


def overrides_of(cell: Cell, resolved: Resolved) -> dict[str, str]:
    """The settings of a cell that the user changed, by dotted key, each with what it would be otherwise.

    A value that is not one of the user's is no change of theirs: other points of a sweep, what a search tries, and the
    defaults that a control keeps whatever is said of training.

    Args:
        cell: With its settings as they were written, before hashes take the place of files.
        resolved: Says what the user changed.
    """
    settings: dict[str, Any] = {
        f"{section}.{name}": value
        for section, values in (
            ("corpus", asdict(cell.corpus)),
            ("pretrain", asdict(cell.pretrain)),
            (cell.method, cell.method_config),
        )
        for name, value in values.items()
    }
    return {
        key: str(otherwise)
        for key, otherwise in resolved.replaced.items()
        if key in settings and settings[key] != otherwise and settings[key] in resolved.values[key]
    }
