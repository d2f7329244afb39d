"""Where the camera stands and how the box lies around the person.

Image frame: x = right, y = down, z = towards the camera, all in pixels; pixel centres at integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcbench.data.people import body
from hcbench.data.people.spec import Draws

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class View:
    """An orthographic camera: image = linear @ point + offset.

    Attributes:
        linear: float64 (N, 3, 3), metres of the body frame to pixels of the image frame.
        offset: float64 (N, 3).
        scale: float64 (N,), pixels per metre.
        yaw: float64 (N,), 0 = the person faces the camera, positive = turned to their left (image right).
    """

    linear: Array
    offset: Array
    scale: Array
    yaw: Array

    def project(self, points: Array) -> Array:
        """Body points (N, M, 3) to image points (N, M, 3)."""
        return np.asarray(np.einsum("nij,nmj->nmi", self.linear, points) + self.offset[:, None])

    def rotate(self, vectors: Array) -> Array:
        """Body directions (N, 3) to unit image directions (N, 3)."""
        return np.asarray(np.einsum("nij,nj->ni", self.linear, vectors) / self.scale[:, None])


def draw_yaw(view: Draws) -> Array:
    """All view angles are equally likely."""
    return view.uniform("yaw", -np.pi, np.pi)


def draw_view(view: Draws, framing: Draws, skeleton: body.Skeleton, height: int, width: int) -> View:
    """Camera angles and an imperfect box around the skeleton (never around the flesh: a pose group shares its view)."""
    yaw = draw_yaw(view)
    pitch = view.uniform("pitch", 0.0, 0.30) ** 1.0
    roll = view.normal("roll", 0.0, 0.02)
    turn = body.rotation(2, roll) @ body.rotation(0, pitch) @ body.rotation(1, yaw)
    turn[:, 1] *= -1.0  # the image's y axis points down
    points = np.einsum("nij,nmj->nmi", turn, body.outline_points(skeleton))[..., :2]
    low, high = points.min(axis=1) - 0.05, points.max(axis=1) + 0.05
    extent, centre = high - low, (high + low) / 2
    scale = np.minimum(
        framing.uniform("fill_height", 0.80, 0.96) * height / extent[:, 1],
        framing.uniform("fill_width", 0.86, 1.0) * width / extent[:, 0],
    )
    # Real boxes come from detectors: a little off, sometimes cutting the person.
    cut = framing.flag("cut", 0.14)
    scale *= np.where(cut, framing.uniform("zoom", 1.12, 1.45), 1.0)
    slack = np.where(cut, 0.12, 0.03)
    shift_x = framing.uniform("shift_x", -1, 1) * slack * width
    shift_y = np.where(cut, framing.uniform("cut_y", -0.08, 0.2), framing.uniform("shift_y", -0.025, 0.025)) * height
    offset = np.zeros((len(scale), 3))
    offset[:, 0] = (width - 1) / 2 + shift_x - scale * centre[:, 0]
    offset[:, 1] = (height - 1) / 2 + shift_y - scale * centre[:, 1]
    return View(linear=turn * scale[:, None, None], offset=offset, scale=scale, yaw=yaw)
