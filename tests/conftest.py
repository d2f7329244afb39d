"""What every test needs: quiet threads before torch loads, fixed seeds, and the real sample where there is one."""

from __future__ import annotations

import os

# Set before anything imports torch or numpy: spinning threads of parallel workers starve each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("KMP_BLOCKTIME", "0")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

SEED = 20240607


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Fix the global generators; code under test gets its own, this is for slips and for libraries."""
    random.seed(SEED)
    np.random.seed(SEED)  # libraries still draw from it
    torch = sys.modules.get("torch")  # never imported here: most tests need no torch
    if torch is not None:
        torch.manual_seed(SEED)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is kept for all workspaces of a user stays out of the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HCBENCH_CACHE", str(tmp_path_factory.mktemp("user-cache")))
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    """A NumPy generator with a fixed seed."""
    return np.random.default_rng(SEED)


@pytest.fixture(scope="session")
def real_coco() -> Path:
    """The real COCO sample named by HCBENCH_REAL_DATA (that folder, or the one around it), or a skip."""
    named = os.environ.get("HCBENCH_REAL_DATA")
    if not named:
        pytest.skip("HCBENCH_REAL_DATA names no real sample")
    root = Path(named)
    for folder in (root, *sorted(path for path in root.glob("*") if path.is_dir())):
        if (folder / "annotations" / "person_keypoints.json").is_file() and (folder / "images").is_dir():
            return folder
    # A wrong path must not look like a pass.
    pytest.fail(f"HCBENCH_REAL_DATA={named} holds no annotations/person_keypoints.json beside images/")
