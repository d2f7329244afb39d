"""The learning-rate schedule of pre-training, heads and fine-tuning. Loads no torch."""

from __future__ import annotations

import math


def cosine_with_warmup(step: int, total: int, rising: int) -> float:
    """Factor on the learning rate: linear warm-up to 1, then half a cosine to 0.

    Args:
        step: Steps that are done, 0 <= step < total.
        total: Steps of the whole schedule.
        rising: Steps of the warm-up; 0 begins at 1. Those who know a share of the steps round it themselves:
            pre-training down, heads to the nearest step and at least one, as their numbers were made.

    >>> [round(cosine_with_warmup(step, 10, 2), 3) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.038]
    """
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))
