from __future__ import annotations

from pathlib import Path

import pytest
from coco_tree import LAYOUTS, Tree


@pytest.fixture(params=LAYOUTS)
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    made = Tree(tmp_path / "coco", request.param)
    made.write()
    return made


@pytest.fixture
def official(tmp_path: Path) -> Tree:
    made = Tree(tmp_path / "coco", "official")
    made.write()
    return made


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "workspace" / "cache"
