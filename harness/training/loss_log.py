"""The losses of a training: means between two logged steps."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hcbench.methods.base import Step

Row = tuple[int, int, str, str, float]
"""Steps done, images seen, stage, name, value."""

COLUMNS = ("step", "images_seen", "stage", "name", "value")


class LossLog:
    """Collects named numbers; every `every` steps, and at the end of a stage, their means become rows.

    Names are `<optimiser>.loss`, `<optimiser>.<part>` and `<optimiser>.lr`.
    """

    def __init__(self, every: int) -> None:
        self.every = max(1, every)
        self.rows: list[Row] = []
        self._open: dict[str, list[float]] = defaultdict(list)

    def add(self, name: str, value: float) -> None:
        """Take a number of the current step."""
        self._open[name].append(value)

    def end_step(self, step: Step, images: int) -> None:
        """Close a step of `images` images."""
        done = step.index + 1
        if done % self.every and step.stage_index + 1 < step.stage_total:
            return
        for name, values in self._open.items():
            self.rows.append((done, step.images_seen + images, step.stage, name, sum(values) / len(values)))
        self._open.clear()

    def latest(self) -> float | None:
        """The newest loss, for progress bars."""
        for name, values in self._open.items():
            if name.endswith(".loss"):
                return values[-1]
        return next((row[4] for row in reversed(self.rows) if row[3].endswith(".loss")), None)

    def tail(self, name: str, share: float = 0.25) -> list[float]:
        """The last `share` of the rows of a name."""
        values = [row[4] for row in self.rows if row[3] == name]
        return values[-max(1, round(len(values) * share)) :]

    def names(self) -> tuple[str, ...]:
        """All names, in order of appearance."""
        return tuple(dict.fromkeys(row[3] for row in self.rows))

    def columns(self) -> dict[str, list[Any]]:
        """The rows as columns."""
        return {column: [row[i] for row in self.rows] for i, column in enumerate(COLUMNS)}

    def state_dict(self) -> dict[str, Any]:
        """Everything logged, as plain lists."""
        return {"rows": [list(row) for row in self.rows], "open": dict(self._open)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` stood."""
        self.rows = [(int(s), int(i), str(g), str(n), float(v)) for s, i, g, n, v in state["rows"]]
        self._open = defaultdict(list, {name: list(values) for name, values in state["open"].items()})
