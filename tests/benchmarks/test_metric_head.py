"""The closed-form metric of ReID's head against a slow version, and what must not change it."""

from __future__ import annotations

import resource
import time

import numpy as np
import pytest
import scipy.linalg
from numpy.typing import NDArray

from hcbench.benchmarks.metrics.reid import rank_metrics
from hcbench.benchmarks.reid.metric_head import DIRECTIONS, MetricHead, Scatter
from hcbench.errors import TaskError

Float = NDArray[np.float64]


def persons(
    count: int, images: int, dim: int, *, seed: int = 0, spread: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Persons with a centre each and correlated differences between their images; some have an image more."""
    rng = np.random.default_rng(seed)
    identity = np.concatenate([np.repeat(np.arange(count), images), np.arange(0, count, 3)]) * 7 + 2
    mixing = np.random.default_rng(99).normal(size=(dim, dim))
    features = rng.normal(size=(identity.max() + 1, dim))[identity] + spread * rng.normal(size=(len(identity), dim))
    return (features @ mixing + 3).astype(np.float32), identity


def learn(features: NDArray[np.float32], identity: NDArray[np.int64], shrinkage: float = 0.1) -> MetricHead:
    return Scatter.measure(features, identity).solve(shrinkage)


def slow(train: NDArray[np.float32], identity: NDArray[np.int64], seen: NDArray[np.float32], shrinkage: float) -> Float:
    """Cosines by the definition: sums over images and persons, the generalised eigenproblem of B and W."""
    x = train.astype(np.float64)
    mean, dim = x.mean(axis=0), x.shape[1]
    within, between = np.zeros((dim, dim)), np.zeros((dim, dim))
    for person in set(identity.tolist()):
        own = x[identity == person]
        centre = own.mean(axis=0)
        between += len(own) / len(x) * np.outer(centre - mean, centre - mean)
        for image in own:
            within += np.outer(image - centre, image - centre) / len(x)
    within += shrinkage * np.trace(within) / dim * np.eye(dim)
    variance, axes = scipy.linalg.eigh(between, within)  # axes.T @ within @ axes = identity
    keep = np.argsort(variance)[::-1][: min(DIRECTIONS, len(set(identity.tolist())) - 1)]
    w = np.maximum(variance[keep], 0)
    projected = (seen.astype(np.float64) - mean) @ axes[:, keep] * np.sqrt(w / (1 + w))
    projected /= np.linalg.norm(projected, axis=1, keepdims=True)
    return projected @ projected.T


def cosines(vectors: NDArray[np.float32]) -> Float:
    return vectors.astype(np.float64) @ vectors.astype(np.float64).T


@pytest.mark.parametrize(
    ("count", "images", "dim"),
    [(30, 4, 12), (8, 5, 20), (300, 2, 290), (6, 3, 50)],
    ids=["more persons than features", "fewer persons", "more directions than are kept", "fewer images than features"],
)
@pytest.mark.parametrize("shrinkage", [0.01, 1.0])
def test_it_is_the_generalised_eigenproblem(count, images, dim, shrinkage):
    train, identity = persons(count, images, dim)
    seen, _ = persons(9, 3, dim, seed=1)
    head = learn(train, identity, shrinkage)
    np.testing.assert_allclose(cosines(head(seen)), slow(train, identity, seen, shrinkage), atol=2e-6)
    assert head.directions == min(DIRECTIONS, count - 1, dim)
    np.testing.assert_allclose(np.linalg.norm(head(seen), axis=1), 1, atol=1e-6)


def test_the_space_of_few_images_is_all_that_counts():
    """Features beside those that vary in training are left out, and count in the mean variance alone."""
    train, identity = persons(6, 3, 15)
    wide = np.concatenate([train, np.zeros((len(train), 35), np.float32)], axis=1)
    seen, _ = persons(5, 3, 15, seed=1)
    noise = np.random.default_rng(0).normal(size=(len(seen), 35)).astype(np.float32)
    found = learn(wide, identity, 1.0)(np.concatenate([seen, 100 * noise], axis=1))
    expected = learn(train, identity, 15 / 50)(seen)  # the same ridge: tr(W) is spread over 15 in the place of 50
    np.testing.assert_allclose(cosines(found), cosines(expected), atol=1e-5)


@pytest.mark.parametrize(("count", "images", "dim"), [(30, 4, 12), (6, 3, 50)])
def test_neither_rotation_nor_scale_nor_shift_nor_names_matter(count, images, dim):
    train, identity = persons(count, images, dim)
    seen, _ = persons(9, 3, dim, seed=1)
    expected = cosines(learn(train, identity)(seen))
    rotation = scipy.linalg.qr(np.random.default_rng(5).normal(size=(dim, dim)))[0]
    for change in (lambda x: x @ rotation, lambda x: 1000 * x, lambda x: 1e-3 * x, lambda x: x + 5):
        changed = learn(change(train).astype(np.float32), identity)(change(seen).astype(np.float32))
        np.testing.assert_allclose(cosines(changed), expected, atol=2e-4)
    renamed = np.random.default_rng(6).permutation(identity.max() + 1)[identity]
    np.testing.assert_allclose(cosines(learn(train, renamed)(seen)), expected, atol=1e-6)
    order = np.random.default_rng(7).permutation(len(train))
    np.testing.assert_allclose(cosines(learn(train[order], identity[order])(seen)), expected, atol=1e-6)


def street(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Six images of each person under three cameras, whose mark is five times as loud as who it is."""
    rng = np.random.default_rng(seed)
    identity, camera = np.repeat(np.arange(count), 6), np.tile(np.arange(3), 2 * count)
    who = rng.normal(size=(count, 32))[identity]
    loud = np.random.default_rng(42).normal(size=(8, 32))
    mark = 5 * (np.eye(3, 8)[camera] + 0.5 * rng.normal(size=(len(identity), 8))) @ loud
    features = who + mark + 0.5 * rng.normal(size=who.shape)
    return features.astype(np.float32), identity, camera


def mean_ap(vectors: NDArray[np.float32], identity: NDArray[np.int64], camera: NDArray[np.int64]) -> float:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return rank_metrics(1 - cosines(unit), identity, identity, camera, camera).mAP


def test_identity_below_the_noise_of_cameras_is_found():
    train, names, _ = street(100, 0)
    seen, identity, camera = street(40, 1)
    nearest, learned = mean_ap(seen, identity, camera), mean_ap(learn(train, names, 0.01)(seen), identity, camera)
    assert nearest < 0.2
    assert learned > 0.8


def test_noise_stays_at_chance():
    rng = np.random.default_rng(0)
    train, seen = rng.normal(size=(500, 32)).astype(np.float32), rng.normal(size=(240, 32)).astype(np.float32)
    identity, camera = np.repeat(np.arange(40), 6), np.tile(np.arange(3), 80)
    chance = mean_ap(seen, identity, camera)
    learned = mean_ap(learn(train, np.arange(500) % 100)(seen), identity, camera)
    assert learned == pytest.approx(chance, abs=0.01)


def test_images_of_a_person_that_do_not_differ_can_be_learned_from():
    """Nothing is divided by a variance of zero; persons then lie where their features do."""
    codes = np.eye(12, 20, dtype=np.float32)
    identity = np.repeat(np.arange(12), 3)
    head = learn(codes[identity], identity)
    assert np.isfinite(head(codes)).all()
    assert (np.argmax(cosines(head(codes)), axis=1) == np.arange(12)).all()


def test_features_that_tell_nothing_are_explained():
    train, identity = persons(6, 3, 10)
    broken = train.copy()
    broken[3, 4] = np.nan
    with pytest.raises(TaskError, match=r"1 of \d+ feature values are not finite"):
        Scatter.measure(broken, identity)
    with pytest.raises(TaskError, match="None of the 10 features differs between the 20 training images"):
        Scatter.measure(np.full_like(train, 0.1), identity)


@pytest.mark.slow
def test_wide_features_take_seconds():
    """2,048 features of 3,000 images, all shrinkages: seconds of processor time, and no more than a few matrices."""
    rng = np.random.default_rng(0)
    features, identity = rng.normal(size=(3000, 2048)).astype(np.float32), np.arange(3000) % 500
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    scatter = Scatter.measure(features, identity)
    for shrinkage in (0.01, 0.03, 0.1, 0.3, 1.0):
        scatter.solve(shrinkage)
    assert time.process_time() - start < 15
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000  # KiB
