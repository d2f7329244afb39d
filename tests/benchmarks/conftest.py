"""A small world for the tasks: persons with colours, captions, attributes, poses and parts, and features of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from hcbench.benchmarks.base import FeatureTable, Split
from hcbench.data.people.figure import PART, PARTS
from hcbench.data.samples import Samples

COLOURS = ("red", "blue", "green", "black", "white", "pink")
GARMENTS = ("shirt", "coat", "dress")


def _samples(persons: int, images: int, distractors: int, seed: int) -> tuple[Samples, np.ndarray]:
    rng = np.random.default_rng(seed)
    total = persons + distractors
    owner = np.concatenate([np.repeat(np.arange(persons), images), np.arange(persons, total)])
    count = len(owner)
    # No two persons look alike: a look is one of 6 * 3 * 6 combinations, drawn without replacement.
    looks = rng.permutation(len(COLOURS) * len(GARMENTS) * len(COLOURS))[:total]
    top, garment, legs = looks % 6, looks // 6 % 3, looks // 18
    code = np.concatenate([np.eye(6)[top], np.eye(3)[garment], np.eye(6)[legs]], axis=1)
    captions = tuple(
        (
            f"A person in a {COLOURS[top[p]]} {GARMENTS[garment[p]]}, {COLOURS[legs[p]]} trousers.",
            f"{COLOURS[legs[p]]} trousers with a {COLOURS[top[p]]} {GARMENTS[garment[p]]}",
        )
        for p in owner
    )
    xy = np.stack([rng.uniform(8, 56, (count, 17)), rng.uniform(8, 120, (count, 17))], axis=2)
    visible = rng.integers(0, 3, (count, 17))
    visible[:, :2] = 2  # every image has a joint that counts
    low, high = xy.min(axis=1) - 2, xy.max(axis=1) + 2
    boxes = np.concatenate([low, high - low], axis=1)
    # Every part is a rectangle of tokens at a place of its own; all classes are in every image.
    parts = np.zeros((count, 128, 64), np.uint8)
    for row, name in enumerate(("head", "torso", "skirt", "left_forearm", "right_shin", "left_shoe")):
        left = rng.integers(0, 3, count)
        for image in range(count):
            parts[image, 16 * (row + 1) : 16 * (row + 2), 16 * left[image] : 16 * left[image] + 32] = PART[name]
    samples = Samples(
        name=f"toy {seed}",
        fingerprint=f"toy{seed}",
        images=np.zeros((count, 3, 128, 64), np.uint8),
        ids=np.array([f"toy{seed}-{i:04d}" for i in range(count)]),
        identity=np.where(owner < persons, owner + 1000 * seed, -1),
        camera=np.arange(count) % 3,
        keypoints=np.concatenate([xy, visible[..., None]], axis=2).astype(np.float32),
        area=(boxes[:, 2] * boxes[:, 3] / 2).astype(np.float32),
        boxes=boxes.astype(np.float32),
        captions=captions,
        attributes=code[owner].astype(np.int8),
        attribute_names=(*(f"top {c}" for c in COLOURS), *GARMENTS, *(f"legs {c}" for c in COLOURS)),
        attribute_groups=("top",) * len(COLOURS) + ("garment",) * len(GARMENTS) + ("legs",) * len(COLOURS),
        parts=parts,
        part_names=PARTS,
        slices={"half": np.arange(count) % 2},
    )
    return samples, code[owner]


def _told(samples: Samples, code: np.ndarray, seed: int) -> FeatureTable:
    """Features that tell everything: looks in the pooled vector, joints in the grid."""
    rng = np.random.default_rng(seed)
    pooled = np.concatenate([code, 0.1 * rng.normal(size=(len(code), 2))], axis=1)
    grid = 0.05 * rng.normal(size=(len(code), 17 + len(PARTS), 8, 4))
    cells = (samples.keypoints[..., :2] // 16).astype(int)
    grid[np.arange(len(code))[:, None], np.arange(17)[None], cells[..., 1], cells[..., 0]] += 1
    centres = samples.parts[:, 8::16, 8::16]
    grid[:, 17:] += centres[:, None] == np.arange(len(PARTS))[None, :, None, None]
    return FeatureTable(pooled=torch.from_numpy(pooled).float(), grid=torch.from_numpy(grid).float())


def _noise(samples: Samples, code: np.ndarray, seed: int) -> FeatureTable:
    generator = torch.Generator().manual_seed(seed)
    return FeatureTable(
        pooled=torch.randn(len(samples), 17, generator=generator),
        grid=torch.randn(len(samples), 17, 8, 4, generator=generator),
    )


World = dict[str, Split]


@pytest.fixture(scope="session")
def make_world() -> Callable[..., World]:
    """Splits train, val and test; features "told" or "noise"."""

    def make(features: str = "told") -> World:
        make_features = {"told": _told, "noise": _noise}[features]
        sizes = {"train": (60, 5, 0, 1), "val": (15, 6, 0, 2), "test": (30, 6, 20, 3)}
        world = {}
        for name, size in sizes.items():
            samples, code = _samples(*size)
            world[name] = Split(features=make_features(samples, code, size[3]), samples=samples)
        return world

    return make


@pytest.fixture(scope="session")
def told(make_world: Callable[..., World]) -> World:
    return make_world("told")


@pytest.fixture(scope="session")
def noise(make_world: Callable[..., World]) -> World:
    return make_world("noise")
