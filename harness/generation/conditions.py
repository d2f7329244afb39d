"""Skeletons as pictures: what pose-guided diffusion models were trained to follow. Pure functions on arrays.

Three drawings of COCO's 17 keypoints are known (`STYLES`):

    controlnet    OpenPose limbs at 0.6 of their colour, full-coloured joints on top (huggingface/controlnet_aux
                  open_pose/util.py)
    t2i-openpose  joints first, each limb then blended over them, 0.4 old + 0.6 limb (TencentARC/T2I-Adapter
                  ldm/modules/extra_condition/openpose/util.py)
    t2i-keypose   COCO's own joints and links in mmpose's way (TencentARC/T2I-Adapter gradio_keypose.py)

Joints with v = 0 are unknown and not drawn, v = 1 (hidden) are. Pixel centres lie at integers.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hcbench.errors import ConfigError, did_you_mean

# DEVIATION (huggingface/controlnet_aux, TencentARC/T2I-Adapter): they cut coordinates, lengths and angles to whole
# numbers before OpenCV fills polygons; here a pixel belongs to a shape where its centre does, up to a pixel's
# difference. Mirrored coordinates then give exactly the mirrored picture.

Picture = NDArray[np.uint8]
Points = NDArray[np.float64]

STYLES: Final = ("controlnet", "t2i-openpose", "t2i-keypose")

LEFT_SHOULDER, RIGHT_SHOULDER = 5, 6
OPENPOSE_FROM_COCO: Final = (0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""COCO index of each of OpenPose's 18 joints; -1 is the neck, which COCO lacks."""
LIMBS: Final = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
    (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
"""OpenPose joints that each limb links, in drawing order. (2, 16) and (5, 17) of the original list are never drawn."""
COLOURS: Final = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255),
    (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
"""RGB of limb i and of joint i."""

# The original draws with (51, 153, 255) and the like, then swaps the channels on the way into the network
# (img2tensor(bgr2rgb=True)); these are the colours that the network sees. What it was trained with is not published.
_MIDDLE, _LEFT, _RIGHT = (255, 153, 51), (0, 255, 0), (0, 128, 255)
KEYPOSE_LINKS: Final = (
    (15, 13, _LEFT), (13, 11, _LEFT), (16, 14, _RIGHT), (14, 12, _RIGHT), (11, 12, _MIDDLE), (5, 11, _MIDDLE),
    (6, 12, _MIDDLE), (5, 6, _MIDDLE), (5, 7, _LEFT), (6, 8, _RIGHT), (7, 9, _LEFT), (8, 10, _RIGHT), (1, 2, _MIDDLE),
    (0, 1, _MIDDLE), (0, 2, _MIDDLE), (1, 3, _MIDDLE), (2, 4, _MIDDLE), (3, 5, _MIDDLE), (4, 6, _MIDDLE),
)  # fmt: skip
KEYPOSE_JOINTS: Final = (_MIDDLE,) * 5 + (_LEFT, _RIGHT) * 6

_STICK_PX, _KEYPOSE_RADIUS_PX, _KEYPOSE_LINE_PX, _REFERENCE_PX = 4, 2, 2, 512
"""Sizes that the originals draw with, on canvases whose shorter side is 512."""
_BORDER_PX: Final = 0.5
"""OpenCV fills the pixels that an outline runs through, too."""


def draw_skeleton(
    keypoints: NDArray[np.floating], height: int, width: int, *, style: str = "controlnet", stick: int | None = None
) -> Picture:
    """Draw one person.

    Args:
        keypoints: (17, 3), COCO order, x and y in pixels of the canvas, v > 0 where known.
        height: Height of the canvas, pixels; draw at the size of generation, a picture enlarged later looks different.
        width: Its width.
        style: One of `STYLES`.
        stick: Half width of limbs and radius of joints in pixels; None scales the original 4 (keypose: 2) with the
            shorter side, as `stick_width` says.

    Returns:
        uint8 (height, width, 3), RGB on black.

    Raises:
        ConfigError: There is no such style.

    >>> points = np.zeros((17, 3)); points[5], points[6] = (12, 8, 2), (4, 8, 2)
    >>> picture = draw_skeleton(points, 16, 16, stick=1)
    >>> picture[8, 8].tolist(), picture[8, 4].tolist()
    ([255, 0, 0], [255, 170, 0])
    """
    points = np.asarray(keypoints, np.float64)
    if points.shape != (17, 3):
        raise ValueError(f"keypoints have the shape {points.shape}, expected (17, 3)")
    if style == "t2i-keypose":
        return _keypose(points, height, width, stick)
    if style not in STYLES:
        raise ConfigError(f"No drawing of skeletons is called {style!r}.", did_you_mean(style, STYLES))
    half = stick_width(height, width) if stick is None else stick
    joints = openpose_joints(points)
    return (_controlnet if style == "controlnet" else _t2i_openpose)(joints, height, width, half)


def stick_width(height: int, width: int, reference: int = _STICK_PX) -> int:
    """Half width of limbs for a canvas: `reference` where the shorter side is 512, at least 1.

    >>> stick_width(512, 512), stick_width(512, 256), stick_width(64, 32)
    (4, 2, 1)
    """
    return max(1, round(reference * min(height, width) / _REFERENCE_PX))


def openpose_joints(keypoints: Points) -> Points:
    """OpenPose's 18 joints (18, 3) of COCO keypoints (17, 3); the neck is known where both shoulders are."""
    joints = keypoints[list(OPENPOSE_FROM_COCO)]
    shoulders = keypoints[[LEFT_SHOULDER, RIGHT_SHOULDER]]
    known = float(shoulders[:, 2].min()) if (shoulders[:, 2] > 0).all() else 0.0
    joints[1] = (*shoulders[:, :2].mean(axis=0), known)
    return np.asarray(joints)


def _controlnet(joints: Points, height: int, width: int, half: int) -> Picture:
    canvas = np.zeros((height, width, 3), np.uint8)
    for (a, b), colour in zip(LIMBS, COLOURS, strict=False):
        if joints[a, 2] > 0 and joints[b, 2] > 0:
            where, inside = _ellipse(joints[a, :2], joints[b, :2], half, height, width)
            canvas[where][inside] = colour
    canvas[:] = canvas.astype(np.uint16) * 3 // 5  # x 0.6
    for joint, colour in zip(joints, COLOURS, strict=True):
        if joint[2] > 0:
            where, inside = _disc(joint[:2], half, height, width)
            canvas[where][inside] = colour
    return canvas


def _t2i_openpose(joints: Points, height: int, width: int, half: int) -> Picture:
    canvas = np.zeros((height, width, 3), np.uint8)
    for joint, colour in zip(joints, COLOURS, strict=True):
        if joint[2] > 0:
            where, inside = _disc(joint[:2], half, height, width)
            canvas[where][inside] = colour
    for (a, b), colour in zip(LIMBS, COLOURS, strict=False):
        if joints[a, 2] > 0 and joints[b, 2] > 0:
            where, inside = _ellipse(joints[a, :2], joints[b, :2], half, height, width)
            over = canvas[where][inside] * 0.4 + np.array(colour) * 0.6
            canvas[where][inside] = np.rint(over).astype(np.uint8)
    return canvas


def _keypose(points: Points, height: int, width: int, stick: int | None) -> Picture:
    radius = stick_width(height, width, _KEYPOSE_RADIUS_PX) if stick is None else stick
    half = stick_width(height, width, _KEYPOSE_LINE_PX) / 2 if stick is None else stick / 2
    canvas = np.zeros((height, width, 3), np.uint8)
    for joint, colour in zip(points, KEYPOSE_JOINTS, strict=True):
        if joint[2] > 0:
            where, inside = _disc(joint[:2], radius, height, width)
            canvas[where][inside] = colour
    within = (points[:, :2] > 0).all(axis=1) & (points[:, :2] < (width, height)).all(axis=1) & (points[:, 2] > 0)
    for a, b, colour in KEYPOSE_LINKS:
        if within[a] and within[b]:  # the original leaves out links that touch the border
            where, inside = _line(points[a, :2], points[b, :2], half, height, width)
            canvas[where][inside] = colour
    return canvas


Box = tuple[slice, slice]


def _ellipse(a: Points, b: Points, half_width: float, height: int, width: int) -> tuple[Box, NDArray[np.bool_]]:
    """Pixels of the ellipse whose long axis runs from a to b."""
    length = max(float(np.hypot(*(b - a))), 1e-9)
    along = (b - a) / length
    long, short = length / 2 + _BORDER_PX, half_width + _BORDER_PX
    where, dx, dy = _around((a + b) / 2, max(long, short), height, width)
    u, v = dx * along[0] + dy * along[1], dy * along[0] - dx * along[1]
    return where, (u / long) ** 2 + (v / short) ** 2 <= 1


def _disc(centre: Points, radius: float, height: int, width: int) -> tuple[Box, NDArray[np.bool_]]:
    where, dx, dy = _around(centre, radius + _BORDER_PX, height, width)
    return where, dx**2 + dy**2 <= (radius + _BORDER_PX) ** 2


def _line(a: Points, b: Points, half: float, height: int, width: int) -> tuple[Box, NDArray[np.bool_]]:
    """Pixels within `half` of the line from a to b."""
    span = b - a
    where, dx, dy = _around((a + b) / 2, float(np.hypot(*span)) / 2 + half, height, width)
    share = np.clip((dx * span[0] + dy * span[1]) / max(float(span @ span), 1e-9), -0.5, 0.5)
    return where, (dx - share * span[0]) ** 2 + (dy - share * span[1]) ** 2 <= half**2


def _around(centre: Points, reach: float, height: int, width: int) -> tuple[Box, Points, Points]:
    """The part of the canvas within `reach` of a point, and each pixel's distances dx (1, w) and dy (h, 1) from it."""
    x, y = float(centre[0]), float(centre[1])
    left, right = (int(np.clip(np.floor(v), 0, width)) for v in (x - reach, x + reach + 2))
    top, bottom = (int(np.clip(np.floor(v), 0, height)) for v in (y - reach, y + reach + 2))
    dx, dy = np.arange(left, right, dtype=np.float64) - x, np.arange(top, bottom, dtype=np.float64) - y
    return (slice(top, bottom), slice(left, right)), dx[None], dy[:, None]
