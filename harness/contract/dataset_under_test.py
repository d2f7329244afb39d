"""A data set that is checked: a copy of it, and what was loaded of it so far."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from hcbench.data.dataset import Dataset
from hcbench.data.samples import Samples
from hcbench.errors import DataError

HEIGHT, WIDTH = 32, 16
"""Size at which splits are loaded, pixels."""


class Skipped(Exception):
    """A check that does not apply, and why."""


@dataclass
class DatasetUnderTest:
    """A data set, a copy of it, and what was loaded of it so far.

    Attributes:
        data_set: The data set.
        root: Its folder; None = nobody said where it lies.
        cache: A folder of its own for decoded pixels.
    """

    data_set: Dataset
    root: Path | None
    cache: Path

    @functools.cached_property
    def samples(self) -> dict[str, Samples]:
        """Every split of this copy at the small size.

        Splits that benchmarks or pre-training use must be there; a copy may lack the others, whose errors are skipped.
        """
        found: dict[str, Samples] = {}
        for split in self.data_set.splits:
            try:
                found[split] = self.load(split)
            except DataError:
                if split in self.needed:
                    raise
        return found

    @property
    def needed(self) -> frozenset[str]:
        """Splits that benchmarks or pre-training use; all of them where these are none of its splits."""
        data_set = self.data_set
        used = {*data_set.task_splits.named, *([data_set.training_split] if data_set.is_for_training else [])}
        return frozenset(used & set(data_set.splits) or data_set.splits)

    @property
    def folder(self) -> Path:
        """The root, where there is one.

        Raises:
            Skipped: There is none.
        """
        if self.root is None:
            raise Skipped(f"needs its files: --data {self.data_set.name}=ROOT")
        return self.root

    def load(self, split: str, folder: Path | None = None) -> Samples:
        """One split, loaded anew."""
        root = folder or self.folder
        return self.data_set.load(root, split, height=HEIGHT, width=WIDTH, cache=self.cache)
