"""SOLIDER (Chen et al., CVPR 2023, arXiv 2303.17602) around DINO (Caron et al., ICCV 2021, arXiv 2104.14294).

Official code: tinyvision/SOLIDER @b8779cc, main_solider.py 356-449. Reproduced: multi-crop self-distillation between a
student and its moving average, the semantic controller, pseudo labels of body parts from the teacher's tokens at
lambda = 1, their prediction from intact views and from views with one part erased. Departures stand in the card.

    L = L_dino + semantic_loss * mean(lambda * CE(part head(tokens), pseudo labels))

DINO is semantic_loss = 0: a card over this class. The encoder that is saved is the teacher's.
Shapes: B images, 2B global crops (crop-major), n kept ones of them, h x w tokens, K parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcbench.data.augment import IMAGENET_MEAN, IMAGENET_STD, augment
from hcbench.data.augment_settings import augmentation
from hcbench.errors import MethodError
from hcbench.methods.base import (
    Batch,
    Context,
    Figure,
    Method,
    Objective,
    OptimiserSpec,
    Stage,
    Step,
    Views,
    split_decay,
)
from hcbench.methods.card import MethodCard
from hcbench.methods.parts import diagnostics, losses
from hcbench.methods.parts.backbones import VitEncoder
from hcbench.methods.parts.ema import cosine_momentum, follow, frozen_copy
from hcbench.methods.parts.encoder import Encoder, Features
from hcbench.methods.parts.heads import DinoHead
from hcbench.methods.parts.multicrop import crop_views, half_size, multicrop
from hcbench.methods.rules import check_config
from hcbench.methods.solider.card import CARD, Config
from hcbench.methods.solider.figures import label_figure
from hcbench.methods.solider.labels import PartLabels, part_labels
from hcbench.methods.solider.networks import KNOB, ControlledEncoder, StageFeatures, controlled
from hcbench.methods.solider.spread import koleo
from hcbench.methods.solider.targets import log_targets

SEMANTIC = "solider"
"""Name of the stage with the semantic loss."""
_MOST_PICTURES = 32


class Solider(Method):
    """Self-distillation with pseudo labels of body parts.

    `encoder` is the teacher's: what is saved, scored and looked at. `student` is what the optimiser trains.
    """

    card: ClassVar[MethodCard] = CARD
    config: Config
    center: Tensor

    def __init__(self, config: Config, encoder: Encoder, context: Context) -> None:
        check_config(self.card.name, self.card.rules, config)  # the encoder is built by some of them
        self.semantic = config.semantic_loss > 0
        if self.semantic:
            encoder = controlled(encoder, default_lambda=config.default_lambda, start=config.controller_start)
        super().__init__(config, frozen_copy(encoder), context)
        self.student = encoder
        self.head = _head(config, encoder.dim, config.head_outputs, norm=config.head_norm)
        self.teacher_head = frozen_copy(self.head)
        self.register_buffer("center", torch.zeros(config.head_outputs))
        if self.semantic:
            self.map_index, width, grid = _labelled_map(encoder, config.label_tokens)
            if grid[0] * grid[1] <= config.parts:
                raise MethodError(
                    f"{self.card.title} finds {config.parts} parts and a background among tokens, but an image of "
                    f"{context.input_size[0]}x{context.input_size[1]} has {grid[0]}x{grid[1]} tokens.",
                    "Raise the input size or choose a backbone with smaller patches.",
                )
            self.part_norm = nn.LayerNorm(width) if self.map_index is not None else nn.Identity()
            self.part_head = _head(config, width, config.parts + 1).requires_grad_(config.train_part_head)
        self.crops = multicrop(config.augmentation)
        self.local_size = half_size(context.input_size, _unit(encoder))

    def stages(self) -> tuple[Stage, ...]:
        """Self-distillation alone, then with semantics."""
        first = self.config.dino_fraction if self.semantic else 1.0
        stages = (Stage("dino", first), Stage(SEMANTIC, 1 - first))
        return tuple(stage for stage in stages if stage.share > 0)

    def param_groups(self) -> tuple[OptimiserSpec, ...]:
        """One optimiser; the controller has a learning rate of its own."""
        controller = self.student.controller if isinstance(self.student, ControlledEncoder) else nn.Identity()
        own = {id(p) for p in controller.parameters()}
        groups = [replace(g, params=[p for p in g.params if id(p) not in own]) for g in split_decay(self)]
        factor = self.config.controller_lr
        # Weight decay pulls by the learning rate, and is to pull as it does elsewhere.
        groups += [
            replace(g, lr_factor=factor, weight_decay_factor=g.weight_decay_factor / factor)
            for g in split_decay(controller)
        ]
        return (OptimiserSpec(name="main", groups=groups, restarts=self.config.restart),)

    def views(self, batch: Batch, generator: torch.Generator) -> Views:
        """Crops of each image, its lambda, and the number of the part that this step erases."""
        full, small = crop_views(
            batch.images,
            self.crops,
            generator,
            size=self.context.input_size,
            local_size=self.local_size,
            local_crops=self.config.local_crops,
        )
        lam = (torch.rand(len(batch.images), generator=generator) < self.config.lambda_share).float()
        part = int(torch.randint(1, self.config.parts + 1, (), generator=generator))
        return {"images": full, "locals": small, "lambda": lam.to(full.device), "part": part}

    def objectives(self, views: Views, step: Step) -> Iterator[Objective]:
        """The weighted sum of both losses."""
        full = views["images"]
        # As released, the controller is there from the start, at lambda = 0.
        lam = views["lambda"] if step.stage == SEMANTIC else torch.zeros_like(views["lambda"])
        with torch.no_grad():
            seen = self.encode(self.encoder, full, lam)
            answers = self.teacher_head(seen.pooled)
        intact = self.encode(self.student, full, lam)
        loss, parts = self._dino_loss(intact, views["locals"], lam, answers, step)
        if self.config.koleo:
            spread = torch.stack([koleo(crop) for crop in intact.pooled.chunk(2)]).mean()
            loss, parts = loss + self.config.koleo * spread, {**parts, "koleo": spread.detach()}
        if step.stage == SEMANTIC:
            labels = self.labels(self.semantic_map(full, seen, lam.repeat(2)))
            semantic, log = self._semantic_loss(full, intact, labels, lam.repeat(2), views["part"])
            loss, parts = loss + self.config.semantic_loss * semantic, {**parts, **log}
        yield Objective("main", loss, parts)

    def after_step(self, step: Step) -> None:
        """The teacher follows."""
        momentum = self.momentum(step)
        follow(self.encoder, self.student, momentum)
        follow(self.teacher_head, self.head, momentum)

    def momentum(self, step: Step) -> float:
        """Of the teacher's weights; each stage begins anew, as the two official runs do.

        The second stage would otherwise not reach the teacher, whose momentum is near 1 by then.
        """
        return cosine_momentum(self.config.teacher_momentum, step.stage_index, step.stage_total)

    def encode(self, encoder: Encoder, images: Tensor, lam: Tensor) -> Features:
        """Encode crops (c * B, 3, H, W), crop-major, each image with its lambda (B,) where there is a controller."""
        knobs = {KNOB: lam.repeat(len(images) // len(lam))} if self.semantic else {}
        features: Features = encoder(images, **knobs)
        return features

    def part_map(self, features: Features) -> Tensor:
        """The map (N, C, h, w) that pseudo labels are made of."""
        if self.map_index is not None and isinstance(features, StageFeatures):
            return features.maps[self.map_index]
        return features.grid

    @torch.no_grad()
    def semantic_map(self, images: Tensor, seen: Features | None = None, lam: Tensor | None = None) -> Tensor:
        """The teacher's map (N, C, h, w) of normalised images (N, 3, H, W) at lambda = 1.

        What the teacher has `seen` of them at `lam` (N,) is not computed again where that was 1.
        """
        # DEVIATION (tinyvision/SOLIDER main_solider.py 356-372): there over all images, whatever was seen.
        if seen is None or lam is None:
            return self.part_map(self.encode(self.encoder, images, torch.ones(len(images), device=images.device)))
        out, rest = self.part_map(seen), (lam < 1).nonzero()[:, 0]
        return out.index_copy(0, rest, self.semantic_map(images[rest])) if len(rest) else out

    @torch.no_grad()
    def labels(self, tokens: Tensor, generator: torch.Generator = torch.default_generator) -> PartLabels:
        """Pseudo labels of the map (N, C, h, w) that `semantic_map` gives."""
        return part_labels(tokens, self.config.parts, generator, steps=self.config.kmeans_steps)

    def _dino_loss(
        self, intact: Features, small: Tensor, lam: Tensor, answers: Tensor, step: Step
    ) -> tuple[Tensor, dict[str, Any]]:
        """Self-distillation; the centre moves on.

        Args:
            intact: The student's features of the global crops.
            small: Local crops (c * B, 3, h, w).
            lam: float (B,).
            answers: Outputs of the teacher's head for the global crops (2B, prototypes).
            step: Where the loop stands.
        """
        config = self.config
        pooled = [intact.pooled, *([self.encode(self.student, small, lam).pooled] if len(small) else [])]
        if config.head_norm and min(len(vectors) for vectors in pooled) < 2:
            raise MethodError(
                "Batch norm in the head needs two crops of a size in a batch, but there is one.",
                "Raise the batch size, or set head_norm=false.",
            )
        frozen = step.index < config.freeze_last_layer * step.total
        # Each size of crop on its own: batch norm would see their difference first, which the teacher never sees.
        outputs = torch.cat([self.head(vectors, frozen=frozen) for vectors in pooled])
        targets = log_targets(answers, self.center, temperature=config.teacher_temp, centering=config.centering)
        self.center.copy_(losses.update_center(self.center, answers.float(), momentum=config.center_momentum))
        # The targets are ready: the softmax of their logarithms gives them back.
        loss = losses.dino(
            outputs,
            targets,
            torch.zeros_like(self.center),
            ncrops=2 + config.local_crops,
            student_temp=config.student_temp,
            teacher_temp=1.0,
        )
        entropy = torch.special.entr(targets.exp()).sum(dim=1).mean()
        return loss, {
            "dino_loss": loss.detach(),
            # The loss tends to the entropy of its targets, which moves, not to 0.
            "dino_above_floor": loss.detach() - entropy,
            "momentum": self.momentum(step),
            "mean_lambda": lam.mean(),
            "feature_variance": diagnostics.feature_variance(intact.pooled),
            # What tells collapse: the entropy of targets, prototypes that a batch uses, the norm of the centre.
            "teacher_entropy": entropy,
            "prototypes_in_use": float(len(targets.argmax(dim=1).unique())),
            "prototypes_rows": float(len(targets)),
            "center_norm": self.center.norm(),
        }

    def _semantic_loss(
        self, full: Tensor, intact: Features, labels: PartLabels, lam: Tensor, part: int
    ) -> tuple[Tensor, dict[str, Any]]:
        """Cross-entropy of pseudo labels, times lambda, over the kept views intact and with one part erased.

        Args:
            full: Global crops (2B, 3, H, W).
            intact: The student's features of them.
            labels: Their pseudo labels.
            lam: float (2B,).
            part: The part that is erased.
        """
        log = _describe(labels, self.config.parts)
        # DEVIATION (tinyvision/SOLIDER main_solider.py 395-440): views with lambda = 0, which add nothing, are not run.
        rows = (labels.kept & (lam > 0)).nonzero()[:, 0]
        if len(rows) == 0:
            return torch.zeros((), device=full.device), {"semantic_loss": 0.0, **log}
        truth, weight = labels.maps[rows], lam[rows]
        erased = self.encode(self.student, erase_part(full[rows], truth, part), weight)
        tokens = torch.cat([self.part_map(erased), self.part_map(intact)[rows]]).permute(0, 2, 3, 1)
        logits = self.part_head(self.part_norm(tokens)).float() / self.config.part_temperature
        target = truth.repeat(2, 1, 1)
        error = F.cross_entropy(logits.flatten(0, 2), target.flatten(), reduction="none").view(target.shape)
        # The mean is over all kept views: those of lambda = 0 are counted, as 0.
        loss = (error.mean(dim=(1, 2)) * weight.repeat(2)).sum() / (2 * labels.kept.sum())
        right = (logits.argmax(dim=3) == target).float()
        log["token_accuracy"] = right.mean()
        hidden = target[: len(rows)] == part
        if hidden.any():
            log["erased_accuracy"] = right[: len(rows)][hidden].mean()
        return loss, {"semantic_loss": loss.detach(), **log}

    def diagnostics(self) -> dict[str, float]:
        """How far the saved encoder's knob moves features; see `Controller.reach`."""
        return {"lambda_reach": self.encoder.controller.reach()} if isinstance(self.encoder, ControlledEncoder) else {}

    @torch.no_grad()
    def figures(self, batch: Batch, generator: torch.Generator) -> dict[str, Figure]:
        """Pseudo labels of the images, as they are."""
        if not self.semantic:
            return {}
        images = batch.images[:_MOST_PICTURES]
        pixels = augment(images, augmentation("none"), generator, size=self.context.input_size).images
        labels = self.labels(self.semantic_map(pixels), generator)
        mean, std = (torch.tensor(x, device=pixels.device)[:, None, None] for x in (IMAGENET_MEAN, IMAGENET_STD))
        shown = ((pixels * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
        return {"pseudo_labels": label_figure(shown, labels.maps, labels.kept)}


def erase_part(images: Tensor, maps: Tensor, part: int) -> Tensor:
    """Set the pixels of one part to 0, the mean colour; images (n, 3, H, W), maps int64 (n, h, w)."""
    visible = (maps != part).to(images.dtype)[:, None]
    return images * F.interpolate(visible, images.shape[-2:], mode="nearest")


def _describe(labels: PartLabels, parts: int) -> dict[str, Any]:
    """Shares of kept views and of foreground tokens, and the entropy of the label's distribution, nats."""
    counts = torch.bincount(labels.maps[labels.kept].flatten(), minlength=parts + 1).float()
    return {
        "kept": labels.kept.float().mean(),
        "foreground": labels.foreground.float().mean(),
        "label_entropy": torch.special.entr(counts / counts.sum().clamp(min=1)).sum(),
    }


def _labelled_map(encoder: Encoder, tokens: int) -> tuple[int | None, int, tuple[int, int]]:
    """The map that labels are made of: its number (None for the last one, normed), channels, and rows and columns.

    The deepest map with at least `tokens` tokens; the finest where none has as many.
    """
    # DEVIATION (tinyvision/SOLIDER main_solider.py 356-372): always the last map; 128x64 pixels leave 8 tokens.
    places = encoder.grid_size[0] * encoder.grid_size[1]
    if isinstance(encoder, VitEncoder) or places >= tokens:
        return None, encoder.dim, encoder.grid_size
    was_training = encoder.training
    with torch.no_grad():
        features = encoder.eval()(torch.zeros(1, 3, *encoder.input_size, device=encoder.device))
    encoder.train(was_training)
    shapes = [(int(m.shape[1]), (int(m.shape[2]), int(m.shape[3]))) for m in features.maps]
    enough = [i for i, (_, (rows, columns)) in enumerate(shapes) if rows * columns >= tokens]
    index = enough[-1] if enough else 0
    return (index, *shapes[index])


def _unit(encoder: Encoder) -> tuple[int, int]:
    """Pixels that the sides of a crop must be multiples of."""
    if isinstance(encoder, VitEncoder):
        return encoder.patch_size
    patch = getattr(getattr(encoder, "backbone", None), "patch_embed", None)
    return tuple(patch.patch_size) if patch is not None else (1, 1)


def _head(config: Config, dim: int, outputs: int, *, norm: bool = False) -> DinoHead:
    return DinoHead(dim, hidden=config.head_hidden, bottleneck=config.head_bottleneck, outputs=outputs, norm=norm)
