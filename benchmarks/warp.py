"""Flips, moves, turns and sizes of a batch: one affine map per image, for pixels, masks and joints alike.

Shape suffixes: B images, H, W pixels, J joints. Coordinates are (x, y) in pixels, pixel centres at integers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hcbench.benchmarks.recipes import FinetuneRecipe

OUTSIDE = 255
"""What a mask holds where the image does not reach."""


@dataclass(frozen=True, slots=True)
class Warp:
    """B affine maps: new = turn @ (old - centre) + centre + move.

    Attributes:
        turn: (B, 2, 2), flip, then rotation and size.
        move: (B, 2).
        flipped: bool (B,).
        size: Height and width of the images.
        plain: Whether nothing happens but flips, so that pixels are only copied.
    """

    turn: Tensor
    move: Tensor
    flipped: Tensor
    size: tuple[int, int]
    plain: bool

    @classmethod
    def draw(cls, count: int, size: tuple[int, int], recipe: FinetuneRecipe, generator: torch.Generator) -> Warp:
        """Draw the maps of a batch; every parameter is drawn, used or not, so that none moves another's stream."""
        flipped = torch.rand(count, generator=generator) < recipe.flip
        angle = _symmetric(generator, count) * math.radians(recipe.rotate)
        zoom = 1 + _symmetric(generator, count) * recipe.zoom
        # Whole pixels: a move alone must not blur.
        move = (_symmetric(generator, count, 2) * recipe.shift * size[0]).round()
        cos, sin = angle.cos() * zoom, angle.sin() * zoom
        turn = torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)
        mirror = torch.where(flipped, -1.0, 1.0)
        turn = torch.stack([turn[..., 0] * mirror[:, None], turn[..., 1]], dim=2)
        plain = not (recipe.rotate or recipe.zoom or recipe.shift)
        return cls(turn, move, flipped, size, plain)

    def images(self, images: Tensor) -> Tensor:
        """Warped normalised images (B, 3, H, W); the mean colour comes in from outside."""
        if self.plain:
            return torch.where(self.flipped.to(images.device)[:, None, None, None], images.flip(3), images)
        grid = self._grid().to(images.device)
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def masks(self, masks: Tensor, mirrored: tuple[int, ...]) -> Tensor:
        """Warped class masks uint8 (B, H, W); OUTSIDE comes in from outside.

        Args:
            masks: Classes, or OUTSIDE where a pixel counts as nothing.
            mirrored: What each class becomes under a flip.
        """
        swap = torch.arange(256)
        swap[: len(mirrored)] = torch.tensor(mirrored)
        named = torch.where(self.flipped[:, None, None], swap[masks.long()], masks.long())
        # One is added so that the zeros from outside are told from class 0.
        grid = self._grid()
        moved: Tensor = F.grid_sample((named + 1).float()[:, None], grid, mode="nearest", align_corners=False)[:, 0]
        return torch.where(moved == 0, OUTSIDE, moved - 1).to(torch.uint8)

    def keypoints(self, keypoints: Tensor, mirrored: tuple[int, ...]) -> Tensor:
        """Warped joints (B, J, 3); those that leave the image get v = 0.

        Args:
            keypoints: x, y and visibility.
            mirrored: What each joint becomes under a flip (`Skeleton.flip`).
        """
        height, width = self.size
        moved = (keypoints[..., :2] - self._centre()) @ self.turn.transpose(1, 2) + self._centre() + self.move[:, None]
        x, y = moved.unbind(-1)
        inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        out = torch.cat([moved, (keypoints[..., 2] * inside)[..., None]], dim=2)
        return torch.where(self.flipped[:, None, None], out[:, list(mirrored)], out)

    def _centre(self) -> Tensor:
        height, width = self.size
        return torch.tensor([(width - 1) / 2, (height - 1) / 2])

    def _grid(self) -> Tensor:
        """Where each pixel comes from, in `grid_sample`'s coordinates (B, H, W, 2)."""
        height, width = self.size
        y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
        new = torch.stack([x, y], dim=-1).view(1, -1, 2)
        back = torch.linalg.inv(self.turn).transpose(1, 2)
        old = (new - self._centre() - self.move[:, None]) @ back + self._centre()
        grid: Tensor = (old * 2 + 1) / torch.tensor([width, height]) - 1
        return grid.view(-1, height, width, 2)


def _symmetric(generator: torch.Generator, *shape: int) -> Tensor:
    """Uniform in [-1, 1)."""
    return torch.rand(*shape, generator=generator) * 2 - 1
