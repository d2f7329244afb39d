"""Which joints a pose data set names, in its own order, with their mirror images and the widths of OKS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hcbench.data.part_names import mirrored


@dataclass(frozen=True, kw_only=True, slots=True)
class Skeleton:
    """The joints of a data set.

    Joints that two sets share have the same name (`left_wrist`), so what belongs to what is found by name and never by
    position. All sets here share the twelve joints of the limbs; heads and necks are marked at different places, and
    bear different names.

    Attributes:
        name: What the set is called in results.
        joints: K names; the sides are `left_` and `right_`.
        sigmas: Width of each joint in OKS, K numbers; empty where OKS is not defined.
    """

    name: str
    joints: tuple[str, ...]
    sigmas: tuple[float, ...] = ()

    @property
    def flip(self) -> tuple[int, ...]:
        """Index of the mirrored joint of each joint.

        >>> COCO.flip[:5]
        (0, 2, 1, 4, 3)
        """
        return mirrored(self.joints)

    def __len__(self) -> int:
        return len(self.joints)


COCO: Final = Skeleton(
    name="coco",
    joints=(
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
        "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
        "left_knee", "right_knee", "left_ankle", "right_ankle",
    ),
    sigmas=(
        .026, .025, .025, .035, .035, .079, .079, .072, .072, .062, .062, .107, .107, .087, .087, .089, .089,
    ),
)  # fmt: skip

MPII: Final = Skeleton(
    name="mpii",
    joints=(
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "thorax",
        "upper_neck", "head_top", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow",
        "left_wrist",
    ),
)  # fmt: skip
"""Scored by PCKh; OKS is not defined."""

AIC: Final = Skeleton(
    name="aic",
    joints=(
        "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
        "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "head_top", "neck",
    ),
    sigmas=(
        .01388152, .01515228, .01057665, .01417709, .01497891, .01402144,
        .03909642, .03686941, .01981803, .03843971, .03412318, .02415081, .01291456, .01236173,
    ),
)  # fmt: skip
"""The right side comes first. The widths are a third of COCO's and less, so AP is not comparable with COCO's."""

CROWDPOSE: Final = Skeleton(
    name="crowdpose",
    joints=(
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "head", "neck",
    ),
    sigmas=(.079, .079, .072, .072, .062, .062, .107, .107, .087, .087, .089, .089, .079, .079),
)  # fmt: skip
