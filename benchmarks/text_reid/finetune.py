"""Text-to-image ReID by fine-tuning: both towers trained together, by CMPM or SDM.

An encoder that has a text tower of its own goes on training it, with its image projection. Any other is given the small
text tower of the frozen task, from random weights, and a linear projection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hcbench.benchmarks.base import FeatureTable, UnlabelledImages
from hcbench.benchmarks.finetune import FineTune, Learner, TrainingBatch, TrainingSetup, batched, persons
from hcbench.benchmarks.readout import joined
from hcbench.benchmarks.scoring import need
from hcbench.benchmarks.text_reid.task import TextReid
from hcbench.benchmarks.text_reid.tower import Tokenizer, TwoTowers
from hcbench.data.samples import Samples
from hcbench.errors import ConfigError, TaskError
from hcbench.methods.parts.encoder import Encoder, Features
from hcbench.methods.parts.losses import cmpm

LOSSES = ("cmpm", "sdm")
TEMPERATURE = 0.02
"""Of SDM, in IRRA's code."""


class OwnTowers(nn.Module):
    """The towers that the encoder's own method has trained."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.tower, self.projection = encoder.towers()

    def images(self, features: FeatureTable) -> Tensor:
        """Image vectors (B, K)."""
        projected: Tensor = self.projection(Features(features.pooled, features.grid, dict(features.tokens)))
        return projected

    def texts(self, captions: Sequence[str]) -> Tensor:
        """Caption vectors (B, K)."""
        tokens = self.tower.tokenizer(list(captions)).to(next(self.tower.parameters()).device)
        vectors: Tensor = self.tower(tokens.ids, tokens.mask)[1]
        return vectors


class NewTowers(nn.Module):
    """A linear projection of a readout, and a small text tower over the words of the training captions."""

    def __init__(self, readout: str, width: int, captions: Sequence[str], generator: torch.Generator) -> None:
        super().__init__()
        self.readout, self.tokenizer = readout, Tokenizer.from_captions(captions)
        self.towers = TwoTowers(width, len(self.tokenizer), generator=generator)

    def images(self, features: FeatureTable) -> Tensor:
        """Image vectors (B, K)."""
        return self.towers.encode_image(joined(features, self.readout))

    def texts(self, captions: Sequence[str]) -> Tensor:
        """Caption vectors (B, K)."""
        return self.towers.encode_text(self.tokenizer.encode(captions).to(self.towers.words.device))


class TextLearner(Learner):
    """Encoder and two towers."""

    def __init__(self, setup: TrainingSetup) -> None:
        super().__init__(setup)
        if self.recipe.loss not in LOSSES:
            raise ConfigError(f"The recipe's loss is {self.recipe.loss!r}.", f"There are {', '.join(LOSSES)}.")
        self.captions = need(setup.train, "captions")
        _, self.labels, _ = persons(setup.train)
        self.words = setup.generator
        self.towers: OwnTowers | NewTowers
        if setup.encoder.text is not None:
            self.towers = OwnTowers(setup.encoder)
        else:
            width = joined(self.shapes(), self.readout).shape[1]
            said = [caption for captions in self.captions for caption in captions]
            self.towers = NewTowers(self.readout, width, said, setup.generator)

    def loss(self, batch: TrainingBatch) -> Tensor:
        """One caption of each image, drawn anew, against all images of the batch, and back."""
        captions = [self.captions[row] for row in batch.index.tolist()]
        draws = torch.rand(len(captions), generator=self.words).tolist()
        texts = self.towers.texts([said[int(draw * len(said))] for said, draw in zip(captions, draws, strict=True)])
        images, labels = self.towers.images(self.see(batch.images)), self.labels[batch.index].to(self.device)
        return cmpm(images, texts, labels) if self.recipe.loss == "cmpm" else sdm(images, texts, labels)

    @torch.no_grad()
    def predict(self, unlabelled: UnlabelledImages, batch_size: int) -> Mapping[str, NDArray[Any]]:
        """As `TextReid.predict`."""
        if unlabelled.captions is None:
            raise TaskError("The split came without captions.", "Text queries are its inputs: hand them over.")
        table = self.table(unlabelled, batch_size)
        flat = [caption for captions in unlabelled.captions for caption in captions]
        images = [self.towers.images(_part(table, rows, self.device)) for rows in batched(len(table), 500)]
        texts = [self.towers.texts(flat[rows]) for rows in batched(len(flat), 500)]
        return {
            "image": F.normalize(torch.cat(images), dim=1).cpu().numpy(),
            "text": F.normalize(torch.cat(texts), dim=1).cpu().numpy(),
            "text_image": np.repeat(
                np.arange(len(unlabelled.captions)), [len(captions) for captions in unlabelled.captions]
            ),
        }


class FineTuneTextReid(FineTune, TextReid):
    """The benchmark `text-reid`, protocol `finetune`."""

    learner = TextLearner
    criterion = "mAP"

    def usable(self, train: Samples) -> Samples:
        """The persons with a caption."""
        known, _, _ = persons(train)
        return known.subset(np.flatnonzero([bool(captions) for captions in need(known, "captions")]))

    def how(self) -> Mapping[str, Any]:
        """Whose text tower it is."""
        own = isinstance(self._learner, TextLearner) and isinstance(self._learner.towers, OwnTowers)
        return {"text_tower": "the method's own, trained on" if own else "two convolutions, from random weights"}


def sdm(
    image: Tensor, text: Tensor, labels: Tensor, *, temperature: float = TEMPERATURE, epsilon: float = 1e-8
) -> Tensor:
    """Similarity distribution matching (Jiang and Ye, IRRA, CVPR 2023), the sum of both directions.

    As CMPM, but of cosines over a temperature on both sides: the divergence of their softmax from the identity matches.

    Args:
        image: float (N, D), normalised here; row i belongs to text i, `text` likewise.
        text: See image.
        labels: int64 (N,), identities.
        temperature: Divides the cosines.
        epsilon: Added to the targets inside the logarithm.
    """
    logits = F.normalize(image, dim=1) @ F.normalize(text, dim=1).T / temperature
    targets = F.normalize((labels[:, None] == labels[None, :]).to(logits.dtype), p=1, dim=1)

    def divergence(scores: Tensor) -> Tensor:
        log_p = scores.log_softmax(dim=1)
        return (log_p.exp() * (log_p - (targets + epsilon).log())).sum(dim=1).mean()

    return divergence(logits) + divergence(logits.T)


def _part(table: FeatureTable, rows: slice, device: torch.device) -> FeatureTable:
    tokens = {name: token[rows].to(device) for name, token in table.tokens.items()}
    return FeatureTable(pooled=table.pooled[rows].to(device), grid=table.grid[rows].to(device), tokens=tokens)
