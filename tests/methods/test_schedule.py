"""The learning-rate schedule, and how pre-training and heads round its warm-up."""

from __future__ import annotations

import pytest

from hcbench.benchmarks.heads import cosine_factor
from hcbench.harness.training.optimisers import schedule
from hcbench.methods.parts.schedule import cosine_with_warmup


def test_it_rises_to_one_and_falls_to_zero() -> None:
    factors = [cosine_with_warmup(step, 10, 2) for step in range(11)]
    assert factors == pytest.approx([0.5, 1, 1, 0.9619, 0.8536, 0.6913, 0.5, 0.3087, 0.1464, 0.0381, 0], abs=1e-4)


def test_no_warm_up_begins_at_one() -> None:
    assert [cosine_with_warmup(step, 2, 0) for step in range(2)] == pytest.approx([1.0, 0.5])


def test_pre_training_rounds_its_warm_up_down_and_heads_to_at_least_one_step() -> None:
    assert [schedule(step, 6, 0.3) for step in range(6)] == [cosine_with_warmup(step, 6, 1) for step in range(6)]
    assert [cosine_factor(step, 6, 0.3) for step in range(6)] == [cosine_with_warmup(step, 6, 2) for step in range(6)]
    assert schedule(0, 4, 0.1) == cosine_with_warmup(0, 4, 0)
    assert cosine_factor(1, 4, 0.1) == cosine_with_warmup(1, 4, 1) == 1.0
