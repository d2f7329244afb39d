"""From indices to a `Batch`: pixels, and only those labels that the method says it needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hcbench.data.samples import Int, Samples
from hcbench.data.seeds import name_seed
from hcbench.methods.base import Batch

_LABELS = ("group", "identity", "camera", "pose_id", "keypoints", "joints", "attributes")


def make_batch(view: Samples, indices: Int, needs: frozenset[str], *, seed: int, step: int) -> Batch:
    """Read the images at `indices`; labels that are not in `needs` stay hidden.

    Where an image has several captions, one is drawn (by seed and step), with the phrases of that caption.
    """
    labels: dict[str, Any] = {
        name: torch.from_numpy(values[indices])
        for name in _LABELS
        if name in needs and (values := getattr(view, name)) is not None
    }
    if "captions" in needs and view.captions is not None:
        rng = np.random.default_rng(name_seed("caption", seed, step))
        captions = [view.captions[i] for i in indices]
        choices = [int(rng.integers(len(some))) for some in captions]
        labels["captions"] = tuple(some[k] for some, k in zip(captions, choices, strict=True))
        if "phrases" in needs and view.phrases is not None:
            labels["phrases"] = tuple(view.phrases[i][k] for i, k in zip(indices, choices, strict=True))
    pixels = np.ascontiguousarray(view.images[indices])
    if not pixels.flags.writeable:
        pixels = pixels.copy()  # torch tensors cannot promise to leave a read-only array alone
    return Batch(images=torch.from_numpy(pixels), indices=torch.from_numpy(indices.copy()), **labels)
