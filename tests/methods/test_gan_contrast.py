"""GAN-invariance's identity side: the memory, its clusters and their guards, and the losses against both."""

from __future__ import annotations

import dataclasses
import logging

import pytest
import torch
import torch.nn.functional as F
from gan_toys import NUMBER, batch, generator, make, run, step

from hcbench.methods.parts.clustering import OUTLIER


def clustered(method, pooled, stage="identity", epoch=1):
    """One call of the loop before a pass; gives what may be drawn."""
    method.start_epoch(lambda: pooled, step(stage, epoch=epoch))
    return method.select(torch.arange(NUMBER))


def grouped(groups=4, spread=0.05, dim=96):
    torch.manual_seed(4)
    return torch.randn(groups, dim).repeat_interleave(NUMBER // groups, 0) + spread * torch.randn(NUMBER, dim)


def with_strangers():
    """Four clusters of five images, and four images that belong to none."""
    torch.manual_seed(4)
    five = torch.randn(4, 96).repeat_interleave(5, dim=0) + 0.05 * torch.randn(20, 96)
    return torch.cat([five, torch.randn(4, 96)])


def test_contrast_terms_against_their_definition():
    torch.manual_seed(2)
    labels = torch.arange(NUMBER) % 4 - 1
    view, real = torch.randn(5, 96), torch.randn(5, 96)
    indices = torch.tensor([1, 2, 3, 4, 5])
    found = {}
    for rule in ("f", "released"):
        method = make(l3_negatives=rule)
        method.contrast.memory.assign(labels)
        torch.manual_seed(7)
        found[rule] = method.contrast.terms(indices, view, real)
    torch.manual_seed(7)
    known = [k for k in range(5) if labels[indices[k]] != OUTLIER]
    assert known == [0, 1, 2, 4], "the image at index 4 is an outlier"
    rows = method.contrast.memory.rows
    partner = method.contrast.memory.positives(labels[indices[known]])
    slow = {"l1": [], "l2": [], "f": [], "released": []}
    for place, k in enumerate(known):
        v, r = F.normalize(view[k], dim=0), F.normalize(real[k], dim=0)
        others = rows[labels != labels[indices[k]]]
        for name, query, positive, against in (
            ("l1", v, rows[indices[k]], v),
            ("l2", v, rows[partner[place]], v),
            ("f", r, rows[partner[place]], r),
            ("released", r, rows[partner[place]], v),
        ):
            logits = torch.cat([(query @ positive)[None], others @ against]) / 0.04
            slow[name].append(-logits.log_softmax(dim=0)[0])
    for name, value in (("l1", "l1"), ("l2", "l2"), ("f", "l3")):
        torch.testing.assert_close(found["f"][value], torch.stack(slow[name]).mean(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found["released"]["l3"], torch.stack(slow["released"]).mean(), rtol=1e-4, atol=1e-4)


def test_cluster_losses_against_their_definition():
    method = make()
    method.contrast.memory.assign(torch.arange(NUMBER) % 4 - 1)
    views = method.views(batch(), generator())
    made = method._generate(views, joint=True)
    real, mix, labels = made.of_real.vector, made.of_mix.vector, method.contrast.memory.labels
    found = method.contrast.cluster_terms(views["indices"], real, mix, made.order, made.weight)
    known = labels >= 0
    centroids = method.contrast.memory.centroids
    torch.testing.assert_close(found["ce"], F.cross_entropy((real @ centroids.T)[known], labels[known]))
    terms = []
    for i in range(NUMBER):
        j = made.order[i]
        if known[i] and known[j]:
            log_p = (mix[i] @ centroids.T).log_softmax(dim=0)
            terms.append(-(made.weight * log_p[labels[i]] + (1 - made.weight) * log_p[labels[j]]))
    torch.testing.assert_close(found["ce_mix"], torch.stack(terms).mean())


def test_outliers_are_no_anchors():
    method = make()
    labels = torch.arange(NUMBER) // 4
    labels[:8] = OUTLIER
    method.contrast.memory.assign(torch.where(labels >= 0, labels - 2, labels))
    vector = torch.randn(NUMBER, 96, requires_grad=True)
    sum(method.contrast.terms(torch.arange(NUMBER), vector, vector).values()).backward()
    moved = vector.grad.abs().sum(dim=1) > 0
    assert moved.tolist() == [False] * 8 + [True] * 16


def test_the_memory_takes_real_features_of_the_step():
    method = make()
    method.contrast.memory.assign(torch.arange(NUMBER) // 4)
    old, views = method.contrast.memory.rows.clone(), method.views(batch(torch.tensor([3, 8, 20, 1])), generator())
    list(method.objectives(views, step("joint")))
    assert torch.equal(method.contrast.memory.rows, old), "not before the step has ended"
    method.neck.train()
    expected = F.normalize(method.identify(views["real"]).vector.detach(), dim=1)
    method.after_step(step("joint"))
    new = F.normalize(0.2 * old[views["indices"]] + 0.8 * expected, dim=1)
    torch.testing.assert_close(method.contrast.memory.rows[views["indices"]], new, atol=1e-5, rtol=1e-4)


def test_the_first_pass_of_all_needs_no_clusters():
    method = make()

    def never():
        raise AssertionError("an untrained encoder was asked for features")

    method.start_epoch(never, step("identity"))
    assert len(method.select(torch.arange(NUMBER))) == NUMBER
    rows = grouped()
    method.contrast.memory.fill(rows)
    method.start_epoch(never, step("identity", epoch=1))
    torch.testing.assert_close(method.contrast.memory.rows, F.normalize(rows, dim=1))


def test_passes_fill_the_memory_and_cluster_it():
    settings = {"k1": 4, "k2": 1, "min_samples": 5}
    method = make(**settings)
    pooled = with_strangers()
    assert clustered(method, pooled).tolist() == list(range(NUMBER)), "stage 1 keeps outliers"
    torch.testing.assert_close(method.contrast.memory.rows, F.normalize(pooled, dim=1), atol=1e-4, rtol=1e-3)
    numbers = method.diagnostics()
    assert (numbers["clusters"], numbers["outliers"]) == (4, 4)
    assert (numbers["largest_cluster"], numbers["median_cluster"]) == (5, 5)
    assert [numbers[f"clusters_from_{low}"] for low in (2, 5, 10, 50)] == [0, 4, 0, 0]
    labels = method.contrast.memory.labels.clone()
    assert labels[20:].tolist() == [4, 5, 6, 7], "as clusters of their own"
    method.contrast.memory.update(torch.arange(NUMBER), pooled)
    clustered(method, torch.randn(NUMBER, 96), epoch=2)
    assert torch.equal(method.contrast.memory.labels, labels), "the memory is clustered, not features extracted anew"
    anew = torch.randn(NUMBER, 96)
    clustered(method, anew, "generation", epoch=3)
    torch.testing.assert_close(method.contrast.memory.rows, F.normalize(anew, dim=1), atol=1e-4, rtol=1e-3)
    assert len(method.select(torch.arange(NUMBER))) == NUMBER, "generation draws outliers too"
    again = make(**settings)
    clustered(again, pooled)
    assert torch.equal(again.contrast.memory.labels, labels)


def test_outliers_of_the_joint_stage_are_left_out_or_clusters_of_their_own():
    pooled = with_strangers()
    settings = {"k1": 4, "k2": 1, "min_samples": 5}
    method, own = make(**settings), make(outliers="own", **settings)
    assert clustered(method, pooled, "joint").tolist() == list(range(20))
    assert method.contrast.memory.labels[20:].tolist() == [OUTLIER] * 4
    assert len(method.contrast.memory.centroids) == 4
    assert clustered(own, pooled, "joint").tolist() == list(range(NUMBER))
    assert own.contrast.memory.labels[20:].tolist() == [4, 5, 6, 7]
    assert len(own.contrast.memory.centroids) == 8
    assert own.diagnostics() == method.diagnostics()


def test_eps_rule(caplog):
    method = make(k1=5, eps_rule="rho", rho=0.1, min_samples=2)
    assert float(method.contrast.eps) == 0.55
    clustered(method, grouped())
    found = float(method.contrast.eps)
    assert 0 < found < 0.5
    # A share of all pairs that is less than one of them says nothing of eps: the one before stays.
    method.contrast.config = dataclasses.replace(method.config, rho=1e-6)
    with caplog.at_level(logging.WARNING):
        clustered(method, grouped(), epoch=2)
    assert f"eps stays {found:.3f}" in caplog.text
    assert float(method.contrast.eps) == found


@pytest.mark.parametrize(("settings", "groups"), [({"eps": 1e-6}, NUMBER), ({"eps": 0.9999, "k1": 23}, 1)])
def test_no_cluster_or_one_are_survived(settings, groups, caplog):
    method, pooled = make(**settings), grouped(groups)
    with caplog.at_level(logging.INFO, logger="hcbench"):
        assert len(clustered(method, pooled)) == NUMBER
        assert "each as a cluster of its own" in caplog.text
        assert method.contrast.memory.labels.tolist() == list(range(NUMBER))
        assert len(clustered(method, pooled, "joint")) == NUMBER
        assert "contrast is skipped" in caplog.text
    assert ("looks at 23 neighbours instead of 30" in caplog.text) == ("k1" not in settings)
    parts = run(method, "joint")["encoder"].parts
    assert all(float(parts[name]) == 0 for name in ("l1", "l2", "l3", "ce", "ce_mix"))
    assert parts["outliers"] == NUMBER
    assert parts["clusters"] == 0
