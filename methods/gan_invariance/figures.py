"""Pictures of what the generator paints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from hcbench.data.augment import IMAGENET_MEAN, IMAGENET_STD
from hcbench.methods.base import Batch
from hcbench.methods.gan_invariance.painting import resized
from hcbench.methods.parts.structure.base import Subjects

if TYPE_CHECKING:
    from hcbench.methods.gan_invariance.method import GanInvariance

ROWS: Final = 8
"""Images that are shown."""
SHOWN: Final = 192
"""Painted images are enlarged by a whole number, to about this height in pixels."""
_EDGE, _GAP = 2, 10
"""White pixels between images, and between the kinds of images."""
_HALF: Final = 0.5


def grid(method: GanInvariance, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Pictures by name, uint8 (3, H, W).

    "generated" has a row per image, up to `ROWS`: the image | x_rec | x_nv at every angle | x_cyc over the first
    angle | x_mix with half of the looks of the next row. "structure" has the maps (last channel) that they were
    painted on: own view | every angle.
    """
    count = min(ROWS, len(batch.images))
    angles, painter = [0, *method.turns.tolist()], method.painter
    batch_mode = method.training
    method.eval()
    try:
        with torch.no_grad():
            views = method.views(_first(batch, count), generator)
            subjects: Subjects = views["subjects"]
            maps = [painter.maps(subjects, torch.full((count,), float(angle)).to(views["yaw"])) for angle in angles]
            codes = [painter.structure_encoder(one) for one in maps]
            code = method.identify(views["real"]).code
            painted = [painter.generator(one, code) for one in codes]
            turned = method.identify(painted[1]).code
            mixed = _HALF * code + (1 - _HALF) * code.roll(-1, dims=0)
            back, mix = (painter.generator(codes[0], one) for one in (turned, mixed))
            real = resized(views["real"], painter.size)
    finally:
        method.train(batch_mode)
    kinds = [[real], painted[:1], painted[1:], [back], [mix]]
    greys = [(one[:, -1:].repeat(1, 3, 1, 1) + 1) / 2 for one in maps]
    return {
        "generated": _sheet([[denormalised(column) for column in kind] for kind in kinds]),
        "structure": _sheet([greys[:1], greys[1:]]),
    }


def denormalised(images: Tensor) -> Tensor:
    """Images (B, 3, h, w) from the encoder's normalisation to 0 .. 1."""
    mean, std = (torch.tensor(values).to(images)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (images * std + mean).clamp(0, 1)


def _first(batch: Batch, count: int) -> Batch:
    joints = None if batch.joints is None else batch.joints[:count]
    return Batch(images=batch.images[:count], indices=batch.indices[:count], joints=joints)


def _sheet(kinds: list[list[Tensor]]) -> Tensor:
    """Columns of images (B, 3, h, w) in 0 .. 1 side by side, rows below each other, white between them."""
    blocks = []
    for columns in kinds:
        framed = [F.pad(_enlarged(column), (0, _EDGE, 0, _EDGE), value=1.0) for column in columns]
        blocks.append(F.pad(torch.cat(framed, dim=3), (0, _GAP), value=1.0))
    rows = torch.cat(blocks, dim=3)[..., : -_GAP - _EDGE]
    return (torch.cat(list(rows), dim=1)[:, :-_EDGE] * 255).round().to(torch.uint8).cpu()


def _enlarged(images: Tensor) -> Tensor:
    """Every pixel as a square of pixels."""
    factor = max(1, round(SHOWN / images.shape[2]))
    return images.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
