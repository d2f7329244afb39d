"""Few shots: the part of a training split that `evaluate.shots` leaves, the same for every method.

K shots are the first K of an order that the head seed draws, so 1 shot is part of 5 shots. The benchmark's card says of
what there are K (`TaskCard.shots`).
"""

from __future__ import annotations

import numpy as np
import torch

from hcbench.benchmarks.heads import head_generator
from hcbench.benchmarks.scoring import need
from hcbench.data.samples import Int, Samples
from hcbench.errors import TaskError


def few(samples: Samples, shots: int, per: str, seed: int) -> Int:
    """Positions of the images that are kept, in their own order.

    Args:
        samples: A training split.
        shots: K; an identity or attribute with fewer images keeps them all.
        per: "identity": K images of each identity. "attribute": K images that have it, for each attribute, and K that
            have it not. "image": K images in all.
        seed: Draws which.

    Raises:
        TaskError: `per` is nothing of these.
    """
    order = torch.randperm(len(samples), generator=head_generator(seed, "shots", per)).numpy()
    if per == "image":
        kept = order[:shots]
    elif per == "identity":
        identity = need(samples, "identity")
        kept = _first(order[identity[order] >= 0], identity, shots)
    elif per == "attribute":
        labels = need(samples, "attributes")
        kept = np.concatenate(
            [order[labels[order, a] == value][:shots] for a in range(labels.shape[1]) for value in (0, 1)]
        )
    else:
        raise TaskError(f"Shots per {per!r} are not known.", "There are identity, attribute and image.")
    return np.unique(kept).astype(np.int64)


def _first(order: Int, names: Int, count: int) -> Int:
    """The first `count` of each name, in order."""
    sorted_by_name = order[np.argsort(names[order], kind="stable")]
    _, starts, sizes = np.unique(names[sorted_by_name], return_index=True, return_counts=True)
    rank = np.arange(len(sorted_by_name)) - np.repeat(starts, sizes)
    return sorted_by_name[rank < count]
