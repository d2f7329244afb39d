"""The memory's rows, positives, negatives, and contrast against it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hcbench.methods.parts.clustering import OUTLIER
from hcbench.methods.parts.memory import Memory, masked_info_nce


@pytest.fixture
def memory():
    torch.manual_seed(0)
    made = Memory(50, 6, keep=0.2)
    made.assign(torch.arange(50) % 7 - 1)  # a seventh are outliers
    return made


def test_rows_are_a_weighted_mean_of_old_and_new(memory):
    old = memory.rows.clone()
    indices, fresh = torch.tensor([4, 31]), torch.randn(2, 6) * 5
    memory.update(indices, fresh)
    expected = F.normalize(0.2 * old[indices] + 0.8 * F.normalize(fresh, dim=1), dim=1)
    torch.testing.assert_close(memory.rows[indices], expected)
    untouched = torch.ones(50, dtype=torch.bool)
    untouched[indices] = False
    assert torch.equal(memory.rows[untouched], old[untouched])


def test_a_new_memory_has_unit_rows_and_a_cluster_per_image():
    made = Memory(9, 4, keep=0.2)
    torch.testing.assert_close(made.rows.norm(dim=1), torch.ones(9))
    assert made.labels.tolist() == list(range(9))
    assert made.centroids.shape == (9, 4)
    made.fill(torch.full((9, 4), 3.0))
    torch.testing.assert_close(made.rows, torch.full((9, 4), 0.5))


def test_positives_are_random_members_of_the_cluster(memory):
    labels = torch.arange(6).repeat(40)
    found = memory.positives(labels)
    assert torch.equal(memory.labels[found], labels)
    assert len(found[labels == 2].unique()) == int((memory.labels == 2).sum())


def test_outliers_are_negatives(memory):
    labels = torch.tensor([0, 3])
    allowed = memory.negatives(labels, 8192)
    assert torch.equal(allowed, memory.labels[None] != labels[:, None])
    assert allowed[:, memory.labels == OUTLIER].all()


def test_more_rows_than_wanted_are_thinned(memory):
    labels = torch.tensor([0, 3, 5])
    allowed = memory.negatives(labels, 10)
    assert allowed.sum(dim=1).tolist() == [10, 10, 10]
    assert not (allowed & (memory.labels[None] == labels[:, None])).any()
    assert not torch.equal(allowed, memory.negatives(labels, 10))
    scarce = memory.negatives(labels, 45)
    assert scarce.sum(dim=1).tolist() == [int((memory.labels != y).sum()) for y in labels]


def test_contrast_equals_brute_force(memory):
    torch.manual_seed(1)
    query = F.normalize(torch.randn(8, 6), dim=1).requires_grad_()
    indices = torch.tensor([1, 2, 3, 4, 15, 20, 33, 48])
    labels = memory.labels[indices]
    positive = (query * memory.rows[indices]).sum(dim=1)
    loss = masked_info_nce(positive, query @ memory.rows.T, memory.negatives(labels, 8192), temperature=0.04)
    terms = []
    for i in range(8):
        others = [memory.rows[n] for n in range(50) if memory.labels[n] != labels[i]]
        logits = torch.stack([query[i] @ memory.rows[indices[i]], *(query[i] @ row for row in others)]) / 0.04
        terms.append(F.cross_entropy(logits[None], torch.tensor([0])))
    torch.testing.assert_close(loss, torch.stack(terms).mean())
    fast, slow = (
        torch.autograd.grad(value, query, retain_graph=True)[0] for value in (loss, torch.stack(terms).mean())
    )
    torch.testing.assert_close(fast, slow)


def test_no_anchor_and_no_negative_cost_nothing():
    query = torch.randn(0, 3, requires_grad=True)
    empty = masked_info_nce(query.sum(dim=1), query @ torch.randn(3, 5), torch.zeros(0, 5) > 0, temperature=0.1)
    assert float(empty.detach()) == 0
    empty.backward()
    lone = torch.randn(2, 3, requires_grad=True)
    loss = masked_info_nce(lone.sum(dim=1), lone @ torch.randn(3, 5), torch.zeros(2, 5) > 0, temperature=0.1)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(lone.grad, torch.zeros(2, 3))


def test_centroids_are_plain_means_that_stay(memory):
    before = memory.centroids.clone()
    for label in range(6):
        torch.testing.assert_close(before[label], memory.rows[memory.labels == label].mean(dim=0))
    memory.update(torch.arange(50), torch.randn(50, 6))
    assert torch.equal(memory.centroids, before)
    memory.assign(torch.full((50,), OUTLIER))
    assert memory.centroids.shape == (0, 6)


def test_state_round_trip(memory):
    other = Memory(50, 6, keep=0.2)
    other.load_state_dict(memory.state_dict())
    for name in ("rows", "labels", "centroids"):
        assert torch.equal(getattr(other, name), getattr(memory, name))
