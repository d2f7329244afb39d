from __future__ import annotations

import pytest
import torch
from torch import nn

from hcbench.harness.planning.settings import PretrainConfig
from hcbench.harness.training.optimisers import Optimisers, schedule
from hcbench.methods.base import OptimiserSpec, ParamGroup, Step


def factors(**spec):
    optimisers = Optimisers(
        (OptimiserSpec(name="main", groups=(ParamGroup(params=[nn.Parameter(torch.zeros(2, 2))]),), **spec),),
        PretrainConfig(warmup=0.25),
        {"first": 8, "second": 4},
        lr=1.0,
        weight_decay=0.0,
    )
    found = []
    for stage, total in (("first", 8), ("second", 4)):
        for k in range(total):
            step = Step(index=0, total=12, stage=stage, stage_index=k, stage_total=total, images_seen=0, epoch=0)
            found.append(optimisers.factor("main", step))
    return found


def test_one_schedule_over_all_stages():
    assert factors() == pytest.approx([schedule(k, 12, 0.25) for k in range(12)])


def test_a_schedule_for_every_stage():
    expected = [schedule(k, 8, 0.25) for k in range(8)] + [schedule(k, 4, 0.25) for k in range(4)]
    assert factors(restarts=True) == pytest.approx(expected)
    assert expected[7] < 0.1 < expected[8] == 1.0


def test_no_schedule():
    assert factors(scheduled=False, restarts=True) == [1.0] * 12
