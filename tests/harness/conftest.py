from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from hcbench.data.samples import Samples
from hcbench.harness.planning.cell import Cell, Evaluation, Matrix
from hcbench.harness.planning.registry import PLUGINS_VARIABLE, implementation, load_registry
from hcbench.harness.planning.settings import CorpusConfig, PretrainConfig

os.environ.setdefault("OMP_NUM_THREADS", "1")
DUMMIES = Path(__file__).with_name("dummies.py")


@pytest.fixture(scope="session")
def registry():
    return load_registry([DUMMIES])


@pytest.fixture
def plugins(monkeypatch):
    """The dummies are known to this process and to its workers."""
    monkeypatch.setenv(PLUGINS_VARIABLE, str(DUMMIES))


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
def make_cell(tmp_path):
    def make(method="dummy-gan", images_seen=100, fingerprint=None, seed=0, config=None, root=tmp_path, **settings):
        defaults = {
            "groups_per_batch": 4, "images_per_group": 2, "height": 32, "width": 16, "precision": "fp32",
            "log_every": 2, "checkpoint_every_s": 1e-9,
        }  # fmt: skip
        return Cell(
            method=method,
            budget="36",
            budget_images=36,
            images_seen=images_seen,
            seed=seed,
            backbone="timm:test_vit",
            corpus=CorpusConfig(name="noise", layout="identities"),
            pretrain=PretrainConfig(**{**defaults, **settings}),
            method_config=config or {},
            fingerprint=fingerprint or f"{method}-{seed}",
            roots={"noise": str(root)},
        )

    return make


@pytest.fixture
def make_matrix():
    def make(cells, benchmarks=("dummy-score",), **config):
        config = {
            "scale": 1.0,
            "readout": "auto",
            "replicates": 10,
            "epochs": 1.0,
            "batch_size": 7,
            "head_seed": 0,
        } | config
        evaluations = {
            cell.fingerprint: tuple(
                Evaluation(
                    benchmark=name,
                    version="1",
                    data="noise",
                    protocol="frozen",
                    config=config,
                    fingerprint=f"{cell.fingerprint}/{name}/{config['replicates']}".replace("/", "-"),
                )
                for name in benchmarks
            )
            for cell in cells
        }
        return Matrix(cells=tuple(cells), evaluations=evaluations)

    return make
