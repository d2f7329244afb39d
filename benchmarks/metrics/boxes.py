"""Person boxes: from corners to centre and size, and the affine map from a box to a network input."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hcbench.benchmarks.metrics.arrays import FloatArray, to_numpy

PADDING = 1.25  # the pose field's habit: a person box is enlarged by a quarter


def box_center_size(
    boxes: ArrayLike, *, padding: float = PADDING, aspect: float | None = None
) -> tuple[FloatArray, FloatArray]:
    """Turn corners into centres and padded sizes.

    Args:
        boxes: (..., 4) x1, y1, x2, y2.
        padding: Factor on both sides.
        aspect: Width / height of the network input; the shorter side is enlarged to it before padding. None keeps
            the box's own.

    Returns:
        (..., 2) centres and (..., 2) sizes.

    >>> center, size = box_center_size([0, 0, 10, 20], aspect=0.75)
    >>> center.tolist(), size.tolist()
    ([5.0, 10.0], [18.75, 25.0])
    """
    corners = to_numpy(boxes).astype(np.float64)
    center = (corners[..., :2] + corners[..., 2:]) / 2
    size = corners[..., 2:] - corners[..., :2]
    if aspect is not None:
        width, height = size[..., 0], size[..., 1]
        size = np.stack([np.maximum(width, height * aspect), np.maximum(height, width / aspect)], axis=-1)
    return center, size * padding


def box_affine(
    center: ArrayLike, size: ArrayLike, rot_degrees: ArrayLike, output_size: ArrayLike, *, udp: bool = False
) -> FloatArray:
    """Build the matrix that maps image pixels onto the network input cut out around a box.

    Plain: both axes are scaled by output width / box width, the box centre goes to the middle of the output. UDP:
    each axis is scaled by (output - 1) / box, so that the box's edges meet the outer pixel centres. For the same
    angle the two turn in *opposite* directions, as they do in mmpose.

    Args:
        center: (..., 2) box centre in image pixels.
        size: (..., 2) box width and height.
        rot_degrees: (...) angle.
        output_size: (width, height) of the output in pixels.
        udp: Which of the two.

    Returns:
        (..., 2, 3) matrices for column vectors (x, y, 1).

    >>> box_affine([50, 50], [100, 100], 0, [200, 200]).tolist()
    [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]
    """
    middle, box = to_numpy(center).astype(np.float64), to_numpy(size).astype(np.float64)
    angle = np.deg2rad(to_numpy(rot_degrees).astype(np.float64)) * (1.0 if udp else -1.0)
    output = to_numpy(output_size).astype(np.float64)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([cos, -sin], axis=-1), np.stack([sin, cos], axis=-1)], axis=-2)
    if udp:
        scale = (output - 1) / box
        target = (output - 1) / 2
    else:
        scale = np.repeat(output[0] / box[..., :1], 2, axis=-1)
        target = output / 2
    linear = scale[..., :, None] * turn
    shift = target - (linear @ middle[..., None])[..., 0]
    return np.concatenate([linear, shift[..., None]], axis=-1) + 0.0  # no negative zeros


def invert_affine(matrix: ArrayLike) -> FloatArray:
    """Invert 2 x 3 affine matrices.

    Args:
        matrix: (..., 2, 3).

    Returns:
        (..., 2, 3) matrices of the way back.

    >>> invert_affine([[2, 0, 10], [0, 2, 0]]).tolist()
    [[0.5, 0.0, -5.0], [0.0, 0.5, 0.0]]
    """
    forward = to_numpy(matrix).astype(np.float64)
    linear = np.linalg.inv(forward[..., :2])
    return np.concatenate([linear, -linear @ forward[..., 2:]], axis=-1) + 0.0  # no negative zeros
