"""The labelled reference: what the same images, network and steps give where identities and attributes are known.

After Lin et al. (Pattern Recognition 2019, arXiv 1703.07220), with the plainest form of both losses: linear
classifiers on the pooled vector, behind ReID's BNNeck. Departures stand in the card.

    L = identity_weight * CE(identity) + attribute_weight * sum over attributes of BCE(attribute), mean over images

Shapes: B images, D width of the pooled vector, C identities of the corpus view, A attributes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcbench.data.augment import augment
from hcbench.data.augment_settings import augmentation
from hcbench.errors import ConfigError, MethodError
from hcbench.methods.base import Batch, Context, Method, Objective, Step, Views
from hcbench.methods.card import MethodCard
from hcbench.methods.parts import diagnostics
from hcbench.methods.parts.encoder import Encoder
from hcbench.methods.parts.losses import attribute_bce
from hcbench.methods.supervised.card import CARD, Config

UNKNOWN = -1
"""Class of an image whose identity is not known: it does not train the identity classifier."""


class Supervised(Method):
    """Identity cross-entropy and attribute binary cross-entropy on the pooled vector."""

    card: ClassVar[MethodCard] = CARD
    config: Config
    identities: Tensor
    positive_shares: Tensor

    def __init__(self, config: Config, encoder: Encoder, context: Context) -> None:
        super().__init__(config, encoder, context)
        _check(config, context)
        self.augmentation = augmentation(config.augmentation)
        self.neck = nn.BatchNorm1d(encoder.dim) if config.neck else nn.Identity()
        if config.identity_weight:
            self.register_buffer("identities", torch.tensor(context.identities, dtype=torch.int64))
            self.identity_head = _classifier(encoder.dim, len(context.identities))
        if config.attribute_weight:
            self.register_buffer("positive_shares", torch.tensor(context.positive_shares))
            self.attribute_head = _classifier(encoder.dim, len(context.positive_shares))

    def views(self, batch: Batch, generator: torch.Generator) -> Views:
        """One augmented view of each image, with the labels that have a weight."""
        views: Views = {
            "images": augment(batch.images, self.augmentation, generator, size=self.context.input_size).images
        }
        if self.config.identity_weight:
            views["classes"] = self.classes(self._require(batch.identity, "identities"))
        if self.config.attribute_weight:
            views["attributes"] = self._require(batch.attributes, "attributes")
        return views

    def classes(self, identity: Tensor) -> Tensor:
        """Number of each identity among those of the corpus view, int64 (B,); below 0 stays unknown.

        Raises:
            MethodError: An identity is none of the corpus view's.
        """
        known = self.identities
        place = torch.searchsorted(known, identity).clamp(max=len(known) - 1)
        strange = (known[place] != identity) & (identity >= 0)
        if strange.any():
            raise MethodError(
                f"Identity {int(identity[strange][0])} is none of the {len(known)} of the corpus view.",
                "Context.identities must name all of them; this is the harness's duty.",
            )
        return torch.where(identity >= 0, place, torch.full_like(place, UNKNOWN))

    def objectives(self, views: Views, step: Step) -> Iterator[Objective]:
        """The weighted sum of both losses."""
        features = self.encoder(views["images"])
        if self.config.neck and len(features.pooled) == 1:
            raise MethodError(
                "Batch norm needs at least two images in a batch, but there is one.",
                "Raise the batch size, or set supervised.neck=false.",
            )
        vector: Tensor = self.neck(features.pooled)
        loss = vector.new_zeros(())
        parts: dict[str, Tensor | float] = {"feature_variance": diagnostics.feature_variance(features.pooled)}
        if self.config.identity_weight:
            identity, accuracy = self._identity_loss(vector, views["classes"])
            loss = loss + self.config.identity_weight * identity
            parts |= {"identity_loss": identity.detach(), "identity_accuracy": accuracy}
        if self.config.attribute_weight:
            logits, target = self.attribute_head(vector), views["attributes"]
            attributes = attribute_bce(logits, target, self.positive_shares)
            loss = loss + self.config.attribute_weight * attributes
            right = (logits.detach() > 0) == (target > 0)
            parts |= {
                "attribute_loss": attributes.detach(),
                "attribute_accuracy": right[target >= 0].float().mean().nan_to_num(),
            }
        yield Objective("main", loss, parts)

    def _identity_loss(self, vector: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Smoothed cross-entropy over the images of known identity, and the share of them that is right."""
        known = classes != UNKNOWN
        if not known.any():
            return 0 * self.identity_head(vector).sum(), vector.new_zeros(())
        logits = self.identity_head(vector).float()
        loss = F.cross_entropy(logits, classes, ignore_index=UNKNOWN, label_smoothing=self.config.label_smoothing)
        return loss, (logits.detach().argmax(dim=1) == classes)[known].float().mean()

    def _require(self, labels: Tensor | None, name: str) -> Tensor:
        if labels is None:
            raise MethodError(
                f"{self.card.title} learns from {name}, and a batch has none.", "Choose a corpus that knows them."
            )
        return labels


def _classifier(dim: int, classes: int) -> nn.Linear:
    head = nn.Linear(dim, classes)
    nn.init.trunc_normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)
    return head


def _check(config: Config, context: Context) -> None:
    weights = {"identity_weight": config.identity_weight, "attribute_weight": config.attribute_weight}
    if not any(weights.values()):
        raise ConfigError("supervised: both weights are 0: nothing is learned.", "Raise one of them.")
    for weight, labels, known in (
        ("identity_weight", "identity", context.identities),
        ("attribute_weight", "attribute", context.positive_shares),
    ):
        if weights[weight] and not known:
            raise MethodError(
                f"supervised learns from labels, and the corpus view names no {labels}.",
                f"Choose a corpus that does, or leave this loss out: --set supervised.{weight}=0.",
            )
