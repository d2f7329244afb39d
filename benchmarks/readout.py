"""Readouts: one vector per image from a pooled vector and a token grid.

A readout is a tuple of parts, because ReID normalises each part by itself, while linear heads see them joined.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hcbench.benchmarks.base import FeatureTable
from hcbench.errors import ConfigError, did_you_mean
from hcbench.methods.parts.encoder import READOUTS

STRIPES = 4
"""Horizontal stripes of the token grid: head and shoulders, trunk, thighs, legs."""


def candidates(choice: str) -> tuple[str, ...]:
    """The readouts that validation chooses from: all for "auto", else the one that is named.

    Raises:
        ConfigError: No readout has this name.
    """
    if choice == "auto":
        return tuple(READOUTS)
    if choice not in READOUTS:
        raise ConfigError(
            f"evaluate.readout is {choice!r}, which is no readout.", did_you_mean(choice, ("auto", *READOUTS))
        )
    return (choice,)


def readout_parts(features: FeatureTable, name: str) -> tuple[Tensor, ...]:
    """The parts of a readout, each (N, D_part).

    Args:
        features: Pooled vector (N, D) and token grid (N, D', h, w).
        name: "cls" (pooled vector), "mean" (mean of the grid) or "cls+stripes" (pooled vector, then the mean of
            each of four horizontal stripes from top to bottom; stripes overlap where h is no multiple of four).

    Raises:
        ConfigError: No readout has this name.
    """
    if name == "cls":
        return (features.pooled,)
    if name == "mean":
        return (features.grid.mean(dim=(2, 3)),)
    if name == "cls+stripes":
        stripes = F.adaptive_avg_pool2d(features.grid, (STRIPES, 1)).squeeze(3)
        return (features.pooled, *stripes.unbind(dim=2))
    raise ConfigError(f"{name!r} is no readout.", did_you_mean(name, READOUTS))


def joined(features: FeatureTable, name: str) -> Tensor:
    """A readout as one matrix (N, K), for linear heads."""
    return torch.cat(readout_parts(features, name), dim=1)
