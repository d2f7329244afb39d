"""`Encoder`: one interface over every backbone, and feature extraction through it.

Backbones stand in `backbones.py`; saving and loading in `checkpoint.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hcbench.data.augment import normalise
from hcbench.data.samples import ImageArray

__all__ = ["READOUTS", "Encoder", "Features", "encode_all", "normalise"]

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
    """A backbone behind one interface.

    Attributes:
        dim: Length D of the pooled vector.
        grid_size: Rows and columns (h, w) of the token grid at the input size.
        input_size: Height and width of the input that the encoder was built for, pixels.
    """

    dim: int
    grid_size: tuple[int, int]
    input_size: tuple[int, int]

    @abstractmethod
    def forward(self, images: Tensor, **knobs: float) -> Features:
        """Encode normalised images, float (B, 3, H, W).

        Args:
            images: See `normalise`.
            knobs: Settings of the forward pass by name, for encoders that have some (SOLIDER's lambda);
                an encoder without knobs refuses them.
        """

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments, of json types, from which `from_arguments` builds the same architecture."""

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Encoder:
        """Build the encoder that `arguments` describes; its weights are still to be loaded."""
        return cls(**arguments)

    def weights(self) -> dict[str, Tensor]:
        """What a checkpoint stores; backbones store the plain state dict of their library."""
        return self.state_dict()

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Take what `weights` gave; a name too many or too few is an error."""
        self.load_state_dict(weights)

    @property
    def device(self) -> torch.device:
        """Where the encoder computes; the CPU if it has neither parameters nor buffers."""
        tensors = [*self.parameters(), *self.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")


@torch.no_grad()
def encode_all(encoder: Encoder, images: ImageArray, batch_size: int = 250, **knobs: float) -> Features:
    """Features of all images in evaluation mode, float32 on the CPU.

    Args:
        encoder: Left in the mode (training or evaluation) it was in.
        images: uint8 (N, 3, H, W), RGB, an array or anything that gives one for a slice of indices.
        batch_size: Images per forward pass.
        knobs: Passed to the encoder.
    """
    was_training = encoder.training
    encoder.eval()
    device = encoder.device
    parts: list[Features] = []
    try:
        for start in range(0, len(images), batch_size):
            pixels = torch.from_numpy(images[start : start + batch_size].copy()).to(device)
            out = encoder(normalise(pixels), **knobs)
            tokens = {name: token.float().cpu() for name, token in out.tokens.items()}
            parts.append(Features(out.pooled.float().cpu(), out.grid.float().cpu(), tokens))
    finally:
        encoder.train(was_training)
    if not parts:
        return Features(torch.zeros(0, encoder.dim), torch.zeros(0, encoder.dim, *encoder.grid_size))
    names = parts[0].tokens
    return Features(
        torch.cat([part.pooled for part in parts]),
        torch.cat([part.grid for part in parts]),
        {name: torch.cat([part.tokens[name] for part in parts]) for name in names},
    )
