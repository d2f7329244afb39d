from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from hcbench.methods.parts import losses
from hcbench.methods.solider.targets import log_targets, sinkhorn


def outputs(rows=12, prototypes=5, seed=0):
    return torch.empty(rows, prototypes).uniform_(-1, 1, generator=torch.Generator().manual_seed(seed))


def test_sinkhorn_gives_every_prototype_the_same_share():
    shares = sinkhorn(outputs(), temperature=0.1, steps=200)
    assert shares.dtype == torch.float32
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(12))
    torch.testing.assert_close(shares.sum(dim=0), torch.full((5,), 12 / 5), atol=1e-4, rtol=1e-4)
    # Scaling rows and columns is all that it does.
    ratio = shares.double().log() - outputs().double() / 0.1
    torch.testing.assert_close(
        ratio - ratio[:1] - ratio[:, :1] + ratio[0, 0], torch.zeros(12, 5).double(), atol=1e-4, rtol=0
    )


def test_sinkhorn_tells_rows_apart_that_share_their_first_prototype():
    cosines = torch.tensor([[0.9, 0.1, 0.0], [0.9, 0.0, 0.1], [0.95, 0.05, 0.05]])
    assert cosines.argmax(dim=1).tolist() == [0, 0, 0]
    assert sorted(sinkhorn(cosines, temperature=0.02, steps=50).argmax(dim=1).tolist()) == [0, 1, 2]


def test_sinkhorn_keeps_rows_whole_at_extreme_temperatures():
    cosines = torch.ones(4, 3)
    cosines[:, 1:] = -1
    for temperature in (1e-3, 10.0):
        shares = sinkhorn(cosines, temperature=temperature)
        assert torch.isfinite(shares).all()
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(4))


@pytest.mark.parametrize("centering", ["mean", "sinkhorn"])
def test_loss_of_log_targets_is_that_of_the_targets(centering):
    teacher, student, center = outputs(8), outputs(16, seed=1), 0.1 * outputs(1)[0]
    logs = log_targets(teacher, center, temperature=0.04, centering=centering)
    torch.testing.assert_close(logs.exp().sum(dim=1), torch.ones(8))
    found = losses.dino(student, logs, torch.zeros(5), ncrops=4, student_temp=0.1, teacher_temp=1.0)
    if centering == "mean":
        expected = losses.dino(student, teacher, center, ncrops=4, student_temp=0.1, teacher_temp=0.04)
    else:
        q, p = sinkhorn(teacher, temperature=0.04).chunk(2), F.log_softmax(student / 0.1, dim=1).chunk(4)
        terms = [-(q[i] * p[j]).sum(dim=1).mean() for i in range(2) for j in range(4) if i != j]
        expected = sum(terms) / len(terms)
    torch.testing.assert_close(found, torch.as_tensor(expected))


def test_shares_that_vanish_cost_nothing():
    logs = torch.tensor([[0.0, -math.inf], [-math.inf, 0.0]])
    loss = losses.dino(torch.zeros(2, 2), logs, torch.zeros(2), ncrops=2, student_temp=0.1, teacher_temp=1.0)
    torch.testing.assert_close(loss, torch.tensor(math.log(2)))
