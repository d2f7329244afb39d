from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from hcbench.methods.parts import diagnostics


def features(rows=200, dim=16, seed=0):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def test_effective_rank_counts_directions():
    flat = torch.zeros(200, 16)
    flat[:, :3] = features(dim=3)
    assert 2.9 < diagnostics.effective_rank(flat) <= 3.0
    assert 15 < diagnostics.effective_rank(features(2000)) <= 16
    assert diagnostics.effective_rank(features()) == pytest.approx(
        diagnostics.effective_rank(features() + 100), rel=1e-3
    )
    assert diagnostics.effective_rank(torch.ones(5, 4)) == 1.0


def test_alignment_and_uniformity_literally():
    x, labels = features(9, 4), torch.arange(9) // 3
    z = F.normalize(x, dim=1)
    same = [float(z[i] @ z[j]) for i in range(9) for j in range(9) if i != j and labels[i] == labels[j]]
    assert float(diagnostics.alignment(x, labels)) == pytest.approx(sum(same) / len(same), abs=1e-6)
    potentials = [math.exp(-2 * float((z[i] - z[j]).square().sum())) for i in range(9) for j in range(9) if i != j]
    expected = math.log(sum(potentials) / len(potentials))
    assert float(diagnostics.uniformity(x)) == pytest.approx(expected, abs=1e-5)
    assert math.isnan(float(diagnostics.alignment(x, torch.arange(9))))
    assert float(diagnostics.uniformity(torch.ones(5, 3))) == pytest.approx(0, abs=1e-6)


def test_share_without_positive():
    assert float(diagnostics.share_without_positive(torch.tensor([1, 1, 2, 3]))) == 0.5


def test_dead_dimensions():
    x = features()
    x[:, :4] = 7.0
    assert diagnostics.dead_dimensions(x) == 0.25
    assert diagnostics.dead_dimensions(torch.ones(5, 4)) == 1.0


def test_feature_variance_tells_collapse_from_spread():
    assert float(diagnostics.feature_variance(features())) == pytest.approx(1, abs=0.05)
    assert float(diagnostics.feature_variance(torch.ones(5, 4))) == pytest.approx(0, abs=1e-6)


def test_describe_holds_plain_numbers():
    described = diagnostics.describe(features())
    assert set(described) == {"effective_rank", "dead_dimensions", "uniformity"}
    assert all(isinstance(value, float) for value in described.values())


def test_warnings_at_chance_and_at_collapse():
    chance = math.log(95)
    stuck = {"mp_loss": chance * 1.01, "mp_rows": 96.0}
    assert len(diagnostics.warnings(stuck, past_warmup=True)) == 1
    assert diagnostics.warnings(stuck, past_warmup=False) == []
    assert diagnostics.warnings({"mp_loss": chance * 0.9, "mp_rows": 96.0}, past_warmup=True) == []
    assert diagnostics.warnings({"rec_loss": chance}, past_warmup=True) == []
    (text,) = diagnostics.warnings({"effective_rank": 3.2}, past_warmup=False)
    assert "3.2" in text
    assert diagnostics.warnings({"effective_rank": 4.1}, past_warmup=True) == []
