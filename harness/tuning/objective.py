"""The one number by which `hcbench tune` orders the trials of a method.

It is the mean, over benchmarks, of the gain over the untrained network on the arcsine scale (Cohen's h):

    gain = 2 asin sqrt(score) - 2 asin sqrt(score of `random`)

Why this scale. Main metrics live at different levels: ReID mAP near .01, AP50 near .2, mA near .58, text R1 between .15
and .5. A mean of raw metrics would leave the choice to the one that moves most, text-reid; a mean of logits, or of
ratios, to the one near 0, where a ReID mAP that goes from .006 to .012 by chance outweighs everything else. The
arcsine square root is the scale on which the sampling spread of a proportion is the same at every level, so that equal
steps are equally hard to come by through luck. The untrained network moves the zero, not the order: above 0 a trial
has learned something that the benchmarks ask for.

A benchmark with several main metrics counts once, with their mean. ValidationScores are of the validation split.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean

from hcbench.errors import TaskError

VERSION = 1
"""Changes with every edit that changes values, so that no search mixes two definitions."""
REFERENCE = "random"
"""The control that stands at 0."""

ValidationScores = Mapping[str, Mapping[str, float]]
"""Benchmark to main metric to value."""


def gain(score: float, reference: float) -> float:
    """How far a score lies above a reference, on the arcsine scale.

    Args:
        score: A fraction, 0..1; larger is better.
        reference: The same of the untrained network.

    Returns:
        -pi .. pi, 0 where both are equal.

    Raises:
        TaskError: One of them is undefined or no fraction.

    >>> round(gain(0.02, 0.01), 3), round(gain(0.62, 0.58), 3)
    (0.083, 0.082)
    """
    for value in (score, reference):
        if not 0 <= value <= 1:  # NaN neither
            raise TaskError(f"A score is {value:g}; settings are chosen by fractions between 0 and 1.")
    return 2 * math.asin(math.sqrt(score)) - 2 * math.asin(math.sqrt(reference))


def objective(
    scores: ValidationScores, reference: ValidationScores, higher_is_better: Mapping[str, Mapping[str, bool]]
) -> float:
    """The mean gain over benchmarks.

    Args:
        scores: Validation scores of a trial.
        reference: Those of the untrained network.
        higher_is_better: The direction of each metric.

    Raises:
        TaskError: The two know different benchmarks or metrics, none at all, or a score that is no fraction.
    """
    if not scores or {name: set(values) for name, values in scores.items()} != {
        name: set(values) for name, values in reference.items()
    }:
        raise TaskError(f"The benchmarks of a trial ({_names(scores)}) are not the reference's ({_names(reference)}).")
    gains = [
        fmean(
            gain(value, reference[name][metric]) * (1 if higher_is_better[name][metric] else -1)
            for metric, value in values.items()
        )
        for name, values in scores.items()
    ]
    return fmean(gains)


def _names(scores: ValidationScores) -> str:
    return ", ".join(sorted(f"{name} {metric}" for name, values in scores.items() for metric in values)) or "none"
