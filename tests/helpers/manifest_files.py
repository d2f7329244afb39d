"""Small manifests of generated pictures, packed or beside their files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hcbench.data.manifest.write import ManifestWriter

WIDTH, HEIGHT = 20, 40


def picture(number: int) -> bytes:
    """A PNG of one colour that tells its number."""
    with io.BytesIO() as file:
        Image.new("RGB", (WIDTH, HEIGHT), (number % 256, number // 256, 77)).save(file, "PNG")
        return file.getvalue()


def columns(count: int, per_group: int = 5) -> dict[str, Any]:
    """All labels of `count` images: groups of `per_group`, persons of 3, poses of 2."""
    rows = np.arange(count)
    joints = np.tile([[10.0, 30.0, 2.0]], (17, 1))
    joints[3] = 0
    return {
        "image_path": [f"images/{row:04d}.png" for row in rows],
        "group_id": rows // per_group,
        "variant": rows % per_group,
        "captions": [[f"A person, number {row // per_group}.", "walks"] for row in rows],
        "identity": rows // 3,
        "camera": rows % 2,
        "pose_id": rows // 2,
        "keypoints": [joints.ravel().tolist()] * count,
        "width": [WIDTH] * count,
        "height": [HEIGHT] * count,
        "source": ["coco"] * count,
        "split": ["train"] * count,
    }


def write(
    folder: Path, count: int = 60, *, packed: bool = False, name: str = "some.parquet", **changes: Sequence[Any] | None
) -> Path:
    """A manifest of `count` images with the files that it names; a change of None leaves a column out."""
    given: Mapping[str, Any] = {**columns(count), **changes}
    given = {key: values for key, values in given.items() if values is not None}
    pictures = [picture(row) for row in range(count)]
    if packed:
        given = {**given, "image_bytes": pictures}
    else:
        (folder / "images").mkdir(parents=True, exist_ok=True)
        for row, content in enumerate(pictures):
            (folder / f"images/{row:04d}.png").write_bytes(content)
    with ManifestWriter(folder / name, packed=packed) as writer:
        for start in range(0, count, 7):
            writer.add({key: values[start : start + 7] for key, values in given.items()})
    return folder / name
