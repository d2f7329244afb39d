"""What people do: pose families with continuous variation, as joint angles.

Angles are radians in the body's own frame (x = the person's left, y = up, z = front). Arms and legs hang straight down
at zero. `flex` raises a limb to the front, `abduct` away from the body, `twist` turns it inwards about its own axis;
elbows bend forwards, knees backwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hcbench.data.people.spec import Draws

Array = NDArray[np.float64]

FAMILIES: Final = (
    "stand", "walk", "run", "sit", "crouch", "bend", "reach", "wave", "phone", "text",
    "crossed", "hips", "arms_up", "point", "carry", "lunge", "jump", "kick", "ride",
)  # fmt: skip
FAMILY_WEIGHTS: Final = (
    0.12, 0.18, 0.08, 0.06, 0.04, 0.05, 0.05, 0.05, 0.05, 0.05,
    0.03, 0.03, 0.03, 0.03, 0.06, 0.03, 0.02, 0.02, 0.02,
)  # fmt: skip
STREET_WEIGHTS: Final = (
    0.22, 0.52, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.05, 0.07,
    0.0, 0.0, 0.0, 0.0, 0.09, 0.0, 0.0, 0.0, 0.05,
)  # fmt: skip
"""What people on a street do: they stand, walk, carry, ride, and hold a phone meanwhile."""
MANNERS: Final = 3
"""Manners per family (0 = slight, 1 = plain, 2 = strong); captions name them by an adverb."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Joint angles of N bodies, float64; a last axis of 2 is (left, right)."""

    lean: Array  # (N,) whole body forwards
    side: Array  # (N,) spine sidewards, positive to the person's left
    bend: Array  # (N,) spine forwards
    twist: Array  # (N,) spine about the vertical, positive to the left
    neck_yaw: Array  # (N,)
    neck_nod: Array  # (N,)
    arm_flex: Array  # (N, 2)
    arm_abduct: Array
    arm_twist: Array
    elbow: Array
    leg_flex: Array
    leg_abduct: Array
    leg_twist: Array
    knee: Array
    ankle: Array
    lift: Array  # (N,) height above the ground in statures
    family: NDArray[np.int64]  # (N,) index into FAMILIES
    manner: NDArray[np.int64]  # (N,) 0..MANNERS-1

    def mirrored(self) -> Pose:
        """The pose of the person in the mirror."""
        values = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if value.ndim == 2:
                value = value[:, ::-1].copy()
            elif name in ("side", "twist", "neck_yaw"):
                value = -value
            values[name] = value
        return Pose(**values)


_PAIRS: Final = (
    "arm_flex", "arm_abduct", "arm_twist", "elbow", "leg_flex", "leg_abduct", "leg_twist", "knee", "ankle",
)  # fmt: skip
_SINGLES: Final = ("lean", "side", "bend", "twist", "neck_yaw", "neck_nod", "lift")


def draw_action(action: Draws, street: NDArray[np.bool_] | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Family and manner, int64 (N,) each; of the families of a street where `street` (N,), None = nowhere."""
    outside = np.zeros(len(action), bool) if street is None else street
    weights = np.where(outside[:, None], np.array(STREET_WEIGHTS), np.array(FAMILY_WEIGHTS))
    return action.choice("family", weights), action.choice("manner", (0.3, 0.4, 0.3))


def draw_pose(action: Draws, pose: Draws, street: NDArray[np.bool_] | None = None) -> Pose:
    """Joint angles for the action; each family varies continuously. See `draw_action` for `street`."""
    family, manner = draw_action(action, street)
    angles = _relaxed(pose)
    strength = 0.55 + 0.4 * manner + pose.uniform("strength", 0.0, 0.25)
    for index, name in enumerate(FAMILIES):
        rows = np.flatnonzero(family == index)
        if len(rows):
            part = {key: value[rows] for key, value in angles.items()}
            _RULES[name](part, Draws(pose.keys[rows]), strength[rows])
            for key, value in part.items():
                angles[key][rows] = value
    return _limited(Pose(**angles, family=family, manner=manner))


def _relaxed(d: Draws) -> dict[str, Array]:
    """Standing at ease, with everybody's small asymmetries."""
    n = len(d)
    angles = {name: d.normal(name, 0.0, 0.05) for name in _SINGLES}
    for name in _PAIRS:
        angles[name] = (d.uniforms(name, 2) - 0.5) * 0.16
    angles["lift"] = np.zeros(n)
    angles["neck_yaw"] = d.normal("neck_yaw", 0.0, 0.3)
    angles["neck_nod"] = d.normal("neck_nod", 0.06, 0.1)
    angles["arm_abduct"] += 0.16
    angles["elbow"] += 0.22
    angles["leg_abduct"] += 0.05 + 0.1 * d.uniforms("stance", 1)
    angles["leg_twist"] -= 0.15
    angles["knee"] = np.abs(angles["knee"])
    angles["ankle"] *= 0.3
    return angles


def _one_side(d: Draws, name: str, share_both: float = 0.0) -> Array:
    """(N, 2) of 0 and 1: the sides that act, one or (with `share_both`) both."""
    left = d.flag(name, 0.5)
    both = d.flag(name + "_both", share_both)
    return np.stack([left | both, ~left | both], axis=1).astype(np.float64)


def _put(a: dict[str, Array], key: str, sides: Array, value: Array | float) -> None:
    target = np.broadcast_to(np.asarray(value, np.float64).reshape(-1, 1), sides.shape)
    a[key] = a[key] * (1 - sides) + target * sides


def _stand(a: dict[str, Array], d: Draws, s: Array) -> None:
    relaxed = _one_side(d, "leg")
    bend = d.uniform("relaxed", 0.0, 0.35) * (d.uniform("relax") < 0.6)
    _put(a, "leg_flex", relaxed, bend * 0.6)
    _put(a, "knee", relaxed, bend)
    a["leg_abduct"] += 0.08 * s[:, None]


def _stride(a: dict[str, Array], d: Draws, thigh: Array, knee: Array, arm: Array, elbow: Array) -> None:
    phase = d.uniform("phase", 0.0, 2 * np.pi)
    both = np.stack([phase, phase + np.pi], axis=1)
    a["leg_flex"] = thigh[:, None] * np.sin(both) + 0.12 * thigh[:, None]
    # The knee bends most while the leg swings forward (a quarter period before the thigh's front).
    a["knee"] = 0.08 + knee[:, None] * np.maximum(0.0, np.sin(both + 1.3)) ** 1.5 * (np.cos(both) > -2)
    a["knee"] = np.where(np.cos(both) < 0, 0.1 + 0.25 * a["knee"], a["knee"])
    a["arm_flex"] = -arm[:, None] * np.sin(both) + 0.05
    a["elbow"] = elbow[:, None] + 0.25 * arm[:, None] * np.maximum(0, -np.sin(both))
    a["ankle"] = 0.25 * np.sin(both + 0.6)
    a["twist"] += -0.12 * np.sin(phase) * arm
    a["leg_abduct"] = a["leg_abduct"] * 0.4


def _walk(a: dict[str, Array], d: Draws, s: Array) -> None:
    _stride(a, d, 0.24 + 0.22 * s, 0.55 + 0.25 * s, 0.15 + 0.3 * s, 0.15 + 0.15 * s)
    a["lean"] += 0.03 * s


def _run(a: dict[str, Array], d: Draws, s: Array) -> None:
    _stride(a, d, 0.5 + 0.32 * s, 1.2 + 0.45 * s, 0.45 + 0.35 * s, 1.2 + 0.25 * s)
    a["lean"] += 0.1 + 0.1 * s
    a["lift"] = np.maximum(0.0, d.uniform("flight", -0.03, 0.05))


def _sit(a: dict[str, Array], d: Draws, s: Array) -> None:
    a["leg_flex"] = 1.35 + 0.22 * d.uniforms("thigh", 2)
    a["knee"] = 1.1 + 0.55 * d.uniforms("shin", 2)
    a["leg_abduct"] += 0.05 + 0.2 * d.uniforms("open", 1)
    a["ankle"] = a["leg_flex"] * 0 - (a["knee"] - a["leg_flex"]) * 0.6
    a["lean"] += -0.05 + 0.2 * (1.3 - s)
    on_lap = _one_side(d, "lap", 0.7)
    _put(a, "arm_flex", on_lap, d.uniform("lap_flex", 0.35, 0.6))
    _put(a, "elbow", on_lap, d.uniform("lap_elbow", 0.7, 1.0))
    _put(a, "arm_twist", on_lap, 0.25)


def _crouch(a: dict[str, Array], d: Draws, s: Array) -> None:
    depth = np.clip(0.4 + 0.5 * s, 0.5, 1.0)
    a["leg_flex"] = (1.5 + 0.5 * d.uniforms("thigh", 2)) * depth[:, None]
    a["knee"] = (1.9 + 0.35 * d.uniforms("shin", 2)) * depth[:, None]
    a["leg_abduct"] += 0.2
    a["lean"] = 0.45 * depth + d.uniform("lean", 0.0, 0.25)
    a["ankle"] = 0.35 * depth[:, None] + 0 * a["ankle"]
    a["neck_nod"] += -0.2
    a["arm_flex"] = 0.9 + 0.4 * d.uniforms("arm", 2)
    a["elbow"] = 0.4 + 0.7 * d.uniforms("fore", 2)


def _bend(a: dict[str, Array], d: Draws, s: Array) -> None:
    amount = np.clip(0.5 + 0.42 * s, 0.6, 1.3)
    a["lean"] = 0.55 * amount
    a["bend"] = 0.6 * amount
    a["leg_flex"] = 0.55 * amount[:, None] + 0.25 * d.uniforms("hip", 2)
    a["knee"] = 0.1 + 0.5 * d.uniforms("knees", 1) + 0.1 * d.uniforms("knee2", 2)
    a["arm_flex"] = 1.1 * amount[:, None] + 0.3 * (d.uniforms("arm", 2) - 0.5)
    a["elbow"] = 0.15 + 0.4 * d.uniforms("fore", 2)
    a["neck_nod"] += 0.1


def _reach(a: dict[str, Array], d: Draws, s: Array) -> None:
    sides = _one_side(d, "hand", 0.3)
    _put(a, "arm_flex", sides, d.uniform("up", 1.9, 2.5) + 0.35 * s)
    _put(a, "arm_abduct", sides, d.uniform("out", -0.05, 0.3))
    _put(a, "elbow", sides, d.uniform("elb", 0.0, 0.35))
    a["neck_nod"] += -0.25
    a["lift"] += 0.0
    a["ankle"] += 0.15


def _wave(a: dict[str, Array], d: Draws, s: Array) -> None:
    sides = _one_side(d, "hand")
    _put(a, "arm_flex", sides, 0.2)
    _put(a, "arm_abduct", sides, 0.9 + 0.55 * s)
    _put(a, "arm_twist", sides, -0.2)
    _put(a, "elbow", sides, d.uniform("elb", 1.0, 2.0))
    # The forearm points up when the elbow's hinge is turned outwards.
    _put(a, "arm_twist", sides, -1.5)


def _phone(a: dict[str, Array], d: Draws, s: Array) -> None:
    sides = _one_side(d, "hand")
    _put(a, "arm_flex", sides, d.uniform("up", 0.35, 0.75))
    _put(a, "arm_abduct", sides, d.uniform("out", 0.3, 0.6))
    _put(a, "arm_twist", sides, d.uniform("in", -0.1, 0.2))
    _put(a, "elbow", sides, d.uniform("elb", 2.3, 2.5))
    a["neck_yaw"] *= 0.4
    _amble(a, d, s)


def _text(a: dict[str, Array], d: Draws, s: Array) -> None:
    sides = _one_side(d, "hand", 0.5)
    _put(a, "arm_flex", sides, d.uniform("up", 0.25, 0.5))
    _put(a, "arm_abduct", sides, 0.1)
    _put(a, "arm_twist", sides, d.uniform("in", 0.35, 0.6))
    _put(a, "elbow", sides, d.uniform("elb", 1.5, 1.9))
    a["neck_nod"] = 0.4 + d.uniform("nod", 0.0, 0.25)
    a["neck_yaw"] *= 0.3
    _amble(a, d, s)


def _amble(a: dict[str, Array], d: Draws, s: Array) -> None:
    """Half of those who do something with their hands walk slowly meanwhile."""
    moving = (d.uniform("amble") < 0.5) * (0.15 + 0.18 * s)
    phase = d.uniform("amble_phase", 0, 2 * np.pi)
    both = np.stack([phase, phase + np.pi], axis=1)
    a["leg_flex"] += moving[:, None] * np.sin(both)
    a["knee"] += moving[:, None] * 1.2 * np.maximum(0, np.cos(both))


def _crossed(a: dict[str, Array], d: Draws, s: Array) -> None:
    a["arm_flex"] = 0.5 + 0.12 * d.uniforms("up", 2)
    a["arm_abduct"] = 0.08 + 0.1 * d.uniforms("out", 1) + 0 * a["arm_abduct"]
    a["arm_twist"] = 1.15 + 0.15 * d.uniforms("in", 2)
    a["elbow"] = 1.6 + 0.15 * d.uniforms("elb", 2)
    a["leg_abduct"] += 0.06 * s[:, None]


def _hips(a: dict[str, Array], d: Draws, s: Array) -> None:
    sides = _one_side(d, "hand", 0.65)
    _put(a, "arm_flex", sides, d.uniform("up", -0.35, -0.1))
    _put(a, "arm_abduct", sides, d.uniform("out", 0.6, 0.8))
    _put(a, "arm_twist", sides, d.uniform("in", 1.05, 1.35))
    _put(a, "elbow", sides, d.uniform("elb", 1.5, 1.8))
    a["leg_abduct"] += 0.08 * s[:, None]


def _arms_up(a: dict[str, Array], d: Draws, s: Array) -> None:
    a["arm_abduct"] = (1.9 + 0.55 * s)[:, None] + 0.2 * (d.uniforms("out", 2) - 0.5)
    a["arm_flex"] = 0.1 + 0.2 * d.uniforms("up", 2)
    a["elbow"] = 0.2 + 0.5 * d.uniforms("elb", 2)
    a["arm_twist"] = -1.2 + 0 * a["arm_twist"]
    a["leg_abduct"] += 0.1


def _point(a: dict[str, Array], d: Draws, s: Array) -> None:
    sides = _one_side(d, "hand")
    to_side = d.uniform("to_side")
    _put(a, "arm_flex", sides, 1.25 * (1 - to_side) + 0.2 + 0.12 * s)
    _put(a, "arm_abduct", sides, 1.35 * to_side + 0.1)
    _put(a, "elbow", sides, d.uniform("elb", 0.0, 0.25))
    a["neck_yaw"] += 0.5 * to_side * (sides[:, 0] - sides[:, 1])


def _carry(a: dict[str, Array], d: Draws, s: Array) -> None:
    up = d.uniform("up", 0.15, 0.4)
    a["arm_flex"] = up[:, None] + 0 * a["arm_flex"]
    a["arm_abduct"] = 0.12 + 0 * a["arm_abduct"]
    a["arm_twist"] = 0.25 + 0 * a["arm_twist"]
    a["elbow"] = d.uniform("elb", 1.2, 1.5)[:, None] + 0 * a["elbow"]
    a["lean"] += -0.05
    _amble(a, d, s)


def _lunge(a: dict[str, Array], d: Draws, s: Array) -> None:
    front = _one_side(d, "front")
    depth = np.clip(0.45 + 0.4 * s, 0.5, 1.0)
    _put(a, "leg_flex", front, 1.35 * depth)
    _put(a, "knee", front, 1.45 * depth)
    _put(a, "leg_flex", 1 - front, -0.65 * depth)
    _put(a, "knee", 1 - front, 0.5 * depth + d.uniform("rear", 0.0, 0.4))
    _put(a, "ankle", 1 - front, 0.4)
    a["arm_flex"] = 0.9 * d.uniforms("arm", 2)


def _jump(a: dict[str, Array], d: Draws, s: Array) -> None:
    tuck = d.uniform("tuck", 0.15, 0.7) * s
    a["leg_flex"] = tuck[:, None] * (0.5 + d.uniforms("thigh", 2))
    a["knee"] = tuck[:, None] * (0.9 + d.uniforms("shin", 2))
    a["arm_abduct"] = 0.5 + 1.2 * d.uniforms("out", 2) * s[:, None]
    a["arm_flex"] = 0.8 * d.uniforms("up", 2)
    a["elbow"] = 0.3 + 0.6 * d.uniforms("elb", 2)
    a["ankle"] = -0.4 + 0 * a["ankle"]
    a["lift"] = 0.05 + 0.07 * s


def _kick(a: dict[str, Array], d: Draws, s: Array) -> None:
    foot = _one_side(d, "foot")
    _put(a, "leg_flex", foot, 0.6 + 0.42 * s)
    _put(a, "knee", foot, d.uniform("shin", 0.05, 0.5))
    _put(a, "knee", 1 - foot, d.uniform("standing", 0.08, 0.25))
    a["lean"] += -0.12 * s
    a["arm_abduct"] = 0.4 + 0.6 * d.uniforms("out", 2)
    a["arm_flex"] = a["arm_flex"] + 0.5 * (foot[:, ::-1] - foot * 0.5)
    a["elbow"] = 0.4 + 0.3 * d.uniforms("elb", 2)


def _ride(a: dict[str, Array], d: Draws, s: Array) -> None:
    """On a bicycle: one pedal up, one down, both hands on the bar."""
    phase = d.uniform("pedal", 0.0, 2 * np.pi)
    both = np.stack([phase, phase + np.pi], axis=1)
    a["leg_flex"] = 0.80 + 0.36 * np.sin(both)
    a["knee"] = 1.00 + 0.42 * np.sin(both)
    a["leg_abduct"] = 0.03 + 0.1 * a["leg_abduct"]
    a["leg_twist"] *= 0.2
    a["ankle"] = 0.1 * np.cos(both)
    a["lean"] = 0.14 + 0.10 * s
    a["bend"] = 0.06 + 0.06 * s
    a["side"] *= 0.4
    a["twist"] *= 0.3
    a["arm_flex"] = (1.14 - 0.05 * s)[:, None] + 0.05 * (d.uniforms("reach", 2) - 0.5)
    a["arm_abduct"] = 0.08 + 0.06 * d.uniforms("wide", 1) + 0 * a["arm_abduct"]
    a["arm_twist"] = 0.05 + 0 * a["arm_twist"]
    a["elbow"] = d.uniform("elb", 0.15, 0.5)[:, None] + 0 * a["elbow"]
    a["neck_nod"] += -0.12
    a["lift"] = 0.07 + 0 * a["lift"]


_RULES: Final[dict[str, Callable[[dict[str, Array], Draws, Array], None]]] = {
    "stand": _stand, "walk": _walk, "run": _run, "sit": _sit, "crouch": _crouch, "bend": _bend, "reach": _reach,
    "wave": _wave, "phone": _phone, "text": _text, "crossed": _crossed, "hips": _hips, "arms_up": _arms_up,
    "point": _point, "carry": _carry, "lunge": _lunge, "jump": _jump, "kick": _kick,
    "ride": _ride,
}  # fmt: skip


def _limited(pose: Pose) -> Pose:
    """Elbows and knees bend one way only."""
    return Pose(
        **{
            name: np.clip(getattr(pose, name), 0.02, 2.6) if name in ("elbow", "knee") else getattr(pose, name)
            for name in pose.__dataclass_fields__
        }
    )
