"""Where the camera stands and how the box lies around the person.

Image frame: x = right, y = down, z = towards the camera, all in pixels; pixel centres at integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hcbench.data.people import body
from hcbench.data.people.spec import Draws

Array = NDArray[np.float64]

STREET_CUTS: Final = 0.08
"""Share of the boxes on a street that cut the feet."""


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


@dataclass(frozen=True, slots=True)
class _Box:
    """How a crop lies around N persons, float64 (N,)."""

    fill_height: Array  # at the most, of the person's extent, in image heights
    fill_width: Array
    zoom: Array
    shift_x: Array  # image widths
    shift_y: Array  # image heights

    def where(self, chosen: NDArray[np.bool_], other: _Box) -> _Box:
        """This box for the persons who are chosen, the other one for all others."""
        return _Box(
            fill_height=np.where(chosen, self.fill_height, other.fill_height),
            fill_width=np.where(chosen, self.fill_width, other.fill_width),
            zoom=np.where(chosen, self.zoom, other.zoom),
            shift_x=np.where(chosen, self.shift_x, other.shift_x),
            shift_y=np.where(chosen, self.shift_y, other.shift_y),
        )


def _everyday_box(framing: Draws) -> _Box:
    """All scales; a box that is a little off, sometimes cutting the person anywhere."""
    cut = framing.flag("cut", 0.14)
    return _Box(
        fill_height=framing.uniform("fill_height", 0.80, 0.96),
        fill_width=framing.uniform("fill_width", 0.86, 1.0),
        zoom=np.where(cut, framing.uniform("zoom", 1.12, 1.45), 1.0),
        shift_x=framing.uniform("shift_x", -1, 1) * np.where(cut, 0.12, 0.03),
        shift_y=np.where(cut, framing.uniform("cut_y", -0.08, 0.2), framing.uniform("shift_y", -0.025, 0.025)),
    )


def _detector_box(framing: Draws) -> _Box:
    """The box of a detector on a street: tight, centred, off by some percent, now and then cutting the feet."""
    cut = framing.flag("cut", STREET_CUTS)
    zoom = np.where(cut, framing.uniform("zoom", 1.06, 1.22), 1.0)
    return _Box(
        fill_height=framing.uniform("fill_height", 0.87, 0.96),
        fill_width=framing.uniform("fill_width", 1.0, 1.16),
        zoom=zoom,
        shift_x=framing.normal("shift_x", 0.0, 0.025),
        # What the zoom adds is lost below, so that the head stays.
        shift_y=0.45 * (zoom - 1.0) + framing.normal("shift_y", 0.0, 0.012),
    )


def draw_view(
    view: Draws, framing: Draws, skeleton: body.Skeleton, height: int, width: int,
    street: NDArray[np.bool_] | None = None,
) -> View:  # fmt: skip
    """Camera angles and an imperfect box around the skeleton (never around the flesh: a pose group shares its view).

    Args:
        view: Of the factor "view".
        framing: Of the factor "framing".
        skeleton: N of them.
        height: Of the image, pixels.
        width: Of the image, pixels.
        street: Bool (N,), who is seen in a detector's box on a street; None = nobody.
    """
    yaw = draw_yaw(view)
    pitch = view.uniform("pitch", 0.0, 0.30) ** 1.0
    roll = view.normal("roll", 0.0, 0.02)
    turn = body.rotation(2, roll) @ body.rotation(0, pitch) @ body.rotation(1, yaw)
    turn[:, 1] *= -1.0  # the image's y axis points down
    points = np.einsum("nij,nmj->nmi", turn, body.outline_points(skeleton))[..., :2]
    low, high = points.min(axis=1) - 0.05, points.max(axis=1) + 0.05
    extent, centre = high - low, (high + low) / 2
    outside = np.zeros(len(extent), bool) if street is None else street
    box = _detector_box(framing).where(outside, _everyday_box(framing))
    scale = box.zoom * np.minimum(box.fill_height * height / extent[:, 1], box.fill_width * width / extent[:, 0])
    offset = np.zeros((len(scale), 3))
    offset[:, 0] = (width - 1) / 2 + box.shift_x * width - scale * centre[:, 0]
    offset[:, 1] = (height - 1) / 2 + box.shift_y * height - scale * centre[:, 1]
    return View(linear=turn * scale[:, None, None], offset=offset, scale=scale, yaw=yaw)
