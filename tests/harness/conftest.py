from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from hcbench.data.samples import Samples
from hcbench.harness.registry import implementation, load_registry
from hcbench.harness.settings import Cell, CorpusConfig, PretrainConfig

os.environ.setdefault("OMP_NUM_THREADS", "1")
DUMMIES = Path(__file__).with_name("dummies.py")


@pytest.fixture(scope="session")
def registry():
    return load_registry([DUMMIES])


@pytest.fixture(scope="session")
def dummies(registry):
    implementation(registry.method("dummy-gan"))
    return sys.modules["hcbench_plugin_dummies"]


@pytest.fixture
def view():
    """Ten groups of three images and one of two."""
    rng = np.random.default_rng(0)
    group = np.r_[np.repeat(np.arange(10), 3), 10, 10]
    images = rng.integers(0, 256, (len(group), 3, 32, 16), dtype=np.uint8)
    return Samples(
        name="noise",
        fingerprint="noise",
        images=images,
        ids=np.array([f"n{i}" for i in range(len(group))]),
        group=group,
        identity=group.copy(),
    )


@pytest.fixture
def make_cell():
    def make(method="dummy-gan", images_seen=100, fingerprint="f" * 16, **settings):
        defaults = {
            "groups_per_batch": 4, "images_per_group": 2, "height": 32, "width": 16, "precision": "fp32",
            "log_every": 2, "checkpoint_every_s": 1e-9,
        }  # fmt: skip
        config = {key: settings.pop(key) for key in ("lr_own", "pause_s", "marker") if key in settings}
        return Cell(
            method=method,
            budget="32",
            budget_images=32,
            images_seen=images_seen,
            seed=0,
            backbone="timm:resnet10t",
            corpus=CorpusConfig(layout="identities"),
            pretrain=PretrainConfig(**{**defaults, **settings}),
            method_config=config,
            fingerprint=fingerprint,
        )

    return make
