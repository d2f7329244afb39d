"""Attributes on frozen features: one linear classifier per attribute, weighted binary cross-entropy.

Loss and metrics follow RethinkingPAR (valencebond/Rethinking_of_PAR @ 0baa462): positives weigh exp(1 - r),
negatives exp(r), with r the share of positives in training; the loss is summed over attributes and averaged over
images. A grid of learning rates and weight decays trains as one batched tensor for each readout.

Shape suffixes: N images, B batch, K features, A attributes, S settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hcbench.benchmarks.attributes.card import CARD
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
from hcbench.benchmarks.metrics.attributes import attribute_metrics
from hcbench.benchmarks.metrics.bootstrap import resample_weights
from hcbench.benchmarks.metrics.questions import question_metrics
from hcbench.benchmarks.readout import candidates, joined
from hcbench.benchmarks.scoring import best_trial, clusters, need, sample_columns, selection
from hcbench.data.samples import Samples
from hcbench.errors import TaskError
from hcbench.methods.parts.losses import attribute_weights, positive_shares

SETTINGS = tuple((lr, decay) for lr in (1e-3, 3e-3, 1e-2) for decay in (0.1, 1.0))
"""(learning rate, decoupled weight decay) of the heads trained side by side."""
PASSES = 10.0
BATCH_SIZE = 125
THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class LinearHeads:
    """S linear classifiers over one readout, on standardised features."""

    readout: str
    standardise: Standardiser
    weight_SKA: Tensor
    bias_SA: Tensor

    def probabilities(self, features: FeatureTable, setting: int) -> NDArray[np.float32]:
        """Probability of each attribute, (N, A), by the head of one setting."""
        x_NK = self.standardise(joined(features, self.readout))
        logits_NA = torch.addmm(self.bias_SA[setting], x_NK, self.weight_SKA[setting])
        result: NDArray[np.float32] = logits_NA.sigmoid().numpy()
        return result


class Attributes(Task):
    """The benchmark `attributes`, protocol `frozen`."""

    card = CARD

    _heads: LinearHeads
    _setting: int

    def crossing_reason(self, source: Samples, target: Samples) -> str | None:
        """The attributes must be the same, in the same order."""
        if source.attribute_names == target.attribute_names:
            return None
        return f"the attributes of {source.name} are not those of {target.name}"

    @one_thread
    def fit(self, train: Split, val: Split) -> Mapping[str, Any]:
        """Train every setting on every readout; validation mA chooses one pair."""
        truth_val = need(val.samples, "attributes")
        trials: list[dict[str, Any]] = []
        heads: list[LinearHeads] = []
        for name in candidates(self.config.readout):
            heads.append(self._train(train, name))
            for setting, (lr, decay) in enumerate(SETTINGS):
                probability = heads[-1].probabilities(val.features, setting)
                value = attribute_metrics(truth_val, probability, threshold=THRESHOLD).mA
                trials.append({"readout": name, "lr": lr, "weight_decay": decay, "mA": float(value)})
        best = best_trial(trials, "mA")
        self._heads, self._setting = heads[best // len(SETTINGS)], best % len(SETTINGS)
        self._chosen = selection(trials, "mA")
        return self._chosen

    @one_thread
    def predict(self, test: Inputs) -> Mapping[str, NDArray[Any]]:
        """`probability` float32 (N, A)."""
        return {"probability": self._heads.probabilities(test.features, self._setting)}

    def score(self, predictions: Mapping[str, NDArray[Any]], truth: Samples) -> Scores:
        """Label and instance metrics at threshold .5; persons are resampled whole."""
        labels = need(truth, "attributes")
        metrics = attribute_metrics(labels, predictions["probability"], threshold=THRESHOLD)
        groups = clusters(truth)
        weights = resample_weights(groups, replicates=self.config.replicates, seed=CARD.resample_seed)
        answers = question_metrics(metrics, predictions["probability"], truth.attribute_groups)
        names = truth.attribute_names or tuple(f"attribute_{i}" for i in range(labels.shape[1]))
        return Scores(
            summary=metrics.summary() | answers.summary(),
            per_sample=sample_columns(truth) | metrics.per_sample(),
            replicates=metrics.replicates(weights) | answers.replicates(weights),
            record={
                **metrics.protocol,
                **answers.record(),
                "f1": "harmonic mean of averaged precision and recall",
                "attributes": list(names),
                "label_ma": dict(zip(names, metrics.label_ma.tolist(), strict=True)),
                "undefined": [names[i] for i in metrics.undefined],
                "images": len(truth),
                "left_out": truth.left_out,
                "clusters": len(np.unique(groups)),
                "split": truth.name,
                **self._record,
            },
            chosen=self._chosen,
        )

    def oracle(self, truth: Samples) -> Mapping[str, NDArray[Any]]:
        """Certainty of what is there, and of nothing else: an unspecified attribute is not claimed."""
        return {"probability": (need(truth, "attributes") == 1).astype(np.float32)}

    def _train(self, train: Split, name: str) -> LinearHeads:
        raw_NK = joined(train.features, name)
        standardise = Standardiser.fit(raw_NK)
        x_NK = standardise(raw_NK)
        target_NA = torch.from_numpy(np.asarray(need(train.samples, "attributes"), np.float32))
        if target_NA.shape[1] == 0:
            raise TaskError(f"{train.samples.name} has no attributes.", "Choose data with attribute labels.")
        weight_NA = loss_weights(target_NA)
        params = (
            torch.zeros(len(SETTINGS), x_NK.shape[1], target_NA.shape[1], requires_grad=True),
            torch.zeros(len(SETTINGS), target_NA.shape[1], requires_grad=True),
        )
        lr, decay = torch.tensor(SETTINGS).unbind(1)
        optimiser = BatchedAdamW(params, lr=lr, weight_decay=decay)
        generator = head_generator(self.config.head_seed, CARD.name, "order")
        steps = steps_for(len(x_NK), BATCH_SIZE, PASSES * self.config.epochs)
        for step, index in enumerate(minibatches(len(x_NK), BATCH_SIZE, steps, generator)):
            logits_SBA = torch.matmul(x_NK[index], params[0]) + params[1][:, None]
            target_SBA = target_NA[index].clamp_min(0).expand_as(logits_SBA)
            loss = F.binary_cross_entropy_with_logits(logits_SBA, target_SBA, weight_NA[index], reduction="sum")
            (loss / len(index)).backward()
            optimiser.step(cosine_factor(step, steps))
        return LinearHeads(name, standardise, params[0].detach(), params[1].detach())


def loss_weights(target: Tensor) -> Tensor:
    """Weight of each label: exp(1 - r) for positives, exp(r) for negatives, 0 for unspecified ones.

    Args:
        target: (N, A) in {0, 1, -1}; r is the share of positives among the specified labels of an attribute.
    """
    return attribute_weights(target, positive_shares(target))
