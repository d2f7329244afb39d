"""A memory of one unit feature per training image, and contrast against it.

B anchors, N images, D dimensions.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcbench.methods.parts.clustering import OUTLIER


class Memory(nn.Module):
    """Unit features of all images of a view with their pseudo labels.

    Until it is filled, rows are random and every image is a cluster of its own.

    Args:
        number: Images N.
        dim: Length D of a feature.
        keep: Weight of the old row when a row is updated.
    """

    rows: Tensor
    labels: Tensor

    def __init__(self, number: int, dim: int, *, keep: float) -> None:
        super().__init__()
        self.keep = keep
        self.register_buffer("rows", F.normalize(torch.randn(number, dim), dim=1))
        self.register_buffer("labels", torch.arange(number))
        self._centroids = self.rows.clone()

    @torch.no_grad()
    def fill(self, features: Tensor) -> None:
        """Replace all rows by features (N, D)."""
        self.rows.copy_(F.normalize(features.to(self.rows), dim=1))

    @torch.no_grad()
    def assign(self, labels: Tensor) -> None:
        """Take new pseudo labels, int64 (N,), 0 .. C - 1 or OUTLIER, and the clusters' centroids with them.

        A centroid is the plain mean of its rows, not normalised, and stays until the next call.
        """
        self.labels.copy_(labels)
        known = self.labels != OUTLIER
        count = int(self.labels.max()) + 1 if known.any() else 0
        sums = torch.zeros(count, self.rows.shape[1], device=self.rows.device)
        sums.index_add_(0, self.labels[known], self.rows[known])
        sizes = torch.bincount(self.labels[known], minlength=count).clamp(min=1)
        self._centroids = sums / sizes[:, None]

    @property
    def centroids(self) -> Tensor:
        """float32 (C, D)."""
        return self._centroids.to(self.rows.device)

    @torch.no_grad()
    def update(self, indices: Tensor, features: Tensor) -> None:
        """Rows at `indices` (B,) become normalise(keep * old + (1 - keep) * feature); features (B, D), any length."""
        fresh = F.normalize(features.to(self.rows), dim=1)
        self.rows[indices] = F.normalize(self.keep * self.rows[indices] + (1 - self.keep) * fresh, dim=1)

    @torch.no_grad()
    def positives(self, labels: Tensor) -> Tensor:
        """A random row of each label's cluster, int64 (B,), from torch's global generator; labels are no outliers."""
        return (
            torch.rand(len(labels), len(self.labels), device=self.rows.device)
            .masked_fill_(self.labels != labels[:, None], -1.0)
            .argmax(dim=1)
        )

    @torch.no_grad()
    def negatives(self, labels: Tensor, most: int) -> Tensor:
        """Which rows are negatives of each label, bool (B, N): all of other labels and all outliers.

        More than `most` per anchor are thinned to a random `most`.
        """
        other = self.labels != labels[:, None]
        if len(self.labels) <= most:
            return other
        # DEVIATION (chenhao2345/GCL memory.py): official code stacks lists of negatives, which fails where anchors have
        # unequally many; a mask does not.
        chosen = torch.rand(other.shape, device=other.device).masked_fill_(~other, -1.0).topk(most, dim=1).indices
        return torch.zeros_like(other).scatter_(1, chosen, True) & other

    def get_extra_state(self) -> Any:
        """The centroids, whose number changes from pass to pass."""
        return {"centroids": self._centroids.clone()}

    def set_extra_state(self, state: Any) -> None:
        """Take what `get_extra_state` gave."""
        self._centroids = state["centroids"].clone()


def masked_info_nce(positive: Tensor, negatives: Tensor, allowed: Tensor, *, temperature: float) -> Tensor:
    """InfoNCE of one positive and any number of negatives per anchor, the mean over anchors; 0 without an anchor.

    Args:
        positive: float (B,), cosines.
        negatives: float (B, N), cosines.
        allowed: bool (B, N), which of `negatives` count.
        temperature: Divides the cosines.
    """
    if not len(positive):
        return negatives.sum()
    positive, negatives = positive.float() / temperature, negatives.float() / temperature
    logits = torch.cat([positive[:, None], negatives.masked_fill(~allowed, -torch.inf)], dim=1)
    return (logits.logsumexp(dim=1) - positive).mean()
