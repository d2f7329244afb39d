"""KoLeo: keep the features of a batch apart (Sablayrolles et al., arXiv 1806.03198; DINOv2, arXiv 2304.07193)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_EPSILON = 1e-8


def koleo(features: Tensor) -> Tensor:
    """Mean of -log of the distance of each row to its nearest other row, after L2 norm, 0-d; low = spread out.

    Args:
        features: float (N, D); of one crop of every image, since crops of one image are meant to be near. A single
            row is 0 away from none and costs nothing.
    """
    if len(features) < 2:
        return features.sum() * 0
    with torch.autocast(features.device.type, enabled=False):
        z = F.normalize(features.float(), dim=1)
        with torch.no_grad():
            nearest = (z @ z.T).fill_diagonal_(-2).argmax(dim=1)
        return -F.pairwise_distance(z, z[nearest], eps=_EPSILON).clamp(min=_EPSILON).log().mean()
