"""GenPoCCL (Inayoshi et al., arXiv 2404.03256) around HAP (Yuan et al., NeurIPS 2023, arXiv 2310.20695).

Official code: none for GenPoCCL; junkunyuan/HAP @e86cd1c for the core. Reproduced from it: two masked views of
one augmented image, part-guided masking, the decoder and its normalised-pixel target, the instance-level
loss. Reconstructed: the [POSE] token and the multi-positive loss on it. Departures stand in the card.

    L = L_rec + gamma_align * L_align([CLS]) + gamma_mp * L_mp([POSE])

HAP is gamma_mp = 0 (no [POSE] token), MAE is both gammas 0 and one random mask: cards over this class.
Shapes: B images, N patches, K visible ones, P prefix tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from hcbench.data.augment import augment
from hcbench.data.augment_settings import augmentation
from hcbench.errors import ConfigError, MethodError
from hcbench.methods.base import Batch, Context, Method, Objective, Step, Views
from hcbench.methods.card import MethodCard
from hcbench.methods.genpoccl.card import CARD, Config
from hcbench.methods.genpoccl.networks import Decoder, normalised_patches, reconstruction
from hcbench.methods.parts import diagnostics
from hcbench.methods.parts.backbones import VitEncoder
from hcbench.methods.parts.encoder import Encoder
from hcbench.methods.parts.heads import Projector
from hcbench.methods.parts.losses import instance_alignment, multi_positive_contrastive
from hcbench.methods.parts.masking import (
    Mask,
    block_scores,
    mask_lowest,
    part_members,
    part_scores,
    random_scores,
    visible_count,
)


class GenPoCCL(Method):
    """Masked auto-encoding with instance-level and pose-level contrast."""

    card: ClassVar[MethodCard] = CARD
    config: Config
    encoder: VitEncoder

    def __init__(self, config: Config, encoder: Encoder, context: Context) -> None:
        super().__init__(config, encoder, context)
        if not isinstance(encoder, VitEncoder):
            raise MethodError(
                f"{self.card.title} hides patches from the encoder, which this backbone cannot leave out.",
                "Choose a ViT.",
            )
        _check(config, self.card.name)
        if config.gamma_mp and "pose" not in encoder.spec.extra_tokens:
            raise MethodError(
                f"{self.card.title} needs a token named 'pose', but the encoder has {encoder.spec.extra_tokens}.",
                "Build the encoder with the method's extra_tokens.",
            )
        self.augmentation = augmentation(config.augmentation)
        self.decoder = Decoder(
            encoder.dim,
            encoder.num_prefix,
            encoder.grid_size,
            encoder.patch_size,
            dim=config.decoder_dim,
            depth=config.decoder_depth,
            heads=config.decoder_heads,
        )
        mlp = config.gamma_mp and config.pose_proj == "mlp"
        self.pose_projector = Projector(encoder.dim, config.projector) if mlp else torch.nn.Identity()

    @classmethod
    def extra_tokens(cls, config: Config) -> tuple[str, ...]:
        """[POSE], where its loss is used."""
        return ("pose",) if config.gamma_mp else ()

    def views(self, batch: Batch, generator: torch.Generator) -> Views:
        """One augmented image each, and `num_masks` masks of it."""
        groups = batch.group if self.config.group_flip else None
        augmented = augment(
            batch.images,
            self.augmentation,
            generator,
            size=self.context.input_size,
            keypoints=batch.keypoints,
            flip_groups=groups,
        )
        members = self._members(augmented.keypoints)
        device = batch.images.device
        masks = [self._mask(len(batch.images), members, generator) for _ in range(self.config.num_masks)]
        return {
            "images": augmented.images,
            "masks": [mask.to(device) for mask in masks],
            "labels": None if batch.group is None else batch.group.to(device),
            "part_masked": None if members is None else _share_hidden(members, masks),
        }

    def _members(self, keypoints: Tensor | None) -> Tensor | None:
        if self.config.mask != "part":
            return None
        if keypoints is None:
            raise MethodError(
                f"{self.card.title} hides body parts first, but the corpus knows no keypoints.",
                f"Choose a corpus with keypoints, or set {self.card.name}.mask=block.",
            )
        return part_members(keypoints.cpu(), self.encoder.grid_size, self.encoder.patch_size)

    def _mask(self, batch: int, members: Tensor | None, generator: torch.Generator) -> Mask:
        """One mask per image (HAP random_masking 151-191)."""
        grid, ratio = self.encoder.grid_size, self.config.mask_ratio
        patches = grid[0] * grid[1]
        scores = random_scores(batch, patches, generator)
        if self.config.mask != "random":
            hidden = patches - visible_count(patches, ratio)
            scores += block_scores(batch, grid, hidden, generator)
        if members is not None:
            scores += part_scores(members, generator, count=self.config.part_count)
        return mask_lowest(scores, ratio)

    def objectives(self, views: Views, step: Step) -> Iterator[Objective]:
        """The weighted sum of the losses."""
        images, masks = views["images"], views["masks"]
        tokens = self._encode(images, masks)
        target = normalised_patches(images, self.encoder.patch_size)
        rec = torch.stack(
            [reconstruction(self.decoder(t, m), target, m.hidden) for t, m in zip(tokens, masks, strict=True)]
        ).mean()
        loss = rec
        parts: dict[str, Any] = {
            "rec_loss": rec.detach(),
            "mask_ratio": masks[0].hidden.float().mean(),
            "cls_variance": diagnostics.feature_variance(tokens[0][:, 0]),
            "cls_norm": tokens[0][:, 0].detach().float().norm(dim=1).mean(),
        }
        if views["part_masked"] is not None:
            parts["part_masked"] = views["part_masked"]
        if self.config.gamma_align:
            align = instance_alignment(tokens[0][:, 0], tokens[1][:, 0], temperature=self.config.align_temperature)
            loss = loss + self.config.gamma_align * align
            parts["align_loss"] = align.detach()
        if self.config.gamma_mp:
            mp, log = self._pose_loss(tokens, views["labels"])
            loss = loss + self.config.gamma_mp * mp
            parts |= log
        yield Objective("main", loss, parts)

    def _encode(self, images: Tensor, masks: list[Mask]) -> list[Tensor]:
        """Normed tokens (B, P + K, D) of each masked view; one pass, since views do not see each other."""
        keep = torch.cat([mask.keep for mask in masks])
        tokens = self.encoder.encode_visible(images, keep)
        return list(tokens.chunk(len(masks)))

    def _pose_loss(self, tokens: list[Tensor], labels: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """L_mp on [POSE], per masked view or jointly, with what tells whether it learns."""
        place = 1 + self.encoder.spec.extra_tokens.index("pose")
        pose = [t[:, place] for t in tokens]
        projected: list[Tensor] = [self.pose_projector(p) for p in pose]
        temperature, members = self.config.mp_temperature, self.context.images_per_group
        if self.config.mp_views == "joint":
            projected, labels = [torch.cat(projected)], labels.repeat(len(tokens))
            members *= len(tokens)
        losses = [multi_positive_contrastive(p, labels, temperature=temperature) for p in projected]
        mp = torch.stack(losses).mean()
        log = {
            "mp_loss": mp.detach(),
            "mp_rows": float(len(projected[0])),
            "mp_above_floor": mp.detach() - math.log(max(1, members - 1)),
            "alignment": diagnostics.alignment(projected[0], labels),
            "uniformity": diagnostics.uniformity(projected[0]),
            "without_positive": diagnostics.share_without_positive(labels),
            "pose_variance": diagnostics.feature_variance(pose[0]),
            "pose_norm": pose[0].detach().float().norm(dim=1).mean(),
        }
        return mp, log


def _share_hidden(members: Tensor, masks: list[Mask]) -> float:
    """Share of body-part patches (B, 6, N) that the masks hide; NaN where no part is visible."""
    body = members.any(dim=1)
    hidden = torch.stack([(mask.hidden & body).sum() for mask in masks]).float().mean()
    return float(hidden / body.sum())


def _check(config: Config, name: str) -> None:
    if config.num_masks < (2 if config.gamma_align else 1):
        raise ConfigError(
            f"{name}: num_masks is {config.num_masks}.", "The instance-level loss needs 2 masked views, MAE needs 1."
        )
