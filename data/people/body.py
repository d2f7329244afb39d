"""The skeleton: limb lengths, forward kinematics, COCO keypoints.

Body frame: x = the person's left, y = up, z = front; metres; the ground is y = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hcbench.data.people.motion import Pose
from hcbench.data.people.spec import Draws

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bones:
    """Lengths of N skeletons in metres, float64 (N,)."""

    stature: Array
    head: Array
    neck: Array
    trunk: Array  # hip line to shoulder line
    shoulder: Array  # half width
    hip: Array  # half width
    upper_arm: Array
    forearm: Array
    hand: Array
    thigh: Array
    shin: Array
    foot: Array


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Joints (N, 3), paired joints (N, 2, 3) with axis 1 = (left, right), frames (N, 3, 3) with axes as columns."""

    bones: Bones
    pelvis: Array
    waist: Array
    chest: Array  # midpoint of the shoulders
    head: Array  # centre of the skull
    shoulder: Array
    elbow: Array
    wrist: Array
    hand: Array
    hip: Array
    knee: Array
    ankle: Array
    toe: Array
    pelvis_frame: Array
    chest_frame: Array
    head_frame: Array
    arm_frame: Array  # (N, 2, 3, 3)
    leg_frame: Array  # (N, 2, 3, 3)


def draw_bones(skeleton: Draws, woman: NDArray[np.bool_], elder: NDArray[np.bool_], style: str) -> Bones:
    """Limb lengths: shares of stature, each with its own spread; style B has longer legs and a wider spread."""
    spread = 1.25 if style == "B" else 1.0
    stature = np.where(woman, 1.63, 1.76) - 0.03 * elder + skeleton.normal("stature", 0.0, 0.065 * spread)

    def share(name: str, value: float, deviation: float = 0.035) -> Array:
        return np.asarray(stature * value * (1.0 + skeleton.normal(name, 0.0, deviation * spread)))

    longer = 1.02 if style == "B" else 1.0
    return Bones(
        stature=stature,
        head=share("head", 0.132, 0.03),
        neck=share("neck", 0.042, 0.06),
        trunk=share("trunk", 0.285),
        shoulder=share("shoulder", 0.112) * np.where(woman, 0.93, 1.03),
        hip=share("hip", 0.054) * np.where(woman, 1.06, 0.97),
        upper_arm=share("upper_arm", 0.168),
        forearm=share("forearm", 0.146),
        hand=share("hand", 0.075),
        thigh=share("thigh", 0.243 * longer),
        shin=share("shin", 0.243 * longer),
        foot=share("foot", 0.125),
    )


def rotation(axis: int, angle: Array) -> Array:
    """Right-handed rotation matrices about a coordinate axis; angle (...) -> (..., 3, 3)."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((*angle.shape, 3, 3))
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix[..., axis, axis] = 1.0
    matrix[..., first, first] = cosine
    matrix[..., second, second] = cosine
    matrix[..., first, second] = -sine
    matrix[..., second, first] = sine
    return matrix


def forward_kinematics(pose: Pose, bones: Bones) -> Skeleton:
    """Joints and frames of the pose, standing on the ground (or above it by `pose.lift` statures)."""
    down, front = np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    outward = np.array([1.0, -1.0])
    pelvis_frame = rotation(0, pose.lean)
    chest_frame = pelvis_frame @ rotation(1, pose.twist) @ rotation(0, pose.bend) @ rotation(2, -pose.side)
    head_frame = chest_frame @ rotation(1, pose.neck_yaw) @ rotation(0, pose.neck_nod)

    def along(frame: Array, direction: Array, length: Array) -> Array:
        return np.asarray((frame @ direction) * length[..., None])

    pelvis = np.zeros((len(bones.stature), 3))
    # The spine bends in the middle: its lower 45 % follow the pelvis.
    waist = pelvis + along(pelvis_frame, -down, 0.45 * bones.trunk)
    chest = waist + along(chest_frame, -down, 0.55 * bones.trunk)
    head = chest + along(chest_frame, -down, bones.neck) + along(head_frame, -down, 0.62 * bones.head)
    head = head + along(head_frame, front, 0.10 * bones.head)

    def limb(frame: Array, flex: Array, abduct: Array, twist: Array) -> Array:
        return np.asarray(
            frame[:, None] @ rotation(2, abduct * outward) @ rotation(0, -flex) @ rotation(1, -twist * outward)
        )

    def pair(values: Array) -> Array:
        return np.repeat(values[:, None], 2, axis=1)

    side = outward[None, :, None] * np.array([1.0, 0.0, 0.0])
    shoulder = chest[:, None] + np.einsum("nij,nsj->nsi", chest_frame, side * bones.shoulder[:, None, None])
    arm_frame = limb(chest_frame, pose.arm_flex, pose.arm_abduct, pose.arm_twist)
    fore_frame = arm_frame @ rotation(0, -pose.elbow)
    elbow = shoulder + along(arm_frame, down, pair(bones.upper_arm))
    wrist = elbow + along(fore_frame, down, pair(bones.forearm))
    hand = wrist + along(fore_frame, down, pair(bones.hand))
    hip = pelvis[:, None] + np.einsum("nij,nsj->nsi", pelvis_frame, side * bones.hip[:, None, None])
    # Legs hang from the pelvis but do not lean with it: the hip angle is measured against the vertical.
    upright = np.broadcast_to(np.eye(3), pelvis_frame.shape)
    leg_frame = limb(upright, pose.leg_flex - 0.0 * pose.lean[:, None], pose.leg_abduct, pose.leg_twist)
    shin_frame = leg_frame @ rotation(0, pose.knee)
    knee = hip + along(leg_frame, down, pair(bones.thigh))
    ankle = knee + along(shin_frame, down, pair(bones.shin))
    foot_frame = shin_frame @ rotation(0, -pose.ankle + 0.06)
    toe = (
        ankle + along(foot_frame, front, pair(0.82 * bones.foot)) + along(foot_frame, down, pair(0.03 * bones.stature))
    )
    lowest = np.minimum(ankle[..., 1].min(axis=1) - 0.045 * bones.stature, toe[..., 1].min(axis=1) - 0.02)
    rise = np.zeros_like(pelvis)
    rise[:, 1] = pose.lift * bones.stature - lowest
    moved = {
        name: value + (rise if value.ndim == 2 else rise[:, None])
        for name, value in {
            "pelvis": pelvis, "waist": waist, "chest": chest, "head": head, "shoulder": shoulder, "elbow": elbow,
            "wrist": wrist, "hand": hand, "hip": hip, "knee": knee, "ankle": ankle, "toe": toe,
        }.items()
    }  # fmt: skip
    return Skeleton(
        bones=bones, pelvis_frame=pelvis_frame, chest_frame=chest_frame, head_frame=head_frame, arm_frame=arm_frame,
        leg_frame=leg_frame, **moved,
    )  # fmt: skip


FACE: Final = np.array(
    # nose, left eye, right eye, left ear, right ear in head heights (x left, y up, z front) from the skull's centre
    [(0.0, -0.10, 0.44), (0.15, 0.02, 0.37), (-0.15, 0.02, 0.37), (0.335, -0.03, 0.0), (-0.335, -0.03, 0.0)]
)


def keypoints(skeleton: Skeleton) -> Array:
    """COCO-17 keypoints in the body frame, float64 (N, 17, 3), metres."""
    face = FACE[None] * skeleton.bones.head[:, None, None]
    face = skeleton.head[:, None] + np.einsum("nij,nkj->nki", skeleton.head_frame, face)
    pairs = [skeleton.shoulder, skeleton.elbow, skeleton.wrist, skeleton.hip, skeleton.knee, skeleton.ankle]
    return np.concatenate([face, *pairs], axis=1)


def outline_points(skeleton: Skeleton) -> Array:
    """Points that span the person whatever the flesh, float64 (N, M, 3): they frame the picture."""
    crown = skeleton.head + skeleton.head_frame[..., 1] * (0.55 * skeleton.bones.head)[:, None]
    singles = np.stack([crown, skeleton.head, skeleton.pelvis], axis=1)
    return np.concatenate([singles, skeleton.shoulder, skeleton.elbow, skeleton.hand, skeleton.knee, skeleton.ankle,
                           skeleton.toe], axis=1)  # fmt: skip
