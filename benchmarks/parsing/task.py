"""Parsing on frozen features: a 1x1 convolution on the token grid, enlarged bilinearly, cross-entropy per pixel.

Heads of several learning rates train as one batched tensor. Each step looks at one pixel in every
THINNED x THINNED square, at a place that is drawn anew: the same gradient in the mean, at a sixteenth of its cost.

DEVIATION (SCHP, SOLIDER-HumanParsing): masks are compared in pixels of the input, not of the original image, so that
numbers of LIP and CIHP stand beside each other here and not beside published ones.

Shape suffixes: N images, B batch, D channels, C classes, S settings, h, w token grid, H, W mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hcbench.benchmarks.base import FeatureTable, Inputs, Scores, Split, Task
from hcbench.benchmarks.heads import (
    BatchedAdamW,
    Standardiser,
    cosine_factor,
    head_generator,
    minibatches,
    one_thread,
    steps_for,
)
from hcbench.benchmarks.metrics.bootstrap import resample_weights
from hcbench.benchmarks.metrics.parsing import ParsingMetrics, parsing_metrics
from hcbench.benchmarks.parsing.card import CARD
from hcbench.benchmarks.parsing.classes import IGNORED, Classes
from hcbench.benchmarks.parsing.head import enlarging, pixel_classes, pixel_logits, pixel_loss, token_logits
from hcbench.benchmarks.scoring import best_trial, clusters, need, sample_columns, selection
from hcbench.data.samples import Samples

LEARNING_RATES = (3e-3, 1e-2, 3e-2)
"""Of the heads trained side by side."""
WEIGHT_DECAY = 0.1
"""A tenth of it gave the same mIoU to the third digit."""
PASSES = 5.0
BATCH_SIZE = 50
THINNED = 4
PIECE = 250
"""Images that are predicted at a time."""


@dataclass(frozen=True, slots=True)
class TokenHeads:
    """S linear classifiers of tokens, on standardised features, for masks of one size."""

    standardise: Standardiser
    weight_SDC: Tensor
    bias_SC: Tensor
    size: tuple[int, int]

    @torch.no_grad()
    def labels(self, features: FeatureTable, setting: int) -> NDArray[np.uint8]:
        """The class of every pixel (N, H, W) by the head of one setting."""
        one = slice(setting, setting + 1)
        rows, columns = (enlarging(*axis) for axis in zip(features.grid.shape[2:], self.size, strict=True))
        found = []
        for grid in features.grid.split(PIECE):
            tokens = token_logits(self.standardise(grid), self.weight_SDC[one], self.bias_SC[one])
            found.append(pixel_classes(pixel_logits(tokens, rows, columns)[0]))
        result: NDArray[np.uint8] = torch.cat(found).numpy()
        return result


class Parsing(Task):
    """The benchmark `parsing`, protocol `frozen`."""

    card = CARD

    _heads: TokenHeads
    _setting: int

    def crossing_reason(self, source: Samples, target: Samples) -> str | None:
        """The classes must be the same."""
        if Classes.of(source).names == Classes.of(target).names:
            return None
        return f"the classes of {source.name} are not those of {target.name}"

    @one_thread
    def fit(self, train: Split, val: Split) -> Mapping[str, Any]:
        """Train every setting; validation mIoU chooses one."""
        self._heads = self._train(train)
        trials = []
        for setting, lr in enumerate(LEARNING_RATES):
            metrics = compare(self._heads.labels(val.features, setting), val.samples)
            trials.append({"readout": "grid", "lr": lr, **metrics.summary()})
        self._setting = best_trial(trials, "miou")
        self._chosen = selection(trials, "miou")
        return self._chosen

    @one_thread
    def predict(self, test: Inputs) -> Mapping[str, NDArray[Any]]:
        """`labels` uint8 (N, H, W), classes."""
        return {"labels": self._heads.labels(test.features, self._setting)}

    def score(self, predictions: Mapping[str, NDArray[Any]], truth: Samples) -> Scores:
        """IoU and accuracy over the pixels of all images; persons are resampled whole."""
        metrics = compare(predictions["labels"], truth)
        groups, names = clusters(truth), Classes.of(truth).names
        weights = resample_weights(groups, replicates=self.config.replicates, seed=CARD.resample_seed)
        present = metrics.confusion.sum(axis=1) > 0
        return Scores(
            summary=metrics.summary(),
            per_sample=sample_columns(truth) | metrics.per_sample(),
            replicates=metrics.replicates(weights),
            record={
                **metrics.protocol,
                "classes": list(names),
                "iou": dict(zip(names, metrics.iou.tolist(), strict=True)),
                "absent": [name for name, there in zip(names, present, strict=True) if not there],
                "mask": "in pixels of the input",
                "flip_test": False,
                "images": len(truth),
                "clusters": len(np.unique(groups)),
                "split": truth.name,
                **self._record,
            },
            chosen=self._chosen,
        )

    def oracle(self, truth: Samples) -> Mapping[str, NDArray[Any]]:
        """The masks themselves; of pixels that count as nothing any class is right, here the first."""
        labels = Classes.of(truth).masks(truth, slice(None))
        return {"labels": np.where(labels == IGNORED, 0, labels).astype(np.uint8)}

    def _train(self, train: Split) -> TokenHeads:
        standardise = Standardiser.fit(train.features.grid)
        classes, samples = Classes.of(train.samples), train.samples
        height, width = need(samples, "parts")[0:1].shape[1:]
        rows, columns = (enlarging(*axis) for axis in zip(train.features.grid.shape[2:], (height, width), strict=True))
        params = (
            torch.zeros(len(LEARNING_RATES), len(standardise.live), len(classes.names), requires_grad=True),
            torch.zeros(len(LEARNING_RATES), len(classes.names), requires_grad=True),
        )
        lr = torch.tensor(LEARNING_RATES)
        optimiser = BatchedAdamW(params, lr=lr, weight_decay=torch.full_like(lr, WEIGHT_DECAY))
        generator = head_generator(self.config.head_seed, CARD.name, "order")
        steps = steps_for(len(samples), BATCH_SIZE, PASSES * self.config.epochs)
        for step, index in enumerate(minibatches(len(samples), BATCH_SIZE, steps, generator)):
            top, left = torch.randint(THINNED, (2,), generator=generator).tolist()
            y, x = slice(top, None, THINNED), slice(left, None, THINNED)
            target = torch.from_numpy(classes.masks(samples, index.numpy())[:, y, x])
            tokens = token_logits(standardise(train.features.grid[index]), *params)
            pixel_loss(pixel_logits(tokens, rows[:, y], columns[:, x]), target).backward()
            optimiser.step(cosine_factor(step, steps))
        return TokenHeads(standardise, params[0].detach(), params[1].detach(), (height, width))


def compare(labels: NDArray[np.uint8], samples: Samples) -> ParsingMetrics:
    """Score class masks (N, H, W) of a split."""
    classes = Classes.of(samples)
    truth = classes.masks(samples, slice(None))
    return parsing_metrics(truth, labels, len(classes.names), ignore=IGNORED)
