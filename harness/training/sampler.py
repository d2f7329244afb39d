"""Which images a batch holds: passes over the groups of a view, cut into batches of equal size.

The rules, the same for every method:

- A *unit* is what is drawn: a group (`images_per_group` of its images, without replacement; a group with fewer repeats
  them) or, for methods that draw single images, one image.
- A pass is a permutation of all units. Passes follow each other without a gap, so a batch may hold the end of one and
  the beginning of the next; a unit that still waits is moved to the end of the next pass, never twice into a batch.
- Images seen are rounded down to whole groups, for methods that draw single images too, so all see equally many.
- A stage is cut into ceil(images / batch) batches that differ by one unit at most.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hcbench.data.samples import Int
from hcbench.data.seeds import name_seed


@dataclass(frozen=True, slots=True)
class StagePlan:
    """The steps of one stage: how many units each batch holds."""

    name: str
    batches: tuple[int, ...]


def plan_stages(
    stages: Sequence[tuple[str, float]], images_seen: int, *, group: int, per_unit: int, units_per_batch: int
) -> tuple[StagePlan, ...]:
    """Cut `images_seen` into stages (name, share) and those into batches.

    Args:
        stages: Names and shares of images seen.
        images_seen: Rounded down to whole groups, as the ends of stages are rounded.
        group: Images of a group.
        per_unit: Images of a unit: `group`, or 1.
        units_per_batch: Units that a batch holds at most.

    >>> plan_stages([("a", 0.25), ("b", 0.75)], 60, group=5, per_unit=5, units_per_batch=4)
    (StagePlan(name='a', batches=(3,)), StagePlan(name='b', batches=(3, 3, 3)))
    """
    if not stages:
        return ()
    shares = np.cumsum([share for _, share in stages])
    groups = images_seen // group
    ends = [round(groups * float(share / shares[-1])) for share in shares]
    plans = []
    for (name, _), start, end in zip(stages, [0, *ends[:-1]], ends, strict=True):
        units = (end - start) * group // per_unit
        steps = -(-units // units_per_batch)
        edges = [units * k // steps for k in range(steps + 1)] if steps else []
        plans.append(StagePlan(name, tuple(b - a for a, b in itertools.pairwise(edges))))
    return tuple(plans)


class Sampler:
    """Draws batches of indices; its stream depends on the seed, the pass and the step alone.

    Args:
        units: int64 (N,) unit of every image of the view.
        per_unit: Images that are drawn of a unit.
        seed: Seed of the stream.
    """

    def __init__(self, units: Int, *, per_unit: int, seed: int) -> None:
        self.units, self.per_unit, self.seed = units, per_unit, seed
        self.passes = 0
        self._allowed: Int = np.arange(len(units))
        self._queue: Int = np.empty(0, np.int64)
        self._members: dict[int, Int] = {}

    def short_of(self, units: int) -> bool:
        """Whether a batch of `units` needs another pass to begin."""
        return len(self._queue) < units

    def begin_pass(self, allowed: Int) -> None:
        """Begin a pass over the images `allowed`, int64 (M,), at least as many units as a batch."""
        self._allow(allowed)
        names = np.fromiter(self._members, np.int64)
        order = np.random.default_rng(name_seed("order", self.seed, self.passes)).permutation(np.sort(names))
        self._queue = self._queue[np.isin(self._queue, names)]
        waiting = np.isin(order, self._queue)
        self._queue = np.concatenate([self._queue, order[~waiting], order[waiting]])
        self.passes += 1

    def take(self, count: int, step: int) -> Int:
        """Indices of the next batch, int64 (count * per_unit,); images of one unit stand side by side."""
        units, self._queue = self._queue[:count], self._queue[count:]
        rng = np.random.default_rng(name_seed("draw", self.seed, step))
        return np.concatenate(list(self._pick(units, rng)))

    def _pick(self, units: Int, rng: np.random.Generator) -> Iterator[Int]:
        for unit in units:
            members = rng.permutation(self._members[int(unit)])
            yield np.resize(members, self.per_unit)

    def _allow(self, allowed: Int) -> None:
        self._allowed = np.asarray(allowed, np.int64)
        units = self.units[self._allowed]
        order = np.argsort(units, kind="stable")
        names, starts = np.unique(units[order], return_index=True)
        parts = np.split(self._allowed[order], starts[1:])
        self._members = {int(name): part for name, part in zip(names, parts, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, as plain lists and numbers."""
        return {"passes": self.passes, "allowed": self._allowed.tolist(), "queue": self._queue.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` stood."""
        self._allow(np.asarray(state["allowed"], np.int64))
        self.passes, self._queue = int(state["passes"]), np.asarray(state["queue"], np.int64)
