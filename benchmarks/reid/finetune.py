"""ReID by fine-tuning: BNNeck, identity classification and a batch-hard triplet loss over PK batches.

Luo et al., Bag of Tricks (CVPRW 2019), as TransReID has it: the triplet compares features before the batch norm, which
are also what is ranked; the classifier sees them after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hcbench.benchmarks.base import UnlabelledImages
from hcbench.benchmarks.finetune import FineTune, Learner, TrainingBatch, TrainingSetup, identity_batches, persons
from hcbench.benchmarks.heads import steps_for
from hcbench.benchmarks.readout import joined
from hcbench.benchmarks.recipes import FinetuneRecipe
from hcbench.benchmarks.reid.task import Reid, normalised
from hcbench.data.samples import Samples


class ReidLearner(Learner):
    """Encoder, batch norm without a shift, and a linear classifier of the training identities."""

    def __init__(self, setup: TrainingSetup) -> None:
        super().__init__(setup)
        _, self.labels, identities = persons(setup.train)
        width = joined(self.shapes(), self.readout).shape[1]
        self.neck = nn.BatchNorm1d(width)
        self.neck.bias.requires_grad_(False)
        self.classifier = nn.Linear(width, identities, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001, generator=setup.generator)

    def loss(self, batch: TrainingBatch) -> Tensor:
        """Cross-entropy of identities plus the triplet loss."""
        features, labels = joined(self.see(batch.images), self.readout), self.labels[batch.index].to(self.device)
        logits = self.classifier(self.neck(features))
        named = F.cross_entropy(logits, labels, label_smoothing=self.recipe.smoothing)
        return named + soft_triplet(features, labels)

    def predict(self, unlabelled: UnlabelledImages, batch_size: int) -> Mapping[str, NDArray[Any]]:
        """As `Reid.predict`."""
        return {"features": normalised(self.table(unlabelled, batch_size), self.readout)}


class FineTuneReid(FineTune, Reid):
    """The benchmark `reid`, protocol `finetune`."""

    learner = ReidLearner
    criterion = "mAP"

    def untrainable_reason(self, train: Samples) -> str | None:
        """What `persons` refuses; one image of a person is enough, since batches repeat it."""
        return None

    def usable(self, train: Samples) -> Samples:
        """The persons: distractors teach nothing."""
        return persons(train)[0]

    def order(self, train: Samples, recipe: FinetuneRecipe, generator: torch.Generator) -> Iterator[Tensor]:
        """PK batches, as many as passes over all images would be."""
        steps = steps_for(len(train), recipe.batch_size, recipe.epochs)
        return identity_batches(persons(train)[1], recipe.batch_size, max(2, recipe.instances), steps, generator)


def soft_triplet(features: Tensor, labels: Tensor) -> Tensor:
    """Soft-margin batch-hard triplet loss (Hermans et al., arXiv 1703.07737) on Euclidean distances.

    The farthest image of the same identity must be nearer than the nearest of another one.

    Args:
        features: float (B, K), not normalised.
        labels: int64 (B,); at least two identities.
    """
    distance = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    same = labels[:, None] == labels[None, :]
    farthest = distance.masked_fill(~same, -torch.inf).amax(dim=1)
    nearest = distance.masked_fill(same, torch.inf).amin(dim=1)
    return F.softplus(farthest - nearest).mean()
