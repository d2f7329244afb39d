"""The generation side: structure maps, the painter with its critic, and their losses.

Shapes: B images, S stripes with D numbers each, painted images of h x w pixels, normalised as the encoder's input is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcbench.methods.gan_invariance import losses
from hcbench.methods.gan_invariance.card import Config
from hcbench.methods.gan_invariance.networks import Decoder, Discriminator, StructureEncoder
from hcbench.methods.parts.structure.base import Subjects
from hcbench.methods.parts.structure.providers import structure_provider


@dataclass(frozen=True, slots=True)
class Identity:
    """What E_id says of images: the code F (B, S * D) and the batch-normalised vector f (B, D), not unit length."""

    code: Tensor
    vector: Tensor


Identify = Callable[[Tensor], Identity]
"""E_id of images (B, 3, any height, any width), normalised."""


@dataclass(frozen=True, slots=True)
class Generated:
    """One step's images, each (B, 3, h, w), and identities; `of_mix` is None where nothing learns from it.

    Attributes:
        real: The images at the painter's size.
        images: Painted ones by name: rec, nv, cyc, and mix where there is mixup.
        order: int64 (B,), which image is mixed into each.
        weight: Share of the image itself in the mixture.
    """

    real: Tensor
    images: dict[str, Tensor]
    of_real: Identity
    of_rec: Identity
    of_nv: Identity
    of_cyc: Identity
    of_mix: Identity | None
    order: Tensor
    weight: float


class Painter(nn.Module):
    """E_str, G and D.

    Args:
        config: Settings of the method.
        code: Length S * D of an identity code.
        ids: Names of the images of the view, for structure maps that lie on disk.
    """

    def __init__(self, config: Config, code: int, ids: Sequence[str]) -> None:
        super().__init__()
        self.config, self.size = config, (config.gan_height, config.gan_width)
        self.structure = structure_provider(config.structure, ids)
        self.structure_encoder = StructureEncoder(self.structure.channels, config.dim, config.n_res)
        self.generator = Decoder(8 * config.dim, code, config.n_res, config.mlp_dim)
        self.discriminator = Discriminator(config.dis_dim, config.dis_res)

    @torch.no_grad()
    def maps(self, subjects: Subjects, yaw: Tensor) -> Tensor:
        """Structure maps (B, C, h, w) of the bodies turned by `yaw` (B,) degrees."""
        return self.structure.render(subjects, yaw, self.size)

    def generate(
        self, images: Tensor, subjects: Subjects, yaw: Tensor, identify: Identify, *, joint: bool
    ) -> Generated:
        """All painted images of a step and what E_id says of them.

        Args:
            images: Real ones, (B, 3, H, W).
            subjects: What their structure is drawn from.
            yaw: (B,), degrees by which the bodies of x_nv are turned.
            identify: E_id.
            joint: Whether E_id learns too; else of the real images it need only say what it says, and x_mix teaches
                the painter alone.
        """
        codes = self.structure_encoder(
            torch.cat([self.maps(subjects, torch.zeros_like(yaw)), self.maps(subjects, yaw)])
        )
        own = codes[: len(yaw)]
        with torch.set_grad_enabled(torch.is_grad_enabled() and joint):
            of_real = identify(images)
        # Neither E_str nor G has batch statistics: halves of one batch are what two batches would be.
        rec, nv = self.generator(codes, of_real.code.repeat(2, 1)).chunk(2)
        # Batch norm in E_id sees every kind of image alone.
        of_rec, of_nv = identify(rec), identify(nv)
        cyc = self.generator(own, of_nv.code)
        painted, of_cyc, of_mix = {"rec": rec, "nv": nv, "cyc": cyc}, identify(cyc), None
        order, weight = torch.randperm(len(yaw)).to(own.device), 1.0
        if self.config.mixup:
            weight = losses.mixed_weight(self.config.mix_alpha)
            painted["mix"] = self.generator(own, weight * of_real.code + (1 - weight) * of_real.code[order])
            of_mix = identify(painted["mix"]) if joint else None
        return Generated(resized(images, self.size), painted, of_real, of_rec, of_nv, of_cyc, of_mix, order, weight)

    def critic_loss(self, made: Generated) -> tuple[Tensor, dict[str, Tensor]]:
        """The discriminator's loss over all kinds of painted images, and what to log."""
        fakes = [image.detach() for image in made.images.values()]
        loss, log = losses.critic_loss(self.discriminator, made.real, fakes, penalty=self.config.r1_w)
        return self.config.gan_w * loss, log

    def painting_loss(self, made: Generated) -> tuple[Tensor, dict[str, Tensor | float]]:
        """Reconstruction of images and codes, there and back, and the adversarial loss; and what to log."""
        config, code = self.config, made.of_real.code.detach()
        rec = F.l1_loss(made.images["rec"].float(), made.real.float())
        cyc = F.l1_loss(made.images["cyc"].float(), made.real.float())
        code_rec = F.l1_loss(made.of_rec.code.float(), code.float())
        code_cyc = F.l1_loss(made.of_cyc.code.float(), code.float())
        maps = self.discriminator(torch.cat(list(made.images.values())))
        # The mean over all kinds times their number: the sum of each kind's loss.
        deceit = len(made.images) * losses.adversarial(maps)
        loss = config.recon_x_w * rec + config.recon_x_cyc_w * cyc + config.recon_f_w * (code_rec + code_cyc)
        parts: dict[str, Tensor | float] = {
            "image_rec": rec.detach(),
            "image_cyc": cyc.detach(),
            "code_rec": code_rec.detach(),
            "code_cyc": code_cyc.detach(),
            "adversarial": deceit.detach(),
            # Per image and step: what is painted, and what the critic sees in its own step and in this one.
            "decodes": float(len(made.images)),
            "critic_calls": float(2 * len(made.images) + 1),
        }
        return loss + config.gan_w * deceit, parts


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images of another size, smoothed where they shrink; linear, so that normalised images stay so."""
    if tuple(images.shape[2:]) == size:
        return images
    return F.interpolate(images.float(), size, mode="bilinear", antialias=True)
