"""Attributes by fine-tuning: average pooling, batch norm, one linear layer, weighted cross-entropy.

Pooling, loss and views are RethinkingPAR's (valencebond/Rethinking_of_PAR @0baa462), the optimiser of the recipe
`field` is HAP's.

DEVIATION (HAP): no moving average of the weights; validation keeps the best look instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hcbench.benchmarks.attributes.task import Attributes
from hcbench.benchmarks.base import UnlabelledImages
from hcbench.benchmarks.finetune import FineTune, Learner, TrainingBatch, TrainingSetup
from hcbench.benchmarks.readout import joined
from hcbench.benchmarks.scoring import need
from hcbench.methods.parts.losses import attribute_bce, positive_shares


class AttributeLearner(Learner):
    """Encoder and one linear classifier per attribute."""

    def __init__(self, setup: TrainingSetup) -> None:
        super().__init__(setup)
        self.target = torch.from_numpy(np.asarray(need(setup.train, "attributes"), np.float32))
        self.shares = positive_shares(self.target)
        width = joined(self.shapes(), self.readout).shape[1]
        # DEVIATION (RethinkingPAR): no norm there. Vectors of a hardly trained encoder are nearly one: without a norm
        # before it, a head does not leave chance in the short recipe (24 steps: mA .500, and .5 is what a constant
        # gets).
        self.neck, self.head = nn.BatchNorm1d(width), nn.Linear(width, self.target.shape[1])
        nn.init.normal_(self.head.weight, std=0.01, generator=setup.generator)
        nn.init.zeros_(self.head.bias)

    def loss(self, batch: TrainingBatch) -> Tensor:
        """Weighted binary cross-entropy, summed over attributes."""
        logits = self.head(self.neck(joined(self.see(batch.images), self.readout)))
        return attribute_bce(logits, self.target[batch.index].to(self.device), self.shares)

    @torch.no_grad()
    def predict(self, unlabelled: UnlabelledImages, batch_size: int) -> Mapping[str, NDArray[Any]]:
        """As `Attributes.predict`."""
        features = joined(self.table(unlabelled, batch_size), self.readout).to(self.device)
        return {"probability": self.head(self.neck(features)).sigmoid().cpu().numpy()}


class FineTuneAttributes(FineTune, Attributes):
    """The benchmark `attributes`, protocol `finetune`."""

    learner = AttributeLearner
    criterion = "mA"
