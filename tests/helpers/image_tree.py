"""Small image files in the folders of a dataset, each of one colour of its own, so that mixed-up rows show."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

JUNK = ("._a.jpg", ".DS_Store", "Thumbs.db")


def colour(name: str) -> tuple[int, int, int]:
    """The colour of the image of this path."""
    code = zlib.crc32(name.encode())
    return code & 255, code >> 8 & 255, code >> 16 & 255


def write_images(base: Path, names: Iterable[str], *, size: tuple[int, int] = (8, 16)) -> None:
    """Write images of `size` (width, height) at these paths below `base`."""
    for name in names:
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, colour(name)).save(path, quality=95)


def write_junk(*folders: Path) -> None:
    """Leave what operating systems leave, in each folder."""
    for folder in folders:
        for name in JUNK:
            (folder / name).write_bytes(b"\0\5\26\7")


def colours(images: np.ndarray) -> np.ndarray:
    """Mean colour of each image (N, 3, H, W), float (N, 3)."""
    return images.astype(float).mean(axis=(2, 3))


def expected_colours(names: Iterable[str]) -> np.ndarray:
    """What `colours` gives of the images of these paths, to about 3 grey levels of jpeg."""
    return np.array([colour(name) for name in names], float)
