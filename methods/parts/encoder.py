"""`Encoder`: one interface over every backbone (to be completed)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from torch import Tensor, nn

READOUTS = ("cls", "mean", "cls+stripes")


@dataclass(frozen=True, slots=True)
class Features:
    """What an encoder says of a batch.

    Attributes:
        pooled: (B, D), [CLS] after the final norm where there is one, else the mean of the grid.
        grid: (B, D, h, w), the token grid after the final norm.
        tokens: Extra tokens by name, each (B, D).
    """

    pooled: Tensor
    grid: Tensor
    tokens: dict[str, Tensor] = field(default_factory=dict)


class Encoder(nn.Module, ABC):
    """A backbone behind one interface."""

    dim: int
    grid_size: tuple[int, int]

    @abstractmethod
    def forward(self, images: Tensor, **knobs: float) -> Features:
        """Encode normalised images, float (B, 3, H, W)."""
