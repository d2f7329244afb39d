"""Structure maps of generated images, as gan-invariance reads them: `gan-invariance.structure=rendered:OUT/structure`.

Grey bodies of capsules around the joints, from the image's own view (`render/`) and seven others (`render_45/` ...):
around the renderer's own joints, or around joints in space guessed from the skeleton that was drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from hcbench.errors import DataError
from hcbench.harness.generation.job import read_rows
from hcbench.harness.jobs.atomic_files import replacing
from hcbench.methods.parts.structure.capsules import CHANNELS, draw
from hcbench.methods.parts.structure.lifting import lift
from hcbench.methods.parts.structure.rendered import TURNS

FOLDER: Final = "structure"
_AT_ONCE: Final = 64


def write_structure(folder: Path, report_progress: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Draw the maps that are not there yet.

    Args:
        folder: A complete folder of `run_job`.
        report_progress: Called with the number of images done and their total.

    Returns:
        The folder for `rendered:`.

    Raises:
        DataError: The images have no pose.
    """
    rows = [row for row in read_rows(folder) if row.get("keypoints") is not None]
    if not rows:
        raise DataError("These images have no pose, from which a body could be drawn.", "Leave --structure out.")
    target = folder / FOLDER
    for first in range(0, len(rows), _AT_ONCE):
        some = rows[first : first + _AT_ONCE]
        missing = [row for row in some if not all(_path(target, turn, row).is_file() for turn in TURNS)]
        if missing:
            _draw(target, missing)
        report_progress(min(first + _AT_ONCE, len(rows)), len(rows))
    return target


def _draw(target: Path, rows: list[dict[str, Any]]) -> None:
    joints = torch.from_numpy(np.stack([_joints(row) for row in rows]).astype(np.float32))
    size = (rows[0]["height"], rows[0]["width"])
    for turn in TURNS:
        maps = draw(joints, torch.full((len(rows),), float(turn)), size, size, CHANNELS["capsule-gray"])
        grey = ((maps[:, 0] + 1) * 127.5).round().to(torch.uint8).numpy()
        for row, picture in zip(rows, grey, strict=True):
            with replacing(_path(target, turn, row)) as temporary:
                Image.fromarray(picture).save(temporary, "PNG")


def _joints(row: dict[str, Any]) -> NDArray[np.float64]:
    """Joints in space (17, 3) of an image; NaN where one is not known."""
    if row.get("joints") is not None:
        return np.array(row["joints"], np.float64).reshape(17, 3)
    return np.asarray(lift(np.array(row["keypoints"], np.float64).reshape(1, 17, 3))[0])


def _path(target: Path, turn: int, row: dict[str, Any]) -> Path:
    return target / (f"render_{turn}" if turn else "render") / str(row["image_path"])
