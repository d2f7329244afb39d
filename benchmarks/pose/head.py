"""The heat-map head: two 3x3 convolutions on the token grid, a deconvolution, spatial-softmax cross-entropy.

Shape suffixes: B batch, D channels of the encoder, J joints, h, w token grid, H, W heat map.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hcbench.benchmarks.heads import Standardiser

STRIDE = 4
"""Input pixels per heat-map cell, as in HRNet and ViTPose."""
TOKEN = 16
"""Input pixels per cell of the grid that the head works on; other token grids are resampled to it."""
CELLS = TOKEN // STRIDE
"""Heat-map cells per token along each axis: r in shapes."""
SIGMA = 1.0
"""Width of the target in heat-map cells; 2 is usual on 64 x 48, ours are half as many."""


class HeatmapHead(nn.Module):
    """Frozen token grid to joint heat maps; the last layer unfolds each token into TOKEN/STRIDE squared cells.

    Convolutions work at token resolution, where they are cheap. A learned map of positions stands behind the first
    one, because the features of a control (raw pixels) do not know where they are.

    Args:
        channels: Channels D of the standardised grid.
        joints: Number of joints.
        grid_size: Rows h and columns w of the grid.
        width: Channels inside the head.
        generator: Source of the initial weights.
    """

    def __init__(
        self, channels: int, joints: int, grid_size: tuple[int, int], *, width: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.grid_size = grid_size
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        self.position = nn.Parameter(torch.zeros(1, width, *self.grid_size))
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.unfold = nn.Conv2d(width, joints * CELLS**2, 1)
        with torch.no_grad():
            for layer in (self.conv1, self.conv2, self.unfold):
                fan_in = layer.weight[0].numel()
                gain = 0.1 if layer is self.unfold else math.sqrt(2.0)  # a small last layer starts at flat maps
                layer.weight.normal_(0.0, gain / math.sqrt(fan_in), generator=generator)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, grid_BDhw: Tensor) -> Tensor:
        """Logits (B, J, r*r, h, w) of the place of each joint: cell (i, j) of every token in dimension 2, row-major.

        Training takes them as they are; `heatmaps` puts the cells in their places.
        """
        x = F.gelu(self.conv1(grid_BDhw) + self.position)
        x = F.gelu(self.conv2(x))
        maps: Tensor = self.unfold(x)
        return maps.view(len(maps), -1, CELLS * CELLS, *self.grid_size)


def grid_for(input_size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the grid that the head works on, for an input of height and width in pixels."""
    return math.ceil(input_size[0] / TOKEN), math.ceil(input_size[1] / TOKEN)


def heatmaps(logits_BJChw: Tensor) -> Tensor:
    """Probability maps (B, J, H, W), each summing to 1, from the logits of the head."""
    probability = torch.softmax(logits_BJChw.flatten(2), dim=2).view_as(logits_BJChw)
    return F.pixel_shuffle(probability.flatten(1, 2), CELLS)


def prepare_grid(grid: Tensor, size: tuple[int, int], standardise: Standardiser | None) -> tuple[Tensor, Standardiser]:
    """Bring token grids to the head's size and standardise each channel.

    Args:
        grid: (N, D, h, w), any h and w.
        size: Rows and columns that the head expects.
        standardise: None measures it on this grid (training), else the one that training measured.

    Returns:
        The grid (N, D, *size) and the standardiser.
    """
    if tuple(grid.shape[2:]) != size:
        grid = F.interpolate(grid, size=size, mode="bilinear", align_corners=False, antialias=True)
    standardise = standardise or Standardiser.fit(grid)
    return standardise(grid).contiguous(memory_format=torch.channels_last), standardise


Points = TypeVar("Points", Tensor, NDArray[np.float64])


def to_cells(xy: Points) -> Points:
    """Crop pixels to heat-map cells, centres of both at integers: cell i covers the pixels 4i .. 4i + 3."""
    return (xy + 0.5) / STRIDE - 0.5


def to_pixels(xy: Points) -> Points:
    """The inverse of `to_cells`."""
    return (xy + 0.5) * STRIDE - 0.5


def place_targets(xy_BJ2: Tensor, grid_size: tuple[int, int]) -> Tensor:
    """Gaussian place distributions (B, J, r*r, h, w), each summing to 1, in the order of the head's logits.

    Args:
        xy_BJ2: Joints in heat-map cells.
        grid_size: Rows h and columns w of the token grid.
    """
    axes = []
    for position, count in ((xy_BJ2[..., 1], grid_size[0]), (xy_BJ2[..., 0], grid_size[1])):
        offset = torch.arange(count * CELLS, dtype=position.dtype, device=position.device) - position[..., None]
        axes.append(torch.softmax(-(offset**2) / (2 * SIGMA**2), dim=-1).unflatten(-1, (count, CELLS)))
    return torch.einsum("bjhr,bjws->bjrshw", *axes).flatten(2, 3)


def place_loss(logits_BJChw: Tensor, xy_BJ2: Tensor, weight_BJ: Tensor) -> Tensor:
    """Cross-entropy between the spatial softmax and Gaussian targets, averaged over joints that count."""
    target = place_targets(xy_BJ2, (logits_BJChw.shape[3], logits_BJChw.shape[4]))
    loss = F.cross_entropy(logits_BJChw.flatten(2).flatten(0, 1), target.flatten(2).flatten(0, 1), reduction="none")
    return (loss * weight_BJ.flatten()).sum() / weight_BJ.sum().clamp_min(1.0)
