"""A benchmark under test: its data made small, plain features in the place of an encoder's, one whole evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from hcbench.benchmarks.base import Embedded, EvaluateConfig, FeatureTable, FineTunedTask, Inputs, Scores, Split, Task
from hcbench.benchmarks.card import TaskCard
from hcbench.data.samples import Samples
from hcbench.harness.contract.dataset_under_test import Skipped
from hcbench.harness.planning.corpora import PEOPLE
from hcbench.harness.planning.registry import implementation
from hcbench.harness.scoring.benchmark_data import benchmark_splits

SIZE = (64, 32)
"""Height and width of the images, pixels."""
SCALE = 0.02
"""Share of the embedded people, or of the persons of real data, that heads are trained on."""
CONFIG = EvaluateConfig(scale=SCALE, replicates=20, epochs=0.02)
"""Settings of the evaluation: everything that a score holds, after little training."""
_GRID, _CELL = (8, 4), 4


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One evaluation that has ended.

    Attributes:
        task: The benchmark, fitted.
        inputs: What `predict` saw.
        predictions: What it gave, before `score` saw any truth.
        scores: What they score.
    """

    task: Task
    inputs: Inputs
    predictions: Mapping[str, NDArray[Any]]
    scores: Scores


class BenchmarkUnderTest:
    """A benchmark, and what its checks share, each thing made once.

    Args:
        card: The benchmark's card.
        roots: Where data sets lie, by name.
        folder: For rendered pixels and stored scores.
    """

    def __init__(self, card: TaskCard, roots: Mapping[str, str], folder: Path) -> None:
        self.card, self.roots, self.folder = card, roots, folder

    @property
    def data(self) -> str:
        """The data set that the checks run on: the embedded one, else one that somebody said the place of; else ""."""
        return next((name for name in self.card.data if name == PEOPLE or name in self.roots), "")

    @property
    def setting(self) -> str:
        """On what the checks run, in words."""
        where = f"{self.card.protocols[0] if self.card.protocols else 'no protocol'}, {SIZE[0]}x{SIZE[1]} pixels"
        return f"{where}, {SCALE:.0%} of {self.data}" if self.data else where

    def build(self) -> Task:
        """A fresh task under the benchmark's default protocol."""
        card = self.card.under(self.card.protocols[0])
        task: Task = implementation(card)(CONFIG)
        return task

    @cached_property
    def splits(self) -> dict[str, Samples]:
        """Samples of train, val and test.

        Raises:
            Skipped: Nobody said where the benchmark's data lie.
        """
        if not self.data:
            names = ", ".join(f"--data {name}=ROOT" for name in self.card.data)
            raise Skipped(f"needs its data: {names}")
        return benchmark_splits(
            self.data, self.roots.get(self.data, ""), height=SIZE[0], width=SIZE[1], scale=SCALE, cache=self.folder,
            benchmark=self.card.name,
        )  # fmt: skip

    @cached_property
    def evaluated(self) -> Evaluated:
        """An evaluation with plain features of the pixels."""
        return self._evaluate(plain_features)

    @cached_property
    def blind(self) -> Evaluated:
        """The same with features that are equal for all images."""
        return self._evaluate(lambda samples: constant(plain_features(samples)))

    def again(self) -> Evaluated:
        """The first evaluation once more, from a fresh task."""
        return self._evaluate(plain_features)

    @cached_property
    def perfect(self) -> Scores:
        """What the truth scores.

        Raises:
            Skipped: The benchmark does not say what its right predictions are.
        """
        task, truth = self.build(), self.splits["test"]
        predictions = task.oracle(truth)
        if predictions is None:
            raise Skipped("it has no `oracle`, so no row of the best that can be reached")
        return task.score(predictions, truth)

    def _evaluate(self, features: Any) -> Evaluated:
        task, splits = self.build(), self.splits
        if isinstance(task, FineTunedTask):
            raise Skipped("its default protocol trains the encoder itself, which takes a run")
        torch.manual_seed(0)
        tables: dict[str, FeatureTable] = {}

        def table(split: str) -> FeatureTable:
            return tables.setdefault(split, features(splits[split]))

        test = splits["test"]
        inputs = Inputs(features=table("test"), captions=test.captions)
        if task.zero_shot:
            inputs = replace(inputs, embedded=_embedded(inputs))
        else:
            train = Split(features=table("train"), samples=splits["train"])
            if self.card.protocols[0] not in self.card.trains:
                train = train.subset(np.zeros(0, np.int64))
            task.fit(train, Split(features=table("val"), samples=splits["val"]))
        predictions = task.predict(inputs)
        kept = {name: np.array(values, copy=True) for name, values in predictions.items()}
        return Evaluated(task, inputs, kept, task.score(predictions, test))


def plain_features(samples: Samples) -> FeatureTable:
    """Pixels as features: a coarse picture as the pooled vector, finer patches as the grid."""
    images = torch.from_numpy(np.asarray(samples.images[np.arange(len(samples))])).float() / 255
    fine = F.adaptive_avg_pool2d(images, (_GRID[0] * _CELL, _GRID[1] * _CELL))
    return FeatureTable(
        pooled=F.adaptive_avg_pool2d(images, (_CELL, _CELL)).flatten(1), grid=F.pixel_unshuffle(fine, _CELL)
    )


def constant(features: FeatureTable) -> FeatureTable:
    """The same shapes with every image like the others."""
    return FeatureTable(pooled=torch.ones_like(features.pooled), grid=torch.ones_like(features.grid))


def _embedded(inputs: Inputs) -> Embedded:
    """Images in the place of a text tower's space; captions lie where their image lies."""
    pooled = inputs.features.pooled
    if inputs.captions is None:
        return Embedded(image=pooled, text=None)
    owner = np.repeat(np.arange(len(pooled)), [len(several) for several in inputs.captions])
    return Embedded(image=pooled, text=pooled[torch.from_numpy(owner)])
