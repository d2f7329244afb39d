"""Data budgets: how many stored images a method may pre-train on, and which ones.

Budgets are nested: the groups of a smaller budget are a prefix of those of a larger one, and the draw
depends on the seed alone, so all methods of a seed share it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcbench.data.seeds import name_seed
from hcbench.errors import BudgetError

_GRAMMAR = re.compile(r"(?P<share>\d+(\.\d+)?)(pct|%)|(?P<count>\d+(\.\d+)?)(?P<unit>[kKmM]?)")


@dataclass(frozen=True, slots=True)
class Budget:
    """A parsed budget: a share of the corpus's reference size, or a number of images.

    Exactly one of `share` (0..1) and `count` is set; `label` is the canonical spelling.
    """

    label: str
    share: float | None = None
    count: int | None = None

    def groups(self, reference_groups: int, group_size: int, available_groups: int | None = None) -> int:
        """Whole groups that the budget buys.

        Args:
            reference_groups: Groups of the corpus's reference size, what 100pct means.
            group_size: Images in a group.
            available_groups: Groups that there are; the reference where None.

        Raises:
            BudgetError: The budget buys no group, or more than there is.
        """
        wanted = (
            int(reference_groups * self.share + 1e-9) if self.share is not None else (self.count or 0) // group_size
        )
        there_is = reference_groups if available_groups is None else available_groups
        if wanted < 1:
            raise BudgetError(
                f"Budget {self.label} buys no whole group of {group_size} images.",
                f"The smallest budget here is {group_size} images or {100 / reference_groups:.2g}pct.",
            )
        if wanted > there_is:
            raise BudgetError(
                f"Budget {self.label} asks for {wanted * group_size:,} images, the corpus holds "
                f"{there_is * group_size:,}.",
                f"Ask for {there_is * group_size} images or fewer.",
            )
        return wanted


def parse_budget(text: str) -> Budget:
    """Read `0.1pct`, `1pct`, `5000` or `5k`.

    >>> parse_budget("1pct").share
    0.01
    >>> parse_budget("5k").count
    5000

    Raises:
        BudgetError: The text is no budget, or not above 0, or above 100pct.
    """
    match = _GRAMMAR.fullmatch(text.strip())
    if match is None:
        raise BudgetError(
            f"{text!r} is no data budget.",
            "Write a share such as 0.1pct or 1pct, or an image count such as 5000 or 5k.",
        )
    if match["share"] is not None:
        share = float(match["share"]) / 100
        if not 0 < share <= 1:
            raise BudgetError(f"Budget {text} is not above 0pct and at most 100pct.", "For example: 1pct.")
        return Budget(label=f"{float(match['share']):g}pct", share=share)
    count = round(float(match["count"]) * {"": 1, "k": 1_000, "m": 1_000_000}[match["unit"].lower()])
    if count < 1:
        raise BudgetError(f"Budget {text} holds no image.", "For example: 5000 or 1pct.")
    return Budget(label=str(count), count=count)


def draw_groups(seed: int, reference_groups: int, count: int, *, corpus: str) -> NDArray[np.int64]:
    """The groups of a budget, int64 (count,): a prefix of the seed's permutation of all groups."""
    return np.random.default_rng(name_seed(corpus, "budget", seed)).permutation(reference_groups)[:count]


def draw_images(units: NDArray[np.int64], count: int, seed: int, *, corpus: str) -> NDArray[np.int64]:
    """The images of a budget on a corpus whose groups may differ in size.

    Whole groups in the seed's order, then as much of the next one as the budget has left, so that every layout of a
    corpus gets equally many images. Nested: a smaller budget's images are among those of a larger one.

    Args:
        units: int64 (N,), the group of every image, or its own number where there are no groups.
        count: Images wanted, at most N.
        seed: Seed of the draw.
        corpus: Name of the corpus in the seed.

    Returns:
        int64 (count,), ascending.
    """
    names, group = np.unique(units, return_inverse=True)
    turn = np.empty(len(names), np.int64)
    turn[draw_groups(seed, len(names), len(names), corpus=corpus)] = np.arange(len(names))
    return np.sort(np.argsort(turn[group], kind="stable")[:count])
