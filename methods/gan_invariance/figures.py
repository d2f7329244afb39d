"""Pictures of what the generator paints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from hcbench.data.augment import IMAGENET_MEAN, IMAGENET_STD
from hcbench.methods.base import Batch, Figure
from hcbench.methods.gan_invariance.painting import resized
from hcbench.methods.parts.structure.base import Subjects

if TYPE_CHECKING:
    from hcbench.methods.gan_invariance.method import GanInvariance

ROWS: Final = 8
"""Images that are shown."""
_HALF: Final = 0.5


def sheets(method: GanInvariance, batch: Batch, generator: torch.Generator) -> dict[str, Figure]:
    """Pictures by name.

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
    columns = [real, *painted, back, mix]
    turns = [f"{angle:g}°" for angle in angles[1:]]
    greys = [(one[:, -1:].repeat(1, 3, 1, 1) + 1) / 2 for one in maps]
    return {
        "generated": Figure(
            tiles=_tiles([denormalised(column) for column in columns]),
            columns=("image", "rec", *turns, "cyc", "mix"),
            note=f"rec: painted again; then turned; cyc: turned by {turns[0]} and back; mix: half the looks of the "
            "next row (the last row: of the first).",
        ),
        "structure": Figure(tiles=_tiles(greys), columns=("as it is", *turns), note="What the generator paints on."),
    }


def denormalised(images: Tensor) -> Tensor:
    """Images (B, 3, h, w) from the encoder's normalisation to 0 .. 1."""
    mean, std = (torch.tensor(values).to(images)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (images * std + mean).clamp(0, 1)


def _first(batch: Batch, count: int) -> Batch:
    joints = None if batch.joints is None else batch.joints[:count]
    return Batch(images=batch.images[:count], indices=batch.indices[:count], joints=joints)


def _tiles(columns: list[Tensor]) -> Tensor:
    """Columns of images (B, 3, h, w) in 0 .. 1 as uint8 (B, columns, 3, h, w)."""
    return (torch.stack(columns, dim=1) * 255).round().to(torch.uint8)
