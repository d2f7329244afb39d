"""The pixels control: the image itself, shrunk."""

from __future__ import annotations

from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from hcbench.errors import ConfigError
from hcbench.methods.base import Context
from hcbench.methods.card import MethodCard
from hcbench.methods.control import Control
from hcbench.methods.parts.encoder import Encoder, Features, grid_of
from hcbench.methods.pixels.card import CARD, Config


class PixelEncoder(Encoder):
    """Pooled: the image shrunk to `columns` columns, flattened. Grid: each cell's shrunken pixels.

    Both have the same length D = 3 * rows * columns where the defaults meet a 2:1 input (384 = 3 * 16 * 8);
    the grid, 3 * side² = 192 numbers a cell, is filled up with zeros to that length, so that one head fits both. An
    input that is no whole number of cells is resized to the nearest that is, for the grid.
    """

    def __init__(self, height: int, width: int, columns: int = 8, patch: int = 16, patch_side: int = 8) -> None:
        super().__init__()
        if patch % patch_side:
            nearest = max(1, round(patch / patch_side)) * patch_side
            raise ConfigError(
                f"pixels: cells of {patch} pixels cannot be shrunk to {patch_side}.",
                f"Change pixels.patch (the nearest is {nearest}) or pixels.patch_side.",
            )
        self.input_size = (height, width)
        self.grid_size = grid_of((height, width), patch)
        self.columns, self.patch, self.patch_side = columns, patch, patch_side
        self.shrunk = (round(columns * height / width), columns)
        self.dim = 3 * max(self.shrunk[0] * self.shrunk[1], patch_side**2)

    def forward(self, images: Tensor, **knobs: float) -> Features:
        """See `Encoder`; images must have the input size."""
        if knobs:
            raise ConfigError(f"The pixels control has no knobs, but was given {', '.join(sorted(knobs))}.", "")
        batch = len(images)
        pooled = F.adaptive_avg_pool2d(images, self.shrunk).flatten(1)
        whole = (self.grid_size[0] * self.patch, self.grid_size[1] * self.patch)
        if whole != self.input_size:
            images = F.interpolate(images, whole, mode="bilinear", align_corners=False, antialias=True)
        factor = self.patch // self.patch_side
        small = F.avg_pool2d(images, factor) if factor > 1 else images
        # unfold gives (B, 3 * side², cells), cells in row-major order
        cells = F.unfold(small, self.patch_side, stride=self.patch_side)
        return Features(self._fill(pooled), self._fill(cells).view(batch, self.dim, *self.grid_size))

    def _fill(self, values: Tensor) -> Tensor:
        """Zeros up to D along dimension 1."""
        missing = self.dim - values.shape[1]
        return F.pad(values, (0, missing) if values.ndim == 2 else (0, 0, 0, missing))

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        height, width = self.input_size
        return {
            "height": height, "width": width, "columns": self.columns,
            "patch": self.patch, "patch_side": self.patch_side,
        }  # fmt: skip


class Pixels(Control):
    """Puts shrunken pixels in the place of the backbone."""

    card: ClassVar[MethodCard] = CARD

    def __init__(self, config: Config, encoder: Encoder, context: Context) -> None:
        height, width = context.input_size
        control = PixelEncoder(height, width, config.columns, config.patch, config.patch_side)
        super().__init__(config, control, context)
