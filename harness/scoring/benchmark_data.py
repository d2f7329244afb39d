"""The three splits of a benchmark's data: heads are trained on train, chosen on val, scored on test."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hcbench.data.catalogue import dataset, dataset_modules, task_splits
from hcbench.data.formats.person_boxes import GROUND_TRUTH, loader
from hcbench.data.people.dataset import benchmark_split
from hcbench.data.people.spec import STREET
from hcbench.data.samples import Samples
from hcbench.data.seeds import name_seed
from hcbench.data.task_splits import NAMES, task_samples
from hcbench.errors import DataError, did_you_mean
from hcbench.harness.planning.corpora import PEOPLE
from hcbench.harness.planning.registry import load_registry

STYLE = "B"
"""Benchmarks are in another style than the pre-training images, as synthetic pre-training meets a real world."""
_MILLION = 1_000_000


def benchmark_splits(
    data: str, root: str, *, height: int, width: int, scale: float, cache: Path, splits: Sequence[str] = NAMES,
    boxes: str = GROUND_TRUTH, benchmark: str = "",
) -> dict[str, Samples]:  # fmt: skip
    """Samples by split.

    Args:
        data: `people`, or a data set of the catalogue, plug-ins included.
        root: Folder of real data.
        height: Input height, pixels.
        width: Input width, pixels.
        scale: Share of the people benchmark's identities; of real data the share of what is trained and chosen on,
            persons where they are told apart, else images: a real test split is never cut.
        cache: Folder of rendered and decoded pixels.
        splits: The splits to load. No other split is read, rendered or handed out.
        boxes: Which boxes persons of the test split are cut out by, one of `data.person_boxes.BOXES`.
        benchmark: Whose splits they are, where a data set has others for some benchmark; people have two regimes.

    Raises:
        DataError: Nothing here can read such data.
    """
    if data == PEOPLE:
        return {
            split: benchmark_split(
                split, style=STYLE, regime=regime(benchmark), height=height, width=width, scale=scale, cache=cache
            )
            for split in splits
        }
    load_registry()  # a worker has not looked at plug-ins yet
    if data not in dataset_modules():
        raise DataError(f"No benchmark data is called {data!r}.", did_you_mean(data, (PEOPLE, *dataset_modules())))
    data_set, parts = dataset(data), task_splits(data, benchmark)
    calls = {split: loader(data_set, split, boxes) for split in splits}
    loads = {call: functools.cache(call) for call in calls.values()}  # train and val are often parts of one split
    found = {
        split: task_samples(loads[call], parts, Path(root), split, height=height, width=width, cache=cache)
        for split, call in calls.items()
    }
    return {split: samples if split == "test" else scaled(samples, scale) for split, samples in found.items()}


def regime(benchmark: str) -> str:
    """The regime of the embedded people of a benchmark, by its card; of nobody's, the street."""
    return load_registry().benchmark(benchmark).regime if benchmark else STREET


def scaled(samples: Samples, scale: float) -> Samples:
    """A share of the persons where they are told apart, else of the images; what a scale keeps, larger ones keep.

    Args:
        samples: Of a real data set.
        scale: Above 0; 1 keeps everything.

    Raises:
        DataError: Nothing is left.
    """
    if scale >= 1:
        return samples
    named = samples.identity is not None
    units = samples.identity if named else np.array([str(one).partition("#")[0] for one in samples.ids])
    values, position = np.unique(np.asarray(units), return_inverse=True)
    draw = np.array([name_seed("scale", str(value)) % _MILLION for value in values])
    kept = np.flatnonzero((draw < scale * _MILLION)[position])
    if not len(kept):
        raise DataError(
            f"evaluate.scale={scale} leaves nothing of {len(values)} {'persons' if named else 'images'} in "
            f"{samples.name}.",
            "Use a larger scale; 1 is the benchmark.",
        )
    return samples.subset(kept, name=f"{samples.name} x {scale:g}")
