"""Which splits of a data set a benchmark trains on, chooses on and is scored on, where the owners' names say otherwise.

Owners of pose and parsing sets publish a training and a validation split, and the field scores on the latter. So that
nothing is chosen on what is scored, every tenth image of the training split, in the order of their names, is held out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hcbench.data.samples import Samples
from hcbench.errors import DataError, did_you_mean

NAMES = ("train", "val", "test")
_EVERY = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskSplits:
    """The owners' split behind each split of a benchmark.

    Attributes:
        train: What heads are trained on; None where the owners forbid it.
        val: What they are chosen on; None holds out every tenth image of `train`.
        test: What they are scored on.
    """

    train: str | None
    val: str | None
    test: str

    @property
    def named(self) -> tuple[str, ...]:
        """All of the owners' splits that stand behind one."""
        return tuple(one for one in (self.train, self.val, self.test) if one)

    def owners(self, split: str) -> str:
        """The owners' split that a benchmark's `train`, `val` or `test` is taken from.

        Raises:
            DataError: The split is unknown, or the data set has none to train on.
        """
        if split not in NAMES:
            raise DataError(f"Benchmarks have no split {split!r}.", did_you_mean(split, NAMES))
        found = self.test if split == "test" else self.val if split == "val" and self.val else self.train
        if found is None:
            raise DataError(
                "This data set has no split to train on.",
                "Train on another one with the same joints, such as COCO, and score on this (--test-on).",
            )
        return found


OWN = TaskSplits(train="train", val="val", test="test")
"""Of data sets whose module gives the three splits by these names, and names no others (`TASK_SPLITS`)."""

Load = Callable[..., Samples]
"""`load(root, split, *, height, width, cache)` of a data set's module."""


def task_samples(
    load: Load, splits: TaskSplits, root: Path, split: str, *, height: int, width: int, cache: Path
) -> Samples:
    """The samples of `train`, `val` or `test` of a benchmark.

    Raises:
        DataError: The split is unknown, or the data set has none to train on; and whatever `load` raises.
    """
    samples = load(root, splits.owners(split), height=height, width=width, cache=cache)
    if split == "test" or splits.val is not None:
        return samples
    held = held_out(samples)
    rows = np.flatnonzero(held if split == "val" else ~held)
    return samples.subset(rows, name=f"{samples.name} ({'held out' if split == 'val' else 'without held out'})")


def held_out(samples: Samples) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which samples are for validation, bool (N,): all of the 1st, 11th ... image, in the order of their names.

    The first image counts, not the tenth as where persons are held out: a copy of a few images has one, too.

    Raises:
        DataError: There are fewer than two images.
    """
    images = np.array([str(name).partition("#")[0] for name in samples.ids])
    names, position = np.unique(images, return_inverse=True)
    if len(names) < 2:
        raise DataError(
            f"{samples.name} has {len(names)} images, too few to hold one out for validation.", "Use a larger copy."
        )
    every: np.ndarray[tuple[int], np.dtype[np.bool_]] = position % _EVERY == 0
    return every
