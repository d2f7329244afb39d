"""PLIP (Zuo et al., NeurIPS 2024, arXiv 2305.08386).

Official code: Zplusdragon/PLIP @09890e3, which holds no pre-training. Reproduced from the paper: text-guided
colourisation, image-guided prediction of attribute phrases, identity-level contrast; from the code: the loss of that
contrast and the mask schedule. Departures stand in the card.

    L = L_ivlc(V, T) + lambda_tic * L_tic(V_grey, T) + lambda_iap * L_iap(V, T_masked)

Both towers run twice: on the image in colour and in grey, on the caption as it is and masked.
Shapes: B images with one caption each, L tokens, D width of the shared space.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from hcbench.data.augment import augment, without_colour
from hcbench.data.augment_settings import augmentation
from hcbench.data.samples import Phrase
from hcbench.errors import MethodError
from hcbench.methods.base import Batch, Context, Method, Objective, OptimiserSpec, ParamGroup, Step, Views, split_decay
from hcbench.methods.card import MethodCard
from hcbench.methods.parts import diagnostics
from hcbench.methods.parts.backbones import VitEncoder
from hcbench.methods.parts.encoder import Encoder
from hcbench.methods.parts.losses import cmpm
from hcbench.methods.parts.text import ImageProjection, TextSpec, TextTower
from hcbench.methods.parts.tokenizer import MASK, Tokenizer, Tokens
from hcbench.methods.plip.card import CARD, Config
from hcbench.methods.plip.networks import ColourDecoder, PhraseDecoder, Pyramid

_PAPER_VALUES = 3 * 256 * 128
"""Colour values of an image of the paper's size, to which the norm of the colour loss is scaled."""
_GROWTH = {"sqrt": 0.5, "linear": 1.0, "square": 2.0}


class Plip(Method):
    """Two towers, aligned by identity; each helps the other to what was taken from it."""

    card: ClassVar[MethodCard] = CARD
    config: Config
    towers_norm: Tensor

    def __init__(self, config: Config, encoder: Encoder, context: Context) -> None:
        super().__init__(config, encoder, context)
        self.augmentation = augmentation(config.augmentation)
        self.pyramid = Pyramid(encoder)
        self.tokenizer = Tokenizer.from_words(context.vocabulary, max_tokens=config.text_tokens)
        spec = TextSpec(
            dim=config.text_dim,
            layers=config.text_layers,
            heads=config.text_heads,
            mlp_dim=4 * config.text_dim,
            max_tokens=config.text_tokens,
            pool=config.text_pool,
            spread=config.spread,
        )
        pool = config.pool
        if pool == "auto":
            pool = "cls" if isinstance(encoder, VitEncoder) else "max"
        # Parts of the encoder, since its checkpoint holds both towers.
        # DEVIATION (paper 3.1): vectors of both sides are standardised. Its towers began with weights that tell images
        # and texts apart; from random ones L_ivlc makes all of them one vector within five steps and stays there.
        projection = ImageProjection(encoder.dim, config.text_dim, pool=pool, spread=config.spread)
        encoder.join_text(TextTower(spec, self.tokenizer), projection)
        if config.lambda_tic:
            self.colours = ColourDecoder(
                self.pyramid.channels,
                context.input_size,
                config.text_dim,
                dim=config.tic_dim,
                pool=config.mse_pool,
                gate=config.mse_gate,
            )
        if config.lambda_iap:
            self.phrases = PhraseDecoder(config.text_dim, config.text_heads, len(self.tokenizer))
        self.register_buffer("towers_norm", torch.zeros(2))

    def param_groups(self) -> tuple[OptimiserSpec, ...]:
        """One optimiser; the text tower has a learning rate of its own."""
        text = {id(p) for p in self.encoder.towers()[0].parameters()}
        groups: list[ParamGroup] = []
        for group in split_decay(self):
            image = [p for p in group.params if id(p) not in text]
            tower = [p for p in group.params if id(p) in text]
            groups += [replace(group, params=image)] if image else []
            groups += [replace(group, params=tower, lr_factor=self.config.text_lr_factor)] if tower else []
        return (OptimiserSpec(name="main", groups=groups),)

    def views(self, batch: Batch, generator: torch.Generator) -> Views:
        """One augmented image each, in colour and grey; its caption's tokens, and a draw for each phrase."""
        if batch.captions is None or batch.phrases is None or batch.identity is None:
            raise MethodError(
                f"{self.card.title} learns from captions, their phrases and identities, and a batch lacks some.",
                "Choose a corpus that knows them; handing them over is the loop's duty.",
            )
        images = augment(batch.images, self.augmentation, generator, size=self.context.input_size).images
        tokens = self.tokenizer(batch.captions)
        draws = phrase_draws(tokens, batch.phrases, generator)
        return {
            "images": images,
            "tokens": tokens.to(images.device),
            "draws": draws.to(images.device),
            "labels": batch.identity.to(images.device),
        }

    def objectives(self, views: Views, step: Step) -> Iterator[Objective]:
        """The weighted sum of the losses.

        Raises:
            MethodError: The batch holds one image, and batch norm would take its statistics.
        """
        images, tokens, labels = views["images"], views["tokens"], views["labels"]
        tower, projection = self.encoder.towers()
        if self.training and self.config.spread and len(images) == 1:
            raise MethodError(
                "Standardised vectors need at least two images in a batch, but there is one.",
                f"Raise the batch size, or set {self.card.name}.spread=0.",
            )
        features = self.encoder(images)
        image = projection(features)
        _, text = tower(tokens.ids, tokens.mask)
        loss = ivlc = cmpm(image, text, labels, label_norm=self.config.label_norm)
        same = labels[:, None] == labels[None, :]
        parts: dict[str, Tensor | float] = {
            "ivlc_loss": ivlc.detach(),
            **matched(image, text, same),
            "positives_per_anchor": same.sum(dim=1).float().mean(),
            "feature_variance": diagnostics.feature_variance(features.pooled),
            "image_variance": diagnostics.feature_variance(image),
            "text_variance": diagnostics.feature_variance(text),
        }
        if self.config.lambda_tic:
            tic = self._colour_loss(images, text)
            loss = loss + self.config.lambda_tic * tic
            parts |= {"tic_loss": tic.detach(), "tic_weighted": self.config.lambda_tic * tic.detach()}
        if self.config.lambda_iap:
            iap, log = self._phrase_loss(tokens, views["draws"], image, step)
            loss = loss + self.config.lambda_iap * iap
            parts |= log
        if step.index:  # norms are known when a step is done: these are the step's before, as they were clipped
            parts |= {"image_grad_norm": self.towers_norm[0].clone(), "text_grad_norm": self.towers_norm[1].clone()}
        yield Objective("main", loss, parts)

    def _colour_loss(self, images: Tensor, text: Tensor) -> Tensor:
        """L_tic: what the grey image and its text tell of the colours, normalised as the encoder reads them."""
        _, maps = self.pyramid(without_colour(images))
        return colour_distance(self.colours(maps, text), images, self.config.tic_dist)

    def _phrase_loss(
        self, tokens: Tokens, draws: Tensor, image: Tensor, step: Step
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """L_iap: the mean of the negative log-likelihoods of all masked tokens, 0 where there is none."""
        ratio = self._mask_ratio(step)
        masked = masked_tokens(draws, ratio)
        # A new tensor: the other losses must not see masked captions (anosorae/IRRA bases.py:157 lets them).
        ids = torch.where(masked, MASK, tokens.ids)
        hidden = self.encoder.towers()[0].states(ids, tokens.mask)
        logits = self.phrases(hidden, image, tokens.mask, masked).float()
        targets = tokens.ids[masked]
        loss = F.cross_entropy(logits, targets, reduction="sum") / max(1, len(targets))
        found = (logits.detach().argmax(dim=1) == targets).float()
        return loss, {
            "iap_loss": loss.detach(),
            "iap_weighted": self.config.lambda_iap * loss.detach(),
            "iap_accuracy": found.sum() / max(1, len(targets)),
            "mask_ratio": ratio,
            "masked_tokens": float(len(targets)),
        }

    def _mask_ratio(self, step: Step) -> float:
        config = self.config
        return mask_ratio(step.index, step.total, config.mask_schedule, config.mask_start, config.mask_end)

    @torch.no_grad()
    def after_step(self, step: Step) -> None:
        """Keep the gradients' norms of both towers for the log of the next step."""
        text = {id(p) for p in self.encoder.towers()[0].parameters()}
        for place, inside in enumerate((False, True)):
            side = [p.grad for p in self.encoder.parameters() if p.grad is not None and (id(p) in text) == inside]
            self.towers_norm[place] = torch.nn.utils.get_total_norm(side)

    def diagnostics(self) -> dict[str, float]:
        """What an image and its caption cost, and how far the vectors of both sides have spread."""
        tower, projection = self.encoder.towers()
        found = {
            "image_forwards": 1.0 + bool(self.config.lambda_tic),
            "text_forwards": 1.0 + bool(self.config.lambda_iap),
            "words": float(len(self.tokenizer)),
        }
        for side, norm in (("image", projection.norm), ("text", tower.norm)):
            if isinstance(norm, torch.nn.BatchNorm1d):
                found[f"{side}_spread"] = float(norm.weight.detach().abs().mean())
        return found


@torch.no_grad()
def matched(image: Tensor, text: Tensor, same: Tensor) -> dict[str, Tensor | float]:
    """How many images (B, D) find a text of their person nearest by cosine, and the reverse; `same` is bool (B, B).

    The loss alone does not tell: where nothing is learned it is about 26, and moves with the batch's matches.
    """
    cosines = F.normalize(image.float(), dim=1) @ F.normalize(text.float(), dim=1).T
    found = same.gather(1, cosines.argmax(dim=1, keepdim=True)), same.gather(0, cosines.argmax(dim=0, keepdim=True))
    return {"image_to_text_r1": found[0].float().mean(), "text_to_image_r1": found[1].float().mean()}


def mask_ratio(done: int, total: int, schedule: str, start: float, end: float) -> float:
    """Probability G that a phrase is masked: `start` at the first of `total` steps, `end` at the last (utils.py:16).

    >>> [round(mask_ratio(k, 101, "sqrt", 0.2, 0.8), 2) for k in (0, 25, 100)]
    [0.2, 0.5, 0.8]
    """
    if schedule == "const":
        return start
    return start + (end - start) * math.pow(done / max(1, total - 1), _GROWTH[schedule])


def phrase_draws(tokens: Tokens, phrases: Sequence[Sequence[Phrase]], generator: torch.Generator) -> Tensor:
    """One uniform number per phrase on all its tokens, (B, L); infinite on tokens that are in no phrase.

    The number, and not a mask, is drawn with the views: how many phrases are masked depends on the step.
    """
    most = max((len(some) for some in phrases), default=0)
    uniform = torch.rand(len(phrases), most, generator=generator)
    draws = torch.full(tokens.ids.shape, torch.inf)
    start, end = tokens.spans.unbind(dim=2)
    for row, some in enumerate(phrases):
        for number, phrase in enumerate(some):
            inside = (end[row] > start[row]) & (start[row] >= phrase.start) & (end[row] <= phrase.end)
            draws[row, inside] = uniform[row, number]
    return draws


def masked_tokens(draws: Tensor, ratio: float) -> Tensor:
    """Bool (B, L): all tokens of phrases whose draw is below `ratio`, and of the lowest one of every caption."""
    lowest = draws.amin(dim=1, keepdim=True)
    return draws.isfinite() & ((draws < ratio) | (draws == lowest))


def colour_distance(predicted: Tensor, colours: Tensor, kind: str) -> Tensor:
    """Mean distance of images (B, 3, H, W), 0-d.

    Args:
        predicted: (B, 3, H, W).
        colours: (B, 3, H, W), normalised.
        kind: "l2norm" is the Euclidean norm that each image would have at 256 x 128 pixels; "mse" and "l1" are means
            over all values.
    """
    difference = (predicted.float() - colours.float()).flatten(1)
    if kind == "l2norm":
        # A colour that is right has no direction of steepest descent: torch gives it the gradient 0.
        norms: Tensor = torch.linalg.vector_norm(difference, dim=1)
        return norms.mean() * math.sqrt(_PAPER_VALUES / difference.shape[1])
    distances = difference.square() if kind == "mse" else difference.abs()
    return distances.mean()
