"""`Task`: one downstream task on frozen features, or on vectors that need no head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hcbench.benchmarks.card import TaskCard
from hcbench.benchmarks.settings import EvaluateConfig
from hcbench.data.samples import Samples

__all__ = ["Embedded", "EvaluateConfig", "FeatureTable", "Inputs", "Scores", "Split", "Task"]


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Features with their labels: what a head may be trained or selected on."""

    features: FeatureTable
    samples: Samples


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedded:
    """Images and captions in the space of the encoder's own text tower, float32 on CPU, not normalised.

    Attributes:
        image: (N, K), a vector per image.
        text: (T, K), a vector per caption, image after image.
    """

    image: Tensor
    text: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What `predict` may see of the test split. No labels.

    Attributes:
        features: Frozen features of the images.
        captions: The captions of each image, for text queries.
        embedded: Images and captions as the encoder compares them by itself; for zero-shot tasks alone.
    """

    features: FeatureTable
    captions: tuple[tuple[str, ...], ...] | None = None
    embedded: Embedded | None = None


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
    """Whether nothing is fitted: `predict` gets `Inputs.embedded`, and encoders without a text tower are skipped."""

    def __init__(self, config: EvaluateConfig) -> None:
        self.config = config

    def skip(self, samples: Samples) -> str | None:
        """Why this benchmark cannot be run on such samples, or None."""
        missing = sorted(self.card.needs - samples.known())
        return f"{samples.name} does not know {', '.join(missing)}" if missing else None

    @abstractmethod
    def fit(self, train: Split, val: Split) -> Mapping[str, Any]:
        """Train heads, choose readout and settings on validation; returns what was chosen and why."""

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
