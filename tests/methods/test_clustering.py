"""k-reciprocal Jaccard distances against their definition, the eps rule, guards."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import sparse

from hcbench.methods.parts.clustering import OUTLIER, agreement, cluster, eps_of, jaccard_distances, nearest


def features(number=40, dim=5, seed=0, groups=8, spread=0.4):
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(groups, dim, generator=g)
    return centres.repeat_interleave(number // groups, 0) + spread * torch.randn(number, dim, generator=g)


def dense(distances):
    out = np.ones(distances.shape)
    rows = np.repeat(np.arange(len(out)), np.diff(distances.indptr))
    out[rows, distances.indices] = distances.data
    return out


def slow_jaccard(x, k1, k2, searched):
    """Zhong et al., section 3, with sets and loops; L2 on unit rows, query expansion over the k2 nearest."""
    x = F.normalize(x.double(), dim=1).numpy()
    number = len(x)
    squared = ((x[:, None] - x[None]) ** 2).sum(2)
    order = [sorted(range(number), key=lambda j, i=i: (j != i, squared[i, j]))[:searched] for i in range(number)]

    def reciprocal(i, count):
        return {j for j in order[i][: count + 1] if i in order[j][: count + 1]}

    weights = np.zeros((number, number))
    for i in range(number):
        own = reciprocal(i, k1)
        expanded = set(own)
        for j in own:
            theirs = reciprocal(j, int(np.around(k1 / 2)))
            if len(theirs & own) > 2 / 3 * len(theirs):
                expanded |= theirs
        for j in expanded:
            weights[i, j] = math.exp(-squared[i, j])
        weights[i] /= weights[i].sum()
    weights = np.stack([weights[order[i][:k2]].mean(axis=0) for i in range(number)])
    distance = np.zeros((number, number))
    for i in range(number):
        for j in range(number):
            least, most = np.minimum(weights[i], weights[j]).sum(), np.maximum(weights[i], weights[j]).sum()
            distance[i, j] = 1 - least / most
    return distance


@pytest.mark.parametrize(("k1", "k2", "seed"), [(8, 3, 0), (5, 1, 1), (12, 6, 2)])
def test_distances_equal_their_definition(k1, k2, seed):
    x = features(seed=seed)
    found = dense(jaccard_distances(x, k1=k1, k2=k2))
    np.testing.assert_allclose(found, slow_jaccard(x, k1, k2, k1 + 1), atol=1e-6)
    released = dense(jaccard_distances(x, k1=k1, k2=k2, released=True))
    np.testing.assert_allclose(released, slow_jaccard(x, k1, k2, k1), atol=1e-6)
    assert abs(found - released).max() > 1e-3


def test_blocks_do_not_change_the_distances(monkeypatch):
    x = features(96)
    whole = dense(jaccard_distances(x, k1=8))
    monkeypatch.setattr("hcbench.methods.parts.clustering._BLOCK", 7)
    monkeypatch.setattr("hcbench.methods.parts.clustering._SEARCH_BLOCK", 5)
    np.testing.assert_allclose(dense(jaccard_distances(x, k1=8)), whole, atol=1e-6)


def test_far_pairs_need_not_be_stored():
    x = features()
    whole, near = (jaccard_distances(x, k1=8, most=most) for most in (1.0, 0.6))
    assert near.nnz < whole.nnz
    expected = dense(whole)
    np.testing.assert_allclose(dense(near), np.where(expected <= 0.6, expected, 1.0))
    labels = [cluster(one, eps=0.6, min_samples=3).labels for one in (whole, near)]
    assert np.array_equal(*labels)


def test_an_image_is_its_own_nearest_even_among_copies():
    x = F.normalize(torch.ones(5, 3), dim=1)
    assert nearest(x, 2)[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_few_images_clamp_the_neighbourhood():
    x = features(6, groups=2)
    np.testing.assert_allclose(dense(jaccard_distances(x, k1=30)), dense(jaccard_distances(x, k1=5)))
    for number in (0, 1):
        found = cluster(jaccard_distances(x[:number]), eps=0.5, min_samples=1)
        assert found.labels.tolist() == [OUTLIER] * number
        assert (found.count, found.largest, found.median) == (0, 0, 0.0)
    assert jaccard_distances(x[:2]).shape == (2, 2)


def test_eps_is_the_mean_of_the_smallest_share():
    distances = sparse.csr_matrix(np.array([[0, 0.2, 0.4, 0], [0.2, 0, 0, 0], [0.4, 0, 0, 0.1], [0, 0, 0.1, 0]]))
    # Six pairs: .1, .2, .4 and three that are not stored, which count as 1.
    assert eps_of(distances, 1 / 6) == pytest.approx(0.1)
    assert eps_of(distances, 0.5) == pytest.approx(0.7 / 3)
    assert eps_of(distances, 4 / 6) == pytest.approx(1.7 / 4)
    assert eps_of(distances, 0.01) is None
    stored_zero = distances.copy()
    stored_zero[0, 1] = stored_zero[1, 0] = 0.0
    assert eps_of(stored_zero, 0.4) == pytest.approx(0.25), "two of five non-zero pairs"


def test_groups_are_found_again_and_always_the_same():
    x = features(60, dim=16, groups=6, spread=0.1)
    truth = np.arange(60) // 10
    first, second = (cluster(jaccard_distances(x, k1=9), eps=0.55, min_samples=4) for _ in range(2))
    assert np.array_equal(first.labels, second.labels)
    assert (first.count, first.outliers, first.largest, first.median) == (6, 0, 10, 10.0)
    assert agreement(first.labels, truth) == 1.0


def test_no_cluster_and_one_cluster():
    x = features(20, dim=16, groups=20)
    none = cluster(jaccard_distances(x, k1=3), eps=1e-6, min_samples=4)
    assert (none.count, none.outliers) == (0, 20)
    one = cluster(jaccard_distances(x, k1=19), eps=0.999, min_samples=2)
    assert (one.count, one.outliers) == (1, 0)


def test_agreement_leaves_outliers_out():
    labels = np.array([0, 0, 1, 1, OUTLIER])
    assert agreement(labels, np.array([7, 7, 3, 3, 7])) == 1.0
    assert agreement(labels, np.array([7, 3, 7, 3, 7])) < 0.1
    assert math.isnan(agreement(np.array([OUTLIER, 0]), np.array([1, 1])))
