"""Projection heads between an encoder and a loss."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
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


class DinoHead(nn.Module):
    """DINO's head: an MLP, by default without batch norm, then cosines with the rows of a prototype matrix.

    A weight-normalised last layer whose gain is fixed at 1 (DINO vision_transformer.py, DINOHead) is a linear map
    with unit rows: it is written as that, with one parameter less.

    Args:
        dim: Width of the input.
        hidden: Width of the hidden layers.
        bottleneck: Width of the vectors that are compared with prototypes.
        outputs: Prototypes.
        layers: Layers of the MLP, at least 1.
        norm: Batch norm after every hidden layer (DINO's use_bn_in_head); the vectors (N, D) are then one batch.
    """

    def __init__(
        self, dim: int, *, hidden: int, bottleneck: int, outputs: int, layers: int = 3, norm: bool = False
    ) -> None:
        super().__init__()
        widths = [dim, *[hidden] * (layers - 1), bottleneck]
        modules: list[nn.Module] = []
        for width_in, width_out in itertools.pairwise(widths):
            if modules:
                modules += [nn.BatchNorm1d(width_in), nn.GELU()] if norm else [nn.GELU()]
            modules.append(nn.Linear(width_in, width_out))
        self.mlp = nn.Sequential(*modules)
        for module in self.mlp:
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        self.prototypes = nn.Linear(bottleneck, outputs, bias=False)

    def forward(self, features: Tensor, *, frozen: bool = False) -> Tensor:
        """Cosines (..., outputs) of features (..., dim), float32, in [-1, 1].

        `frozen` spares the prototypes the gradient.
        """
        vectors = self.mlp(features)
        # Temperatures of a few hundredths would blow up what low precision rounds off a cosine.
        with torch.autocast(vectors.device.type, enabled=False):
            weight = self.prototypes.weight.detach() if frozen else self.prototypes.weight
            return F.linear(F.normalize(vectors.float(), dim=-1), F.normalize(weight, dim=1))
