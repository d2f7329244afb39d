"""`Task`: one downstream task on frozen features, or on vectors that need no head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hcbench.benchmarks.card import TaskCard
from hcbench.benchmarks.settings import EvaluateConfig
from hcbench.data.samples import ImageArray, Samples
from hcbench.methods.parts.encoder import Encoder

__all__ = [
    "Embedded",
    "EvaluateConfig",
    "FeatureTable",
    "FineTunedTask",
    "Inputs",
    "Progress",
    "Scores",
    "Split",
    "Task",
    "UnlabelledImages",
]

Progress = Callable[[str, int, int], None]
"""Gets the phase, what is done of it, and all of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureTable:
    """Frozen features of N images, float32 on CPU.

    Attributes:
        pooled: (N, D), [CLS] or the mean of the grid.
        grid: (N, D, h, w), token grid.
        tokens: Extra tokens by name, each (N, D).
    """

    pooled: Tensor
    grid: Tensor
    tokens: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pooled)

    def subset(self, rows: NDArray[np.int64]) -> FeatureTable:
        """The features of some images."""
        index = torch.from_numpy(rows)
        tokens = {name: token[index] for name, token in self.tokens.items()}
        return FeatureTable(pooled=self.pooled[index], grid=self.grid[index], tokens=tokens)


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Features with their labels: what a head may be trained or selected on."""

    features: FeatureTable
    samples: Samples

    def subset(self, rows: NDArray[np.int64]) -> Split:
        """Some images with their labels."""
        return Split(features=self.features.subset(rows), samples=self.samples.subset(rows))


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedded:
    """Images and captions in the space of the encoder's own text tower, float32 on CPU, not normalised.

    Attributes:
        image: (N, K), a vector per image.
        text: (T, K), a vector per caption, image after image; None where captions are no queries.
    """

    image: Tensor
    text: Tensor | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What `predict` may see of the test split. No labels.

    Attributes:
        features: Frozen features of the images.
        captions: The captions of each image, for text queries.
        embedded: Images and captions as the encoder compares them by itself; for zero-shot tasks alone, and where the
            encoder has a text tower.
    """

    features: FeatureTable
    captions: tuple[tuple[str, ...], ...] | None = None
    embedded: Embedded | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class UnlabelledImages:
    """What `FineTunedTask.predict_images` may see of a split. No labels.

    Attributes:
        images: uint8 (N, 3, H, W), RGB.
        captions: The captions of each image, for text queries.
    """

    images: ImageArray
    captions: tuple[tuple[str, ...], ...] | None = None

    @classmethod
    def of(cls, samples: Samples) -> UnlabelledImages:
        """The samples without their labels."""
        return cls(images=samples.images, captions=samples.captions)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """The outcome of one evaluation.

    Attributes:
        summary: Metric name to value, fractions 0..1, NaN = undefined.
        per_sample: Columns of equal length, one row per query or image; `sample` holds the ids.
        replicates: Metric name to (B,) bootstrap replicates, on resample indices fixed by the card.
        record: The protocol record: distance, normalisation, tie rule, box source, decoder, counts ...
        chosen: What validation chose: readout, head settings, and the validation numbers behind it.
    """

    summary: Mapping[str, float]
    per_sample: Mapping[str, NDArray[Any]]
    replicates: Mapping[str, NDArray[np.float64]]
    record: Mapping[str, Any]
    chosen: Mapping[str, Any] = field(default_factory=dict)


class Task(ABC):
    """One benchmark under one protocol: fit on train and validation, predict on test, score.

    The readout and every head setting are chosen on validation inside `fit`; the test split is handed to
    `predict` alone, without labels.
    """

    card: ClassVar[TaskCard]
    zero_shot: ClassVar[bool] = False
    """Whether nothing is fitted: `predict` gets the test split alone, with `Inputs.embedded` of an encoder that has a
    text tower; where the card says that one is needed, encoders without are skipped."""

    _chosen: Mapping[str, Any] = {}
    """What `Scores.chosen` will say."""
    _record: Mapping[str, Any] = {}
    """What a protocol has to say in `Scores.record`, over what the benchmark says."""

    def __init__(self, config: EvaluateConfig) -> None:
        self.config = config

    def skip_reason(self, samples: Samples) -> str | None:
        """Why this benchmark cannot be run on such samples, or None."""
        missing = sorted(self.card.needs - samples.known())
        return f"{samples.name} does not know {', '.join(missing)}" if missing else None

    def unscorable_reason(self, samples: Samples) -> str | None:
        """Why such samples cannot be scored by these settings, though heads may be trained on them, or None."""
        return None

    def untrainable_reason(self, train: Samples) -> str | None:
        """Why no head can be trained on such samples, though they can be scored, or None.

        `train` is what `evaluate.shots` leaves of the training split; only protocols that learn from it are asked.
        """
        return None

    def crossing_reason(self, source: Samples, target: Samples) -> str | None:
        """Why what was trained on `source` cannot be scored on `target`, another data set; None where it can."""
        return None

    @abstractmethod
    def fit(self, train: Split, val: Split) -> Mapping[str, Any]:
        """Train heads, choose readout and settings on validation; returns what was chosen and why.

        Under a protocol that learns nothing from the training split (`TaskCard.trains`), `train` has no rows.
        """

    @abstractmethod
    def predict(self, test: Inputs) -> Mapping[str, NDArray[Any]]:
        """Predictions on the test split."""

    @abstractmethod
    def score(self, predictions: Mapping[str, NDArray[Any]], truth: Samples) -> Scores:
        """Compare predictions with the truth."""

    def oracle(self, truth: Samples) -> Mapping[str, NDArray[Any]] | None:
        """The predictions that are the truth itself: what `score` gives them is the most that a metric can give.

        None where a benchmark does not say what they are; its row of the oracle is then skipped.
        """
        return None


class FineTunedTask(Task):
    """A benchmark that trains the encoder with its head; `score` takes the predictions of the frozen task."""

    @abstractmethod
    def why_not_finetunable(self, encoder: Encoder) -> str | None:
        """Why an encoder cannot be trained, or None."""

    @abstractmethod
    def finetune(
        self,
        encoder: Encoder,
        train: Samples,
        val: Samples,
        *,
        knobs: Mapping[str, float] | None = None,
        progress: Progress = lambda phase, done, total: None,
    ) -> Mapping[str, Any]:
        """Train a copy of the encoder and choose every setting on validation; returns what was chosen and why."""

    @abstractmethod
    def predict_images(self, unlabelled: UnlabelledImages) -> Mapping[str, NDArray[Any]]:
        """Predictions on the test split."""
