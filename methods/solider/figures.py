"""A picture of pseudo labels: every image beside itself with its parts in colour."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Background, then parts from top to bottom; further parts begin again after the background.
_COLOURS = ((40, 40, 40), (214, 69, 65), (244, 208, 63), (52, 152, 219), (39, 174, 96), (155, 89, 182), (230, 126, 34))
_GAP = 4


def label_grid(images: Tensor, maps: Tensor, kept: Tensor, *, columns: int = 8, opacity: float = 0.55) -> Tensor:
    """Lay images and their label maps out in pairs.

    Args:
        images: uint8 (N, 3, H, W), RGB, N > 0.
        maps: int64 (N, h, w), 0 background, 1..K parts.
        kept: bool (N,); the second of a pair is only darkened where an image was not kept.
        columns: Pairs in a row.
        opacity: Of the colours, 0..1.

    Returns:
        uint8 (3, rows, columns) in pixels, on white.
    """
    count, _, height, width = images.shape
    numbers = torch.where(maps > 0, (maps - 1) % (len(_COLOURS) - 1) + 1, 0)
    colours = torch.tensor(_COLOURS, dtype=torch.float32, device=images.device)[numbers].permute(0, 3, 1, 2)
    colours = F.interpolate(colours, (height, width), mode="nearest")
    colours = torch.where(kept[:, None, None, None], colours, torch.zeros(()))
    painted = torch.lerp(images.float(), colours, opacity).round().to(torch.uint8)
    pairs = F.pad(torch.cat([images, painted], dim=3), (_GAP, _GAP, _GAP, _GAP), value=255)
    columns = min(columns, count)
    blank = pairs.new_full((-count % columns, *pairs.shape[1:]), 255)
    cells = torch.cat([pairs, blank]).view(-1, columns, *pairs.shape[1:])
    rows, columns, channels, high, wide = cells.shape
    return cells.permute(2, 0, 3, 1, 4).reshape(channels, rows * high, columns * wide)
