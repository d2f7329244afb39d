"""Small pictures of persons that tests write where a dataset's images lie."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def write_pictures(folder: Path, names: Iterable[str]) -> None:
    """One picture per name, each of its own colour and size, in reverse order of the names."""
    for name in sorted(set(names), reverse=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw = np.random.default_rng(sum(name.encode()))
        size = tuple(int(n) for n in draw.integers(8, 24, 2))
        Image.new("RGB", size, tuple(int(n) for n in draw.integers(0, 256, 3))).save(path)
