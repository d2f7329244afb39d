"""Projection heads between an encoder and a loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hcbench.errors import MethodError


class Projector(nn.Sequential):
    """An MLP with batch norm and ReLU after every layer but the last (StableRep, SimCLR).

    Args:
        dim: Width of the input.
        widths: Widths of the layers, the output last.
        initialise: Xavier-uniform weights and zero biases, as the backbone has.
    """

    def __init__(self, dim: int, widths: Sequence[int], *, initialise: bool = True) -> None:
        layers: list[nn.Module] = []
        for i, width in enumerate(widths):
            linear = nn.Linear(dim, width)
            if initialise:
                nn.init.xavier_uniform_(linear.weight)
                nn.init.zeros_(linear.bias)
            layers.append(linear)
            if i + 1 < len(widths):
                # SyncBatchNorm has no CPU version for several processes; the loop may convert these on GPUs.
                layers += [nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
            dim = width
        super().__init__(*layers)
        self.dim_out = dim


def project_per_view(projector: nn.Module, features: Tensor, views: int) -> Tensor:
    """Run `projector` on each view alone, so that batch statistics are a view's own.

    Args:
        projector: Any module on (n, D).
        features: (views * n, D), view-major.
        views: How many.

    Raises:
        MethodError: A view holds one sample, of which batch norm can take no statistics.
    """
    if projector.training and len(features) == views:
        raise MethodError(
            "Batch norm per view needs at least two groups in a batch, but there is one.",
            "Raise the batch size, or set bn=global.",
        )
    return torch.cat([projector(view) for view in features.chunk(views)])
