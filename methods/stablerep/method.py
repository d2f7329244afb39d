"""StableRep (Tian et al., NeurIPS 2023, arXiv 2306.00984).

Official code: google-research/syn-rep-learn @45f451b, folder StableRep. Reproduced: the multi-positive
loss, the projector with batch statistics per view, the views; with `language` the image-text loss of
StableRep+. Departures stand in the card. SimCLR is the same code with one image per group and two crops of it.

    L = MP(image) + w2 * (CE(image -> text) + CE(text -> image)) / 2        the second term is StableRep+'s

Shapes: B images = G groups x m, group-major as the loop hands them over; V = m * num_crop views of G rows
(of B rows where images are drawn singly), view-major from `views` on.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from hcbench.data.augment import augment
from hcbench.data.augment_settings import augmentation
from hcbench.errors import MethodError
from hcbench.methods.base import Batch, Context, Method, Objective, Step, Views
from hcbench.methods.card import MethodCard
from hcbench.methods.parts import diagnostics
from hcbench.methods.parts.distributed import rank
from hcbench.methods.parts.encoder import Encoder, Features
from hcbench.methods.parts.heads import Projector, project_per_view
from hcbench.methods.parts.losses import image_text_terms, multi_positive_contrastive
from hcbench.methods.parts.text import ImageProjection, TextSpec, TextTower
from hcbench.methods.parts.tokenizer import Tokenizer, Tokens
from hcbench.methods.stablerep.card import CARD, Config

MOST_LOGIT_SCALE = 4.6052
"""Where the logarithm of the image-text scale is held after every step: ln 100, as CLIP does."""


class StableRep(Method):
    """Multi-positive contrastive learning over the images of one caption."""

    card: ClassVar[MethodCard] = CARD
    config: Config

    def __init__(self, config: Config, encoder: Encoder, context: Context) -> None:
        super().__init__(config, encoder, context)
        self.augmentation = augmentation(config.augmentation)
        self.projector = Projector(encoder.dim, config.projector)
        self.images_per_group = context.images_per_group
        if config.language:
            self._join_text()

    def _join_text(self) -> None:
        """StableRep+: a text tower beside the backbone, both with a map into one space."""
        config, encoder = self.config, self.encoder
        *hidden, out = config.projector if config.text_proj == "mlp" else (config.shared_dim,)
        tokenizer = Tokenizer.from_words(self.context.vocabulary, max_tokens=config.text_tokens)
        spec = TextSpec(
            dim=config.text_dim,
            layers=config.text_layers,
            heads=config.text_heads,
            mlp_dim=4 * config.text_dim,
            max_tokens=config.text_tokens,
            projection=out,
            hidden=tuple(hidden),
        )
        projection = ImageProjection(encoder.dim, out, bias=False, hidden=hidden)
        encoder.join_text(TextTower(spec, tokenizer), projection)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def views(self, batch: Batch, generator: torch.Generator) -> Views:
        """Augment each image `num_crop` times; images view-major, labels in the same order."""
        m, crops = self.images_per_group, self.config.num_crop
        if len(batch.images) % m:
            raise MethodError(
                f"A batch of {len(batch.images)} images does not hold whole groups of {m}.",
                "Draw whole groups; this is the loop's duty.",
            )
        order = view_major(len(batch.images), m)
        sources = batch.images[order.to(batch.images.device)]
        images = torch.cat(
            [augment(sources, self.augmentation, generator, size=self.context.input_size).images for _ in range(crops)]
        )
        labels = self.labels(batch).cpu()[order].repeat(crops).to(images.device)
        views: Views = {"images": images, "labels": labels}
        if self.config.language:
            views["tokens"] = self.tokens(batch).to(images.device)
        return views

    def tokens(self, batch: Batch) -> Tokens:
        """One caption per group: that of its first image."""
        if batch.captions is None:
            raise MethodError(f"{self.card.title}+ learns from captions, and a batch has none.", "Set language=false.")
        return self.encoder.towers()[0].tokenizer(batch.captions[:: self.images_per_group])

    def labels(self, batch: Batch) -> Tensor:
        """What makes two images of the batch positives, int64 (B,)."""
        m = self.images_per_group
        if self.config.labels == "position":
            # Official: arange(B) + B * rank, so that places of two processes are no positives.
            return torch.arange(len(batch.images)) // m + rank() * (len(batch.images) // m)
        if m == 1 or batch.group is None:
            return batch.indices
        return merge_equal_captions(batch.group, batch.captions)

    def objectives(self, views: Views, step: Step) -> Iterator[Objective]:
        """The one loss, with what tells whether it learns."""
        labels, number = views["labels"], self.images_per_group * self.config.num_crop
        features = self.encoder(views["images"])
        z = self.project(features.pooled, number)
        loss = multi_positive_contrastive(z, labels, temperature=self.config.temperature)
        captions = len(labels) // number
        parts: dict[str, Tensor | float] = {
            "mp_loss": loss.detach(),
            "mp_rows": float(len(z)),
            # The loss of m views tends to log(m - 1), not to 0.
            "mp_above_floor": loss.detach() - math.log(max(1, number - 1)),
            "alignment": diagnostics.alignment(z, labels),
            "uniformity": diagnostics.uniformity(z),
            "without_positive": diagnostics.share_without_positive(labels),
            "equal_captions": float(captions - len(labels.unique())),
            "feature_variance": diagnostics.feature_variance(features.pooled),
        }
        if self.config.language:
            terms = self._image_text(features, views["tokens"], labels, number)
            loss = loss + self.config.text_weight * terms.mean()
            parts |= {
                "image_to_text_loss": terms[0].detach(),
                "text_to_image_loss": terms[1].detach(),
                "logit_scale": self.logit_scale.detach().exp(),
            }
        yield Objective("main", loss, parts)

    def _image_text(self, features: Features, tokens: Tokens, labels: Tensor, views: int) -> Tensor:
        """Both terms (2,) of StableRep+; view-major labels begin with one of each group, as the captions do."""
        tower, projection = self.encoder.towers()
        if projection.hidden and self.training and len(tokens.ids) == 1:
            raise MethodError(
                "Batch norm of the texts' projection needs at least two groups in a batch, but there is one.",
                "Raise the batch size, or set text_proj=linear.",
            )
        _, text = tower(tokens.ids, tokens.mask)
        image = self.project(features.pooled, views, projection.linear) if projection.hidden else projection(features)
        scale = self.logit_scale.exp()
        return image_text_terms(image, text, labels, labels[: len(text)], logit_scale=scale)

    @torch.no_grad()
    def after_step(self, step: Step) -> None:
        """Hold the image-text scale in its range."""
        if self.config.language:
            self.logit_scale.clamp_(0, MOST_LOGIT_SCALE)

    def project(self, pooled: Tensor, views: int, projector: nn.Module | None = None) -> Tensor:
        """Projected features, by default by the head of the contrast; batch statistics per view or over all."""
        projector = self.projector if projector is None else projector
        if self.config.bn == "per_view":
            return project_per_view(projector, pooled, views)
        return projected(projector, pooled)


def projected(projector: nn.Module, features: Tensor) -> Tensor:
    """Run a projector on all rows at once."""
    out: Tensor = projector(features)
    return out


def view_major(images: int, images_per_group: int) -> Tensor:
    """Indices (B,) that turn group-major images into view-major ones: all first images, all second ones ...

    >>> view_major(6, 3).tolist()
    [0, 3, 1, 4, 2, 5]
    """
    return torch.arange(images).view(-1, images_per_group).T.reshape(-1)


def merge_equal_captions(group: Tensor, captions: tuple[str, ...] | None) -> Tensor:
    """Labels (B,), the same for two groups that hold one and the same caption, in whatever process they are.

    They are the number of the caption (below 0, a hash); a group whose images have different captions (noise, or a
    layout that fixes none) keeps its own id.
    """
    if captions is None:
        return group
    held: dict[int, set[str]] = {}
    for number, caption in zip(group.tolist(), captions, strict=True):
        held.setdefault(number, set()).add(caption)
    labels = {n: _number_of(next(iter(texts))) if len(texts) == 1 else n for n, texts in held.items()}
    return torch.tensor([labels[n] for n in group.tolist()], device=group.device)


def _number_of(caption: str) -> int:
    """A number below 0, the same in every process."""
    return -1 - int.from_bytes(hashlib.blake2b(caption.encode(), digest_size=7).digest(), "little")
