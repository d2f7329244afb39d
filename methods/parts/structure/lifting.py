"""Joints from a file of any pose estimator: `params:<npz>`.

Flat COCO keypoints are lifted into space with fixed limb lengths: a limb that looks shorter than it is points towards
or away from the camera. Which of the two is unknown; limbs are taken to bend the way people do.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hcbench.errors import DataError
from hcbench.methods.parts.structure import body
from hcbench.methods.parts.structure.base import StructureProvider, Subjects, file_hash
from hcbench.methods.parts.structure.capsules import CHANNELS, draw

Array = NDArray[np.float64]

UPPER_ARM, FOREARM, SHOULDER_WIDTH, HIP_WIDTH, NOSE_DEPTH = 0.168, 0.146, 0.224, 0.108, 0.07
"""Shares of stature, as in `body`."""
_LIMBS: Final = (
    # from, to, length, side of the body to which the far end bends: 1 front, -1 back
    (body.SHOULDERS, body.ELBOWS, UPPER_ARM, 1),
    (body.ELBOWS, body.WRISTS, FOREARM, 1),
    (body.HIPS, body.KNEES, body.THIGH, 1),
    (body.KNEES, body.ANKLES, body.SHIN, -1),
)


class ParamsProvider(StructureProvider):
    """Capsules around joints from an npz file with `ids` and one of two arrays.

    `ids` is str (M,) and holds at least the images of the corpus view; `joints` is float (M, 17, 3) in space, as
    `Samples.joints`; `keypoints` is float (M, 17, 2 or 3) in image pixels, the third number 0 where unknown.

    Args:
        path: The file.
        ids: Names of the images of the corpus view.

    Raises:
        DataError: The file is not there, not as described, or lacks an image.
    """

    def __init__(self, path: Path, ids: Sequence[str]) -> None:
        self.name, self.channel_names = f"params:{path}", CHANNELS["capsule"]
        self.channels = len(self.channel_names)
        known, joints, self.lifted = _read(path)
        self.fingerprint = file_hash(path)
        place = {name: i for i, name in enumerate(known)}
        missing = [name for name in ids if name not in place]
        if missing:
            raise DataError(
                f"{path} lacks {len(missing)} of {len(ids)} images, the first of them {missing[0]!r}.",
                "Its `ids` must hold every image of the corpus view.",
            )
        self.joints = torch.from_numpy(joints[[place[name] for name in ids]].astype(np.float32))

    def render(self, subjects: Subjects, yaw: Tensor, size: tuple[int, int]) -> Tensor:
        """See `StructureProvider`."""
        joints = self.joints[subjects.indices.cpu()].to(subjects.indices.device)
        return draw(joints, yaw, subjects.frame, size, self.channel_names)


def _read(path: Path) -> tuple[list[str], Array, bool]:
    """Names, joints (M, 17, 3) and whether they were lifted."""
    if not path.is_file():
        raise DataError(f"There is no file {path}.", "params: needs an npz file with ids and joints or keypoints.")
    try:
        loaded = np.load(path)
        if isinstance(loaded, np.ndarray):
            raise DataError(f"{path} holds one array without a name.", "Write it with numpy.savez, not numpy.save.")
        with loaded as archive:
            arrays = {name: archive[name] for name in archive.files if name in ("ids", "joints", "keypoints")}
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}.", "Write it with numpy.savez.") from error
    points = arrays.get("joints", arrays.get("keypoints"))
    flat = "joints" not in arrays
    if "ids" not in arrays or points is None:
        raise DataError(
            f"{path} holds {', '.join(sorted(arrays)) or 'nothing that is known'}.",
            "Expected ids, and joints (M, 17, 3) or keypoints (M, 17, 2 or 3).",
        )
    widths = (2, 3) if flat else (3,)
    if points.ndim != 3 or points.shape[:2] != (len(arrays["ids"]), 17) or points.shape[2] not in widths:
        raise DataError(
            f"{path} holds {len(arrays['ids'])} ids and points of shape {points.shape}.",
            "Expected joints (M, 17, 3) or keypoints (M, 17, 2 or 3).",
        )
    points = points.astype(np.float64)
    return [str(name) for name in arrays["ids"]], lift(points) if flat else points, flat


def lift(keypoints: Array) -> Array:
    """Joints in space (M, 17, 3) from COCO keypoints (M, 17, 2), or (M, 17, 3) with 0 = unknown.

    Stature is the largest that any limb asks for, since limbs look shorter than they are, never longer. Unknown joints
    are NaN.
    """
    joints = np.zeros((len(keypoints), 17, 3))
    joints[..., :2] = keypoints[..., :2]
    if keypoints.shape[2] == 3:
        joints[keypoints[..., 2] == 0] = np.nan
    stature = _stature(joints)
    facing = _facing(joints)
    for pair, width in ((body.SHOULDERS, SHOULDER_WIDTH), (body.HIPS, HIP_WIDTH)):
        # Which side is nearer is unknown; the left one, by convention.
        depth = _hidden(joints[:, pair[0]] - joints[:, pair[1]], width * stature)
        joints[:, pair[0], 2] += depth / 2
        joints[:, pair[1], 2] -= depth / 2
    for near, far, length, bend in _LIMBS:
        for a, b in zip(near, far, strict=True):
            depth = _hidden((joints[:, b] - joints[:, a])[:, :2], length * stature)
            joints[:, b, 2] = joints[:, a, 2] + bend * facing * depth
    joints[:, :3, 2] += (NOSE_DEPTH * stature * facing)[:, None]
    return joints


def _stature(joints: Array) -> Array:
    middle = [joints[:, pair, :2].mean(axis=1) for pair in (body.SHOULDERS, body.HIPS)]
    needed = [np.linalg.norm(middle[0] - middle[1], axis=1) / body.TRUNK]
    for near, far, length, _ in _LIMBS:
        needed += [
            np.linalg.norm(joints[:, a, :2] - joints[:, b, :2], axis=1) / length for a, b in zip(near, far, strict=True)
        ]
    return np.asarray(np.fmax.reduce(needed))


def _facing(joints: Array) -> Array:
    """1 where a person faces the camera (left joints at the image's right), else -1."""
    turned = [joints[:, left, 0] - joints[:, right, 0] for left, right in (body.SHOULDERS, body.HIPS)]
    return np.asarray(np.where(np.nansum(turned, axis=0) >= 0, 1.0, -1.0))


def _hidden(visible: Array, length: Array) -> Array:
    """Depth that is missing to a limb's length."""
    return np.asarray(np.sqrt(np.maximum(length**2 - (visible[:, :2] ** 2).sum(axis=1), 0.0)))
