"""The parsing head: a 1x1 convolution on the token grid, enlarged bilinearly to the mask.

Shape suffixes: S heads side by side, B batch, D channels, C classes, h, w token grid, H, W mask.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hcbench.benchmarks.parsing.classes import IGNORED


def enlarging(cells: int, pixels: int) -> Tensor:
    """Weights (cells, pixels) of bilinear enlargement along one axis, borders aligned, as `F.interpolate` has them."""
    return F.interpolate(torch.eye(cells)[None], size=pixels, mode="linear", align_corners=False)[0]


def token_logits(grid_BDhw: Tensor, weight_SDC: Tensor, bias_SC: Tensor) -> Tensor:
    """Class logits of every token by every head, (S, B, C, h, w)."""
    batch, channels, height, width = grid_BDhw.shape
    x_BND = grid_BDhw.reshape(batch, channels, -1).transpose(1, 2).reshape(-1, channels)
    logits = torch.matmul(x_BND, weight_SDC) + bias_SC[:, None]
    return logits.view(len(weight_SDC), batch, height, width, -1).permute(0, 1, 4, 2, 3)


def pixel_logits(tokens_SBChw: Tensor, rows_hH: Tensor, columns_wW: Tensor) -> Tensor:
    """Logits of pixels (S, B, C, H, W), by the columns of `enlarging` of those rows and columns that are wanted.

    Convolution and enlargement are linear, so the order in which they come does not matter; tokens are fewer.
    """
    wide: Tensor = tokens_SBChw @ columns_wW
    return (wide.transpose(-1, -2) @ rows_hH).transpose(-1, -2)


def pixel_classes(logits_BCHW: Tensor) -> Tensor:
    """The likeliest class of every pixel, uint8 (B, H, W)."""
    return logits_BCHW.max(dim=1).indices.to(torch.uint8)  # argmax is fifteen times slower on a processor


def pixel_loss(logits_SBCHW: Tensor, target_BHW: Tensor) -> Tensor:
    """Cross-entropy per pixel that counts, averaged over pixels and summed over heads."""
    heads = len(logits_SBCHW)
    target = target_BHW.long().expand(heads, *target_BHW.shape).flatten(0, 1)
    loss = F.cross_entropy(logits_SBCHW.flatten(0, 1), target, ignore_index=IGNORED, reduction="sum")
    return loss / (target_BHW != IGNORED).sum().clamp_min(1)
