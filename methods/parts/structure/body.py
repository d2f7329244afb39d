"""A generic body around COCO's 17 joints: 14 capsules whose radii are shares of stature.

It knows pose and limb lengths but no flesh, clothing, bag or hat. Image frame: x = right, y = down, z = towards the
camera, all in pixels. B bodies.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

NOSE, LEFT_EAR, RIGHT_EAR = 0, 3, 4
SHOULDERS, ELBOWS, WRISTS = (5, 6), (7, 8), (9, 10)
HIPS, KNEES, ANKLES = (11, 12), (13, 14), (15, 16)

TRUNK, THIGH, SHIN = 0.285, 0.243, 0.243
"""Lengths as shares of stature (anthropometric averages): hip line to shoulder line, hip to knee, knee to ankle."""
FOOT = 0.11
RADII = {
    "torso": 0.085, "head": 0.058, "shoulders": 0.050, "hips": 0.062, "upper_arm": 0.029, "forearm": 0.024,
    "thigh": 0.048, "shin": 0.035, "foot": 0.026,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Capsules:
    """14 capsules per body.

    Attributes:
        start: (B, 14, 3), pixels.
        end: (B, 14, 3).
        radius: (B, 14), pixels.
        pelvis: (B, 3), middle of the hips.
        stature: (B,), pixels.
    """

    start: Tensor
    end: Tensor
    radius: Tensor
    pelvis: Tensor
    stature: Tensor


def middle(joints: Tensor, pair: tuple[int, int]) -> Tensor:
    """Middle (B, 3) of two joints; of one where the other is NaN."""
    return joints[:, pair].nanmean(dim=1)


def pelvis_of(joints: Tensor) -> Tensor:
    """Middle of the hips (B, 3); of all known joints where no hip is known."""
    hips = middle(joints, HIPS)
    return torch.where(hips.isnan(), joints.nanmean(dim=1), hips)


def stature_of(joints: Tensor) -> Tensor:
    """Height when standing (B,), pixels, from the lengths of trunk and legs; NaN where none of them is known."""
    trunk = (middle(joints, SHOULDERS) - middle(joints, HIPS)).norm(dim=1) / TRUNK
    thigh = (joints[:, HIPS] - joints[:, KNEES]).norm(dim=2).nanmean(dim=1) / THIGH
    shin = (joints[:, KNEES] - joints[:, ANKLES]).norm(dim=2).nanmean(dim=1) / SHIN
    return torch.stack([trunk, thigh, shin], dim=1).nanmean(dim=1)


def turn(joints: Tensor, yaw: Tensor) -> Tensor:
    """Joints (B, 17, 3) turned by `yaw` (B,) degrees about the vertical axis through the pelvis."""
    angle = torch.deg2rad(yaw.double())
    # Rounded, so that quarter turns are exact and 0 changes nothing.
    cosine, sine = (f(angle).round(decimals=12).to(joints.dtype)[:, None] for f in (torch.cos, torch.sin))
    pelvis = pelvis_of(joints)[:, None]
    x, z = (joints - pelvis)[..., 0], (joints - pelvis)[..., 2]
    turned = torch.stack([cosine * x + sine * z, joints[..., 1], cosine * z - sine * x], dim=2)
    turned[..., 0] += pelvis[..., 0]
    turned[..., 2] += pelvis[..., 2]
    return torch.where((yaw % 360 == 0)[:, None, None], joints, turned)


def capsules(joints: Tensor) -> Capsules:
    """The body around joints (B, 17, 3); a capsule at a NaN joint is NaN, and nothing hits it."""
    stature = stature_of(joints)
    neck, pelvis = middle(joints, SHOULDERS), pelvis_of(joints)
    skull = middle(joints, (LEFT_EAR, RIGHT_EAR))
    skull = torch.where(skull.isnan(), joints[:, NOSE], skull)
    ends = [
        ("torso", neck, middle(joints, HIPS)),
        ("head", neck, skull),
        ("shoulders", joints[:, SHOULDERS[0]], joints[:, SHOULDERS[1]]),
        ("hips", joints[:, HIPS[0]], joints[:, HIPS[1]]),
    ]
    toes = _toes(joints, neck, stature)
    for side in (0, 1):
        ends += [
            ("upper_arm", joints[:, SHOULDERS[side]], joints[:, ELBOWS[side]]),
            ("forearm", joints[:, ELBOWS[side]], joints[:, WRISTS[side]]),
            ("thigh", joints[:, HIPS[side]], joints[:, KNEES[side]]),
            ("shin", joints[:, KNEES[side]], joints[:, ANKLES[side]]),
            ("foot", joints[:, ANKLES[side]], toes[:, side]),
        ]
    radii = torch.tensor([RADII[name] for name, _, _ in ends], dtype=joints.dtype, device=joints.device)
    start = torch.stack([point for _, point, _ in ends], dim=1)
    end = torch.stack([point for _, _, point in ends], dim=1)
    return Capsules(start, end, radii * stature[:, None], pelvis, stature)


def _toes(joints: Tensor, neck: Tensor, stature: Tensor) -> Tensor:
    """Ends of the feet (B, 2, 3): COCO has no toes, so feet point where the hips face."""
    up = neck - middle(joints, HIPS)
    left = joints[:, HIPS[0]] - joints[:, HIPS[1]]
    front = F.normalize(torch.linalg.cross(up, left), dim=1)
    ahead = (FOOT * stature)[:, None] * front
    return joints[:, ANKLES] + torch.where(ahead.isnan(), 0.0, ahead)[:, None]
