"""Readouts: one vector per image from a pooled vector and a token grid.

A readout is a tuple of parts, because ReID normalises each part by itself, while linear heads see them joined.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hcbench.benchmarks.base import FeatureTable
from hcbench.errors import ConfigError, UnfitError, did_you_mean
from hcbench.methods.parts.encoder import READOUTS, TOKEN_READOUTS

STRIPES = 4
"""Horizontal stripes of the token grid: head and shoulders, trunk, thighs, legs."""
POSE = "pose"
"""Name of the token [POSE] among an encoder's."""


def candidates(choice: str) -> tuple[str, ...]:
    """The readouts that validation chooses from: those of every encoder for "auto", else the one that is named.

    Raises:
        ConfigError: No readout has this name.
    """
    if choice == "auto":
        return tuple(READOUTS)
    if choice not in (*READOUTS, *TOKEN_READOUTS):
        raise ConfigError(
            f"evaluate.readout is {choice!r}, which is no readout.",
            did_you_mean(choice, ("auto", *READOUTS, *TOKEN_READOUTS)),
        )
    return (choice,)


def readout_parts(features: FeatureTable, name: str) -> tuple[Tensor, ...]:
    """The parts of a readout, each (N, D_part).

    Args:
        features: Pooled vector (N, D), token grid (N, D', h, w) and extra tokens (N, D).
        name: "cls" (pooled vector), "mean" (mean of the grid), "cls+stripes" (pooled vector, then the mean of
            each of four horizontal stripes from top to bottom; stripes overlap where h is no multiple of four),
            "pose" (the token [POSE]) or "cls+pose" (pooled vector, then [POSE]).

    Raises:
        ConfigError: No readout has this name.
        UnfitError: The encoder has no token [POSE].
    """
    if name == "cls":
        return (features.pooled,)
    if name == "mean":
        return (features.grid.mean(dim=(2, 3)),)
    if name == "cls+stripes":
        stripes = F.adaptive_avg_pool2d(features.grid, (STRIPES, 1)).squeeze(3)
        return (features.pooled, *stripes.unbind(dim=2))
    if name in TOKEN_READOUTS:
        if POSE not in features.tokens:
            raise UnfitError(
                f"the readout {name} takes a token [POSE], which the encoder does not have",
                "Score a method that trains one, such as genpoccl, or choose another readout.",
            )
        pose = features.tokens[POSE]
        return (pose,) if name == POSE else (features.pooled, pose)
    raise ConfigError(f"{name!r} is no readout.", did_you_mean(name, (*READOUTS, *TOKEN_READOUTS)))


def joined(features: FeatureTable, name: str) -> Tensor:
    """A readout as one matrix (N, K), for linear heads."""
    return torch.cat(readout_parts(features, name), dim=1)
