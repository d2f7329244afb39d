from __future__ import annotations

import math

import numpy as np
import pytest

from hcbench.errors import TaskError
from hcbench.harness.tuning.objective import gain, objective

UP = {"reid": {"mAP": True}, "pose": {"AP50": True}}
CHANCE = {"reid": {"mAP": 0.01}, "pose": {"AP50": 0.19}}


def test_gain_is_cohens_h() -> None:
    # Cohen 1988, table 6.2.2: phi(.50) = 1.571, phi(.25) = 1.047.
    assert gain(0.5, 0.25) == pytest.approx(1.571 - 1.047, abs=1e-3)
    assert gain(0.3, 0.3) == 0
    assert gain(1.0, 0.0) == pytest.approx(math.pi)
    assert gain(0.2, 0.4) == -gain(0.4, 0.2)


def test_equal_gains_are_equally_far_from_chance_at_every_level() -> None:
    """The reason for the scale: of n queries, luck moves a proportion by the same gain wherever it stands."""
    rng, spread = np.random.default_rng(0), {}
    for level in (0.05, 0.2, 0.6):
        drawn = rng.binomial(1000, level, 4000) / 1000
        spread[level] = np.std([gain(float(value), level) for value in drawn])
    assert max(spread.values()) / min(spread.values()) < 1.05


def test_objective_is_the_mean_over_benchmarks_and_zero_for_the_reference() -> None:
    assert objective(CHANCE, CHANCE, UP) == 0
    scores = {"reid": {"mAP": 0.04}, "pose": {"AP50": 0.19}}
    assert objective(scores, CHANCE, UP) == pytest.approx(gain(0.04, 0.01) / 2)


def test_several_main_metrics_count_as_one_and_errors_count_downwards() -> None:
    metrics = {"reid": {"mAP": True, "error": False}}
    reference = {"reid": {"mAP": 0.1, "error": 0.5}}
    better = {"reid": {"mAP": 0.2, "error": 0.4}}
    assert objective(better, reference, metrics) == pytest.approx((gain(0.2, 0.1) - gain(0.4, 0.5)) / 2)


@pytest.mark.parametrize("value", [math.nan, -0.1, 1.5, math.inf])
def test_what_is_no_fraction_is_refused(value: float) -> None:
    with pytest.raises(TaskError, match="fractions between 0 and 1"):
        objective({"reid": {"mAP": value}}, {"reid": {"mAP": 0.1}}, UP)


def test_other_benchmarks_than_the_reference_are_refused() -> None:
    with pytest.raises(TaskError, match=r"reid mAP.*none"):
        objective({"reid": {"mAP": 0.1}}, {}, UP)
    with pytest.raises(TaskError, match="none"):
        objective({}, {}, UP)
