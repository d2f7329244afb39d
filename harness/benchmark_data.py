"""The three splits of a benchmark's data: heads are trained on train, chosen on val, scored on test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from hcbench.data import coco
from hcbench.data.budget import name_seed
from hcbench.data.people.dataset import benchmark_split
from hcbench.data.samples import Samples
from hcbench.errors import DataError, did_you_mean
from hcbench.harness.registry import load_registry

SPLITS = ("train", "val", "test")
STYLE = "B"
"""Benchmarks are in another style than the pre-training images, as synthetic pre-training meets a real world."""
_VAL_SHARE = 10
"""One in so many images of COCO's train2017 is for validation; val2017 is the test split."""


def benchmark_splits(
    data: str, root: str, *, height: int, width: int, scale: float, cache: Path, splits: Sequence[str] = SPLITS
) -> dict[str, Samples]:
    """Samples by split.

    Args:
        data: `people`, `coco`, or a data set of a plugin that has `splits`.
        root: Folder of real data.
        height: Input height, pixels.
        width: Input width, pixels.
        scale: Share of the people benchmark's identities, or of COCO's training images; the test split of COCO
            is never cut.
        cache: Folder of rendered and decoded pixels.
        splits: What is wanted. No other split is read, rendered or handed out (a plugin's data are cut afterwards).

    Raises:
        DataError: Nothing here can read such data.
    """
    if data == "people":
        return {
            split: benchmark_split(split, style=STYLE, height=height, width=width, scale=scale, cache=cache)
            for split in splits
        }
    if data == "coco":
        return _coco(Path(root), height, width, scale, cache, splits)
    further = load_registry().data
    if data in further:
        found: dict[str, Samples] = further[data].splits(Path(root), height, width, cache)
        return {split: found[split] for split in splits}
    raise DataError(f"No benchmark data is called {data!r}.", did_you_mean(data, ("people", "coco", *further)))


def _coco(root: Path, height: int, width: int, scale: float, cache: Path, splits: Sequence[str]) -> dict[str, Samples]:
    training = coco.load(root, "train2017", height=height, width=width, cache=cache)
    if training.image_id is None:
        raise DataError(f"{training.name} does not know its image ids.", "They are needed to split it by image.")
    names, position = np.unique(training.image_id, return_inverse=True)
    draw = np.array([name_seed("coco", "split", int(name)) for name in names])
    is_val = draw % _VAL_SHARE == 0
    kept = (draw // _VAL_SHARE) % 1_000_000 < scale * 1_000_000
    if not (is_val & kept).any() or not (~is_val & kept).any():
        raise DataError(
            f"evaluate.scale={scale} leaves no training or no validation image of {len(names)} in {training.name}.",
            "Use a larger scale; 1 is the benchmark.",
        )
    make: Mapping[str, Callable[[], Samples]] = {
        "train": lambda: training.subset(np.flatnonzero((~is_val & kept)[position]), name="coco train"),
        "val": lambda: training.subset(np.flatnonzero((is_val & kept)[position]), name="coco val"),
        "test": lambda: coco.load(root, "val2017", height=height, width=width, cache=cache),
    }
    return {split: make[split]() for split in splits}
