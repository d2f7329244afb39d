"""The histogram control: joint RGB histograms of horizontal stripes and of grid cells."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from hcbench.data.augment import IMAGENET_MEAN, IMAGENET_STD
from hcbench.errors import ConfigError
from hcbench.methods.base import Context
from hcbench.methods.card import MethodCard
from hcbench.methods.control import Control
from hcbench.methods.histogram.card import CARD, Config
from hcbench.methods.parts.encoder import Encoder, Features, grid_of


class HistogramEncoder(Encoder):
    """Pooled: root histograms of the stripes, (stripes * levels³). Grid: root histogram of each cell.

    A root histogram holds the square roots of the bins' shares, so that the Euclidean distance of two is the
    Hellinger distance. Cells have levels³ numbers and zeros up to D; where the input
    is no whole number of stripes or cells, some are a pixel wider than others.
    """

    def __init__(self, height: int, width: int, stripes: int = 8, levels: int = 4, patch: int = 16) -> None:
        super().__init__()
        if height < stripes:
            raise ConfigError(
                f"histogram: an input of {height}x{width} has no {stripes} stripes.",
                f"Choose a height of {stripes} or more, or change histogram.stripes.",
            )
        self.input_size = (height, width)
        self.grid_size = grid_of((height, width), patch)
        self.stripes, self.levels, self.patch = stripes, levels, patch
        self.dim = stripes * levels**3

    def forward(self, images: Tensor, **knobs: float) -> Features:
        """See `Encoder`; images must have the input size."""
        if knobs:
            raise ConfigError(f"The histogram control has no knobs, but was given {', '.join(sorted(knobs))}.", "")
        height, width = self.input_size
        bins = self._bins(images)
        down, across = self.grid_size
        rows, columns = torch.arange(height), torch.arange(width)
        stripe = (rows * self.stripes // height)[:, None].expand(height, width)
        cell = (rows * down // height)[:, None] * across + (columns * across // width)[None, :]
        pooled = self._histograms(bins, stripe.to(bins.device), self.stripes).flatten(1)
        cells = self._histograms(bins, cell.to(bins.device), self.grid_size[0] * self.grid_size[1]).transpose(1, 2)
        filled = F.pad(cells, (0, 0, 0, self.dim - cells.shape[1]))
        return Features(pooled, filled.reshape(len(images), self.dim, *self.grid_size))

    def _bins(self, images: Tensor) -> Tensor:
        """Bin number of every pixel, int64 (B, H, W)."""
        std = torch.tensor(IMAGENET_STD, device=images.device)[:, None, None]
        mean = torch.tensor(IMAGENET_MEAN, device=images.device)[:, None, None]
        # Back to the 256 stored levels, since rounding must not move a colour over the edge of a bin.
        stored = ((images.float() * std + mean) * 255).round().clamp(0, 255)
        level = (stored * (self.levels / 256)).long()
        red, green, blue = level.unbind(dim=1)
        return (red * self.levels + green) * self.levels + blue

    def _histograms(self, bins: Tensor, region: Tensor, regions: int) -> Tensor:
        """Root histograms (B, regions, levels³) of the pixels of each region (H, W)."""
        batch, colours = len(bins), self.levels**3
        index = (region * colours + bins).flatten(1)
        counts = torch.zeros(batch, regions * colours, device=bins.device)
        counts.scatter_add_(1, index, torch.ones_like(index, dtype=counts.dtype))
        counts = counts.view(batch, regions, colours)
        return (counts / counts.sum(dim=2, keepdim=True)).sqrt()

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        height, width = self.input_size
        return {"height": height, "width": width, "stripes": self.stripes, "levels": self.levels, "patch": self.patch}


class Histogram(Control):
    """Puts colour histograms in the place of the backbone."""

    card: ClassVar[MethodCard] = CARD

    def __init__(self, config: Config, encoder: Encoder, context: Context) -> None:
        height, width = context.input_size
        super().__init__(config, HistogramEncoder(height, width, config.stripes, config.levels, config.patch), context)
