"""A picture of pseudo labels: every image beside itself with its parts in colour."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hcbench.methods.base import Figure

# Background, then parts from top to bottom; further parts begin again after the background.
_COLOURS = ((40, 40, 40), (214, 69, 65), (244, 208, 63), (52, 152, 219), (39, 174, 96), (155, 89, 182), (230, 126, 34))
_NAMES = ("red", "yellow", "blue", "green", "violet", "orange")


def label_figure(images: Tensor, maps: Tensor, kept: Tensor, *, pairs: int = 8, opacity: float = 0.55) -> Figure:
    """Lay images and their label maps out in pairs.

    Args:
        images: uint8 (N, 3, H, W), RGB, N > 0.
        maps: int64 (N, h, w), 0 background, 1..K parts.
        kept: bool (N,); the second of a pair is only darkened where an image was not kept.
        pairs: Pairs in a row.
        opacity: Of the colours, 0..1.
    """
    count, _, height, width = images.shape
    numbers = torch.where(maps > 0, (maps - 1) % (len(_COLOURS) - 1) + 1, 0)
    colours = torch.tensor(_COLOURS, dtype=torch.float32, device=images.device)[numbers].permute(0, 3, 1, 2)
    colours = F.interpolate(colours, (height, width), mode="nearest")
    colours = torch.where(kept[:, None, None, None], colours, torch.zeros(()))
    painted = torch.lerp(images.float(), colours, opacity).round().to(torch.uint8)
    pairs = min(pairs, count)
    cells = torch.stack([images, painted], dim=1)
    blank = cells.new_full((-count % pairs, *cells.shape[1:]), 255)
    parts = int(maps.max())
    return Figure(
        tiles=torch.cat([cells, blank]).view(-1, 2 * pairs, *images.shape[1:]),
        columns=("image", "parts") * pairs,
        note=f"Pseudo labels from top to bottom: {', '.join(_NAMES[:parts])}; background grey. {int(kept.sum())} of "
        f"{count} images are kept; the others are only darkened and teach nothing of parts.",
    )
