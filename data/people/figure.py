"""Flesh and cloth: the primitives of a person, from skeleton and wardrobe.

Every primitive is a tapered capsule (two spheres and the cone that wraps them), flattened along one axis. The order of
`SLOTS` is fixed; a primitive that a person does not have (no hat) is switched off, so that N persons are one table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hcbench.data.people.body import Skeleton
from hcbench.data.people.motion import FAMILIES, Pose
from hcbench.data.people.spec import Draws
from hcbench.data.people.wardrobe import (
    BAGS,
    HAIR_STYLES,
    HATS,
    LOWERS,
    PATTERNS,
    SHOES,
    UPPERS,
    Person,
)  # fmt: skip

Array = NDArray[np.float64]

PARTS: Final = (
    "background", "head", "hair", "hat", "torso", "left_upper_arm", "left_forearm", "right_upper_arm", "right_forearm",
    "left_thigh", "left_shin", "right_thigh", "right_shin", "left_shoe", "right_shoe", "skirt", "bag", "object",
    "occluder",
)  # fmt: skip
"""Part ids of the mask. `torso` holds the neck, hands belong to the forearm, `skirt` also holds the skirt of a dress or
coat, `object` is a thing that is held or sat on, `occluder` stands between camera and person."""
PART: Final = {name: index for index, name in enumerate(PARTS)}

CLOTH, HEAD, HAIR, TORSO, SHOE, SKIN, THING = range(7)
"""Kinds of surface, see `shade`."""
PLAIN, STRIPED, PINSTRIPED, CHECKED, DOTTED, LOGO, TWO_TONE, DENIM, BLOTCHES, OPEN = range(10)
"""Codes of cloth patterns: the first seven are `wardrobe.PATTERNS`."""

_VECTORS: Final = ("start", "end", "side", "up", "front", "origin", "rgb", "rgb2", "rgb3")
_SCALARS: Final = (
    "radius0", "radius1", "flatten", "cut", "active", "part", "kind", "pattern", "split", "density", "wrap", "strap",
    "folds", "shine", "feature",
)  # fmt: skip
_DEFAULTS: Final[dict[str, Any]] = {
    "flatten": 1.0, "cut": 0.0, "active": 1.0, "kind": CLOTH, "pattern": PLAIN, "split": 9.0, "density": 18.0,
    "wrap": 0.08, "strap": 0.0, "folds": 0.0, "shine": 0.0, "feature": 0.0,
}  # fmt: skip


@dataclass(slots=True)
class Figure:
    """The primitives of N persons; vectors float64 (N, P, 3) in the body frame, scalars float64 (N, P), in metres.

    `front` is the axis along which a primitive is flattened; `side`, `up`, `front` and `origin` are its own frame.
    `cut` = 1 opens the end of the capsule (the hem of a skirt) instead of closing it with a sphere.
    """

    columns: dict[str, list[Array]] = field(default_factory=lambda: {k: [] for k in (*_VECTORS, *_SCALARS)})

    def add(self, start: Array, end: Array, radius0: Any, radius1: Any, frame: Array, **values: Any) -> None:
        """Append one primitive for all N persons; `frame` (N, 3, 3) has the columns side, up, front."""
        n = len(start)
        given = {"start": start, "end": end, "radius0": radius0, "radius1": radius1, "side": frame[..., 0],
                 "up": frame[..., 1], "front": frame[..., 2], "origin": start, **values}  # fmt: skip
        given.setdefault("rgb2", given["rgb"])
        given.setdefault("rgb3", given["rgb"])
        for name in _VECTORS:
            self.columns[name].append(np.broadcast_to(np.asarray(given[name], np.float64), (n, 3)))
        for name in _SCALARS:
            value = given.get(name, _DEFAULTS.get(name))
            self.columns[name].append(np.broadcast_to(np.asarray(value, np.float64), (n,)))

    def table(self) -> dict[str, Array]:
        """All columns stacked: (N, P, 3) and (N, P)."""
        return {name: np.stack(values, axis=1) for name, values in self.columns.items()}


@dataclass(frozen=True, slots=True)
class _Build:
    """What the builders share."""

    figure: Figure
    skeleton: Skeleton
    person: Person
    k: Array  # stature / 1.72 m
    girth: Array
    bulk: Array  # thickness of the upper garment in metres

    @property
    def zero(self) -> Array:
        return np.zeros((len(self.k), 3))


def build_figure(skeleton: Skeleton, person: Person, pose: Pose, scene: Draws) -> dict[str, Array]:
    """The table of primitives of N persons, see `Figure`; `scene` draws the chair and the carried thing."""
    thickness = np.array([0.012, 0.014, 0.008, 0.030, 0.030, 0.034, 0.010])
    build = _Build(
        Figure(), skeleton, person, skeleton.bones.stature / 1.72, person.girth, thickness[person.upper]
    )  # fmt: skip
    _torso(build)
    _head(build)
    for side in (0, 1):
        _arm(build, side)
    for side in (0, 1):
        _leg(build, side)
    _skirt(build)
    _bag(build)
    _held(build, pose, scene)
    _chair(build, pose, scene)
    _bicycle(build, pose, scene)
    return build.figure.table()


def _col(values: Any) -> Array:
    return np.asarray(values, np.float64)[..., None]


def _upper_cloth(b: _Build) -> dict[str, Any]:
    p = b.person
    open_front = np.isin(p.upper, (UPPERS.index("jacket"), UPPERS.index("coat"))) & (p.pattern == 0)
    return {
        "rgb": p.upper_rgb, "rgb2": p.pattern_rgb, "pattern": np.where(open_front, OPEN, p.pattern),
        "density": p.pattern_scale, "folds": np.where(p.upper == UPPERS.index("vest"), 0.5, 1.0),
    }  # fmt: skip


def _lower_cloth(b: _Build) -> dict[str, Any]:
    p = b.person
    pattern = np.select([p.lower_pattern == 1, p.lower_pattern == 2], [STRIPED, BLOTCHES], PLAIN)
    pattern = np.where((p.lower == LOWERS.index("jeans")) & (p.lower_pattern == 0), DENIM, pattern)
    return {
        "rgb": p.lower_rgb, "rgb2": np.where(_col(pattern == DENIM), p.lower_rgb * 1.8 + 0.02, p.lower_pattern_rgb),
        "pattern": pattern, "density": p.pattern_scale,
        "folds": np.where(p.lower == LOWERS.index("leggings"), 0.25, 1.0),
    }  # fmt: skip


def _torso(b: _Build) -> None:
    s, p, k, g = b.skeleton, b.person, b.k, b.girth
    chest, pelvis = s.chest_frame, s.pelvis_frame
    up = chest[..., 1]
    man = np.where(p.woman, 0.0, 1.0)
    strap = np.select(
        [p.bag == BAGS.index("backpack"), (p.bag == BAGS.index("shoulder bag")) & p.bag_left,
         p.bag == BAGS.index("shoulder bag")], [1.0, 2.0, 3.0], 0.0,
    )  # fmt: skip
    cloth = {**_upper_cloth(b), "rgb3": p.bag_rgb * 0.7, "kind": TORSO, "part": PART["torso"], "origin": s.chest}
    waist_r = (0.122 + 0.010 * man) * k * g + b.bulk
    chest_r = (0.142 + 0.014 * man) * k * np.sqrt(g) + b.bulk
    b.figure.add(s.waist, s.chest - up * _col(0.105 * k), waist_r, chest_r, chest, flatten=0.66, wrap=0.15,
                 strap=strap, **cloth)  # fmt: skip
    # The shirt hangs over the hips and ends in a straight hem.
    b.figure.add(s.waist + up * _col(0.03 * k), s.pelvis - pelvis[..., 1] * _col(0.015 * k), waist_r,
                 (0.156 + 0.006 * (1 - man)) * k * g + 0.8 * b.bulk, pelvis, flatten=0.76, wrap=0.15, strap=strap,
                 cut=1.0, **cloth)  # fmt: skip
    for side in (0, 1):  # the slope from neck to shoulder
        tip = s.shoulder[:, side] - (s.shoulder[:, side] - s.chest) * 0.10 - up * _col(0.016 * k)
        b.figure.add(s.chest + up * _col(0.008 * k), tip, 0.070 * k + 0.6 * b.bulk, 0.050 * k + 0.6 * b.bulk, chest,
                     flatten=0.9, wrap=0.15, strap=np.where(strap == 1, 1.0, 0.0), **cloth)  # fmt: skip
    bust = s.chest - up * _col(0.125 * k) + chest[..., 2] * _col(0.075 * k)
    b.figure.add(bust + chest[..., 0] * _col(0.062 * k), bust - chest[..., 0] * _col(0.062 * k), 0.066 * k + b.bulk,
                 0.066 * k + b.bulk, chest, flatten=0.8, wrap=0.15, active=p.woman, strap=strap, **cloth)  # fmt: skip
    lower = _lower_cloth(b)
    dressed = p.upper == UPPERS.index("dress")
    for name in ("rgb", "rgb2"):
        lower[name] = np.where(_col(dressed), cloth[name], lower[name])
    lower["pattern"] = np.where(dressed, PLAIN, lower["pattern"])
    b.figure.add(s.hip[:, 0], s.hip[:, 1], 0.094 * k * g, 0.094 * k * g, pelvis, flatten=0.95, part=PART["torso"],
                 origin=s.pelvis, wrap=0.15, **lower)  # fmt: skip
    b.figure.add(s.chest - up * _col(0.01 * k), s.head - s.head_frame[..., 1] * _col(0.03 * k), 0.058 * k * np.sqrt(g),
                 0.052 * k, chest, kind=SKIN, part=PART["torso"], rgb=p.skin_rgb)  # fmt: skip
    hood = s.chest + up * _col(0.045 * k) - chest[..., 2] * _col(0.055 * k)
    hooded = np.isin(p.upper, (UPPERS.index("hoodie"), UPPERS.index("coat"), UPPERS.index("jacket")))
    wide = np.where(p.upper == UPPERS.index("hoodie"), 0.068, 0.045) * k
    b.figure.add(hood + chest[..., 0] * _col(0.05 * k), hood - chest[..., 0] * _col(0.05 * k), wide, wide, chest,
                 active=hooded, **{**cloth, "rgb": p.upper_rgb * 0.9, "pattern": PLAIN})  # fmt: skip


def _head(b: _Build) -> None:
    s, p = b.skeleton, b.person
    frame, h = s.head_frame, _col(s.bones.head)
    size = s.bones.head
    turned = frame[..., [2, 1, 0]]  # flattened along the side axis: a head is deeper than wide

    def at(x: float, y: float, z: float) -> Array:
        return np.asarray(s.head + np.einsum("nij,j->ni", frame, np.array([x, y, z])) * h)

    skin = {"kind": HEAD, "part": PART["head"], "rgb": p.skin_rgb, "rgb2": p.hair_rgb, "shine": 0.10}
    bare = p.hair == HAIR_STYLES.index("shaved")
    feature = p.glasses * 1.0 + p.beard * 2.0 + bare * 4.0
    b.figure.add(at(0, -0.21, 0.09), at(0, 0.10, -0.03), 0.285 * size, 0.40 * size, turned, flatten=0.85,
                 origin=s.head, feature=feature, strap=1.0, **skin)  # fmt: skip
    b.figure.add(at(0, 0.0, 0.36), at(0, -0.10, 0.43), 0.035 * size, 0.055 * size, frame, **{**skin, "kind": SKIN})
    for x in (0.33, -0.33):
        b.figure.add(at(x, -0.08, -0.02), at(x, 0.02, -0.03), 0.055 * size, 0.075 * size, turned, flatten=0.6,
                     **{**skin, "kind": SKIN})  # fmt: skip
    _hair(b, at, turned)
    _hat(b, at, turned)


def _hair(b: _Build, at: Any, turned: Array) -> None:
    s, p = b.skeleton, b.person
    size = s.bones.head
    style = {name: p.hair == index for index, name in enumerate(HAIR_STYLES)}
    hair = {"kind": HAIR, "part": PART["hair"], "rgb": p.hair_rgb, "rgb2": p.hair_rgb * 1.6, "shine": 0.25,
            "origin": s.head}  # fmt: skip
    curly, full = style["curly"], style["bob"] | style["long"] | style["ponytail"] | style["bun"]
    covered = p.hat != 0
    radius = np.select([curly, full], [0.50, 0.44], 0.425) - 0.04 * (covered & ~curly) - 0.08 * (covered & curly)
    b.figure.add(at(0, 0.05, -0.13), at(0, 0.14, -0.06), radius * size * 0.96, radius * size, turned,
                 flatten=np.where(curly, 0.95, 0.90), active=~style["shaved"], **hair)  # fmt: skip
    # The second volume hangs down the back (bob, long), behind the crown (ponytail, bun), over the brow (parted).
    length = np.select([style["bob"], style["long"]], [0.42, 1.15], 0.0)
    down = -0.6 * s.head_frame[..., 1] - 0.4 * s.chest_frame[..., 1] - 0.10 * s.chest_frame[..., 2]
    fall_start, bun = at(0, 0.0, -0.20), at(0, 0.22, -0.50)
    start = np.select([_col(style["parted"]) > 0, _col(style["ponytail"] | style["bun"]) > 0],
                      [at(0.12, 0.40, 0.14), bun], fall_start)  # fmt: skip
    tail = bun + down * _col(0.95 * size)
    end = np.select(
        [_col(style["parted"]) > 0, _col(style["ponytail"]) > 0, _col(style["bun"]) > 0],
        [at(-0.18, 0.42, 0.12), tail, bun], fall_start + down * _col(length * size),
    )  # fmt: skip
    r0 = np.select([style["parted"], style["ponytail"], style["bun"]], [0.14, 0.13, 0.19], 0.385) * size
    r1 = np.select([style["parted"], style["ponytail"], style["bun"], style["long"]], [0.12, 0.085, 0.19, 0.29], 0.36)
    frame = np.where(_col(_col(style["bob"] | style["long"])) > 0, s.head_frame, turned)
    b.figure.add(start, end, r0, r1 * size, frame, flatten=np.where(style["bob"] | style["long"], 0.62, 0.9),
                 active=(style["parted"] & ~covered) | full, **hair)  # fmt: skip
    for x in (0.30, -0.30):  # strands beside the face
        b.figure.add(at(x, 0.12, 0.02), at(x * 1.1, -0.38, 0.02), 0.13 * size, 0.10 * size, turned, flatten=0.7,
                     active=style["bob"] | style["long"], **hair)  # fmt: skip


def _hat(b: _Build, at: Any, turned: Array) -> None:
    s, p = b.skeleton, b.person
    size, frame = s.bones.head, s.head_frame
    cap, beanie, hat = (p.hat == HATS.index(name) for name in ("cap", "beanie", "hat"))
    cloth = {"kind": CLOTH, "part": PART["hat"], "rgb": p.hat_rgb, "rgb2": p.hat_rgb * 0.7, "folds": 0.3,
             "pattern": np.where(beanie, STRIPED, PLAIN), "density": 1.6}  # fmt: skip
    lift = np.where(beanie, 0.02, 0.06)
    top = s.head + np.einsum("nij,nj->ni", frame, np.stack([0 * lift, (0.16 + lift), 0 * lift - 0.04], 1) * _col(size))
    rim = s.head + np.einsum("nij,nj->ni", frame, np.stack([0 * lift, lift + 0.08, 0 * lift - 0.03], 1) * _col(size))
    b.figure.add(top, rim, np.where(hat, 0.43, 0.45) * size, 0.465 * size, turned, flatten=0.88, cut=1.0,
                 active=p.hat != 0, **cloth)  # fmt: skip
    # A cap has a peak in front, a hat a brim all round (a disc: flattened along the vertical).
    low = s.head_frame[..., [0, 2, 1]]
    front = at(0, 0.17, 0.30)
    middle = at(0, 0.15, -0.03)
    b.figure.add(np.where(_col(cap), front, middle), np.where(_col(cap), at(0, 0.13, 0.56), middle),
                 np.where(cap, 0.27, 0.72) * size, np.where(cap, 0.24, 0.72) * size, low,
                 flatten=np.where(cap, 0.16, 0.09), active=cap | hat, **cloth)  # fmt: skip


def _arm(b: _Build, side: int) -> None:
    s, p, k = b.skeleton, b.person, b.k
    name = ("left", "right")[side]
    frame = s.arm_frame[:, side]
    long_sleeve = p.sleeve > 0.9
    muscle = np.where(p.woman, 0.88, 1.0) * np.sqrt(b.girth) * k
    cloth = _upper_cloth(b)
    cloth["pattern"] = np.where(np.isin(cloth["pattern"], (LOGO, OPEN, TWO_TONE)), PLAIN, cloth["pattern"])
    two_tone = (p.pattern == PATTERNS.index("two-tone"))[:, None]
    cloth["rgb"] = np.where(two_tone, p.pattern_rgb, cloth["rgb"])
    loose = np.where(long_sleeve, b.bulk * 0.7 + 0.008, 0.0)
    arm = {
        "kind": np.where(long_sleeve, CLOTH, SKIN), "pattern": np.where(long_sleeve, cloth["pattern"], PLAIN),
        "rgb": np.where(_col(long_sleeve), cloth["rgb"], p.skin_rgb), "rgb2": cloth["rgb2"],
        "density": cloth["density"], "folds": np.where(long_sleeve, 1.0, 0.0), "wrap": 0.045,
    }  # fmt: skip
    start = s.shoulder[:, side] - s.chest_frame[..., 1] * _col(0.012 * k)
    b.figure.add(start, s.elbow[:, side], 0.049 * muscle + loose, 0.038 * muscle + loose, frame,
                 part=PART[f"{name}_upper_arm"], **arm)  # fmt: skip
    b.figure.add(s.elbow[:, side], s.wrist[:, side], 0.038 * muscle + loose, 0.027 * muscle + loose, frame,
                 part=PART[f"{name}_forearm"], **arm)  # fmt: skip
    b.figure.add(s.wrist[:, side], s.hand[:, side], 0.026 * k, 0.034 * k, frame[..., [2, 1, 0]], flatten=0.7,
                 kind=SKIN, part=PART[f"{name}_forearm"], rgb=p.skin_rgb)  # fmt: skip
    reach = s.shoulder[:, side] + (s.elbow[:, side] - s.shoulder[:, side]) * _col(np.clip(p.sleeve * 1.9, 0.0, 0.8))
    b.figure.add(start, reach, 0.052 * muscle + 0.005, 0.053 * muscle + 0.007, frame, cut=1.0,
                 wrap=0.05, active=(p.sleeve > 0) & ~long_sleeve, part=PART[f"{name}_upper_arm"], **cloth)  # fmt: skip


def _leg(b: _Build, side: int) -> None:
    s, p, k, g = b.skeleton, b.person, b.k, b.girth
    name = ("left", "right")[side]
    frame = s.leg_frame[:, side]
    cloth = _lower_cloth(b)
    covered = p.leg > 0.9
    tight = p.lower == LOWERS.index("leggings")
    loose = np.where(covered & ~tight, 0.018, 0.0)
    flare = np.where(covered & ~tight, 0.016, 0.0)
    boots = p.shoes == SHOES.index("boots")
    leg = {
        "kind": np.where(covered, CLOTH, SKIN), "pattern": np.where(covered, cloth["pattern"], PLAIN),
        "rgb": np.where(_col(covered), cloth["rgb"], p.skin_rgb), "rgb2": cloth["rgb2"], "wrap": 0.07,
        "density": cloth["density"], "folds": np.where(covered, cloth["folds"], 0.0),
    }  # fmt: skip
    thick = k * g
    b.figure.add(s.hip[:, side], s.knee[:, side], 0.086 * thick + loose * 0.5, 0.052 * np.sqrt(g) * k + loose, frame,
                 part=PART[f"{name}_thigh"], **leg)  # fmt: skip
    b.figure.add(s.knee[:, side], s.ankle[:, side], 0.053 * np.sqrt(g) * k + loose, 0.034 * k + loose + flare, frame,
                 part=PART[f"{name}_shin"], rgb3=p.shoe_rgb, split=np.where(boots, 0.42, 9.0), **leg)  # fmt: skip
    heel = s.ankle[:, side] + (s.ankle[:, side] - s.toe[:, side]) * 0.12
    sole = s.leg_frame[:, side][..., [0, 2, 1]]
    sneakers = p.shoes == SHOES.index("sneakers")
    b.figure.add(heel, s.toe[:, side], 0.046 * k, 0.037 * k, sole, kind=SHOE, part=PART[f"{name}_shoe"],
                 rgb=p.shoe_rgb, rgb2=np.where(_col(sneakers), 0.75, p.shoe_rgb * 0.35), shine=0.2,
                 side=s.leg_frame[:, side][..., 0], up=np.broadcast_to([0.0, 1.0, 0.0], b.zero.shape))  # fmt: skip
    along = s.hip[:, side] + (s.knee[:, side] - s.hip[:, side]) * _col(np.clip(2.0 * p.leg, 0.3, 1.0))
    b.figure.add(s.hip[:, side], along, 0.098 * thick, 0.088 * thick, frame, cut=1.0, wrap=0.09,
                 active=p.lower == LOWERS.index("shorts"), part=PART[f"{name}_thigh"], **cloth)  # fmt: skip


def _skirt(b: _Build) -> None:
    """Skirt, or the skirt of a dress or coat: a cone along each thigh and one between them, open at the hem."""
    s, p, k, g = b.skeleton, b.person, b.k, b.girth
    coat, dress = p.upper == UPPERS.index("coat"), p.upper == UPPERS.index("dress")
    skirt = p.lower == LOWERS.index("skirt")
    cloth, upper = _lower_cloth(b), _upper_cloth(b)
    from_upper = _col(coat | dress) > 0
    for name in ("rgb", "rgb2"):
        cloth[name] = np.where(from_upper, upper[name], cloth[name])
    cloth["pattern"] = np.where(from_upper[:, 0], np.where(np.isin(upper["pattern"], (LOGO, TWO_TONE)), PLAIN,
                                                           upper["pattern"]), cloth["pattern"])  # fmt: skip
    share = np.select([coat, dress], [0.36, 0.40], p.leg)
    length = np.clip(2.0 * share, 0.4, 0.98)
    ends = s.hip + (s.knee - s.hip) * length[:, None, None]
    ends[..., 0] += 0.015 * np.array([1.0, -1.0])
    gap = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    active = coat | dress | skirt
    common = {"cut": 1.0, "part": PART["skirt"], "active": active, "wrap": 0.15, "origin": s.pelvis, **cloth,
              "folds": 1.6}  # fmt: skip
    hem = (0.10 + np.where(coat, 0.01, 0.025)) * k * g
    for side in (0, 1):
        top = 0.55 * s.pelvis + 0.45 * s.hip[:, side] + np.array([0.0, 0.03, 0.0])
        b.figure.add(top, ends[:, side], 0.108 * k * g + 0.5 * b.bulk, hem, s.pelvis_frame, flatten=0.95, **common)
    middle = ends.mean(axis=1)
    b.figure.add(s.pelvis + np.array([0.0, 0.04, 0.0]), middle, 0.128 * k * g, hem + 0.28 * gap, s.pelvis_frame,
                 flatten=np.clip((hem + 0.05) / (hem + 0.28 * gap), 0.5, 0.95), **common)  # fmt: skip


def _bag(b: _Build) -> None:
    s, p, k = b.skeleton, b.person, b.k
    pack, hand, shoulder = (p.bag == BAGS.index(name) for name in ("backpack", "handbag", "shoulder bag"))
    chest = s.chest_frame
    back = (0.68 * 0.145 * np.sqrt(b.girth) + 0.075) * k + b.bulk
    pack_top = s.chest - chest[..., 1] * _col(0.10 * k) - chest[..., 2] * _col(back)
    pack_low = s.chest - chest[..., 1] * _col(0.30 * k) - chest[..., 2] * _col(back + 0.01)
    rows, index = np.arange(len(k)), np.where(p.bag_left, 0, 1)
    holding = s.hand[rows, index]
    out = np.where(p.bag_left, 1.0, -1.0)[:, None]
    hang = holding + np.array([0.0, -0.20, 0.0]) * _col(k)
    hip = s.hip[rows, index] + s.pelvis_frame[..., 0] * out * _col(0.125 * k * b.girth) + 0.02 * s.pelvis_frame[..., 1]
    centre = np.where(_col(hand), hang, hip)
    along = s.pelvis_frame[..., 2] * _col(np.where(hand, 0.085, 0.075) * k)
    start = np.where(_col(pack), pack_top, centre + along)
    end = np.where(_col(pack), pack_low, centre - along)
    frame = np.where(pack[:, None, None], chest, s.pelvis_frame[..., [2, 1, 0]])
    things = {"kind": THING, "part": PART["bag"], "rgb": p.bag_rgb, "rgb2": p.bag_rgb * 0.6, "shine": 0.12,
              "folds": 0.3}  # fmt: skip
    b.figure.add(start, end, np.where(pack, 0.125, 0.088) * k, np.where(pack, 0.135, 0.088) * k, frame,
                 flatten=np.where(pack, 0.62, 0.42), active=p.bag != 0, feature=1.0, **things)  # fmt: skip
    pocket = s.chest - chest[..., 1] * _col(0.31 * k) - chest[..., 2] * _col(back + 0.07 * k)
    spread = chest[..., 0] * _col(0.05 * k)
    handle = np.where(_col(pack), pocket + spread, holding)
    handle_end = np.where(_col(pack), pocket - spread, hang + np.array([0.0, 0.05, 0.0]))
    b.figure.add(handle, handle_end, np.where(pack, 0.062, 0.016) * k, np.where(pack, 0.062, 0.02) * k, frame,
                 flatten=np.where(pack, 0.7, 1.0), active=pack | hand,
                 **{**things, "rgb": p.bag_rgb * _col(np.where(pack, 0.8, 0.6))})  # fmt: skip
    del shoulder


def _held(b: _Build, pose: Pose, scene: Draws) -> None:
    s, p, k = b.skeleton, b.person, b.k
    carry = pose.family == FAMILIES.index("carry")
    calling = np.isin(pose.family, (FAMILIES.index("phone"), FAMILIES.index("text")))
    middle = s.hand.mean(axis=1) + s.chest_frame[..., 2] * _col(0.03 * k) + s.chest_frame[..., 1] * _col(0.04 * k)
    across = s.chest_frame[..., 0] * _col(np.where(carry, 0.12, 0.0) * k)
    raised = np.argmax(pose.elbow, axis=1)
    hand = s.hand[np.arange(len(k)), raised]
    cardboard = np.array([[0.42, 0.27, 0.14], [0.55, 0.50, 0.42], [0.12, 0.16, 0.22], [0.45, 0.08, 0.06]])
    rgb = np.where(_col(carry), cardboard[scene.choice("box", (4, 2, 1, 1))], 0.015)
    b.figure.add(np.where(_col(carry), middle + across, hand), np.where(_col(carry), middle - across, hand),
                 np.where(carry, 0.125, 0.035) * k, np.where(carry, 0.125, 0.035) * k, s.chest_frame,
                 flatten=np.where(carry, 0.8, 0.6), kind=THING, part=PART["object"], rgb=rgb, shine=0.1,
                 active=carry | calling)  # fmt: skip
    del p


def _chair(b: _Build, pose: Pose, scene: Draws) -> None:
    s, k = b.skeleton, b.k
    sitting = pose.family == FAMILIES.index("sit")
    backed = scene.flag("backed", 0.6)
    rgb = np.array([[0.30, 0.18, 0.09], [0.16, 0.17, 0.18], [0.06, 0.10, 0.20], [0.40, 0.38, 0.34]])
    wood = {"kind": THING, "part": PART["object"], "rgb": rgb[scene.choice("chair", (3, 2, 1, 2))], "shine": 0.08}
    level = np.broadcast_to(np.eye(3), (len(k), 3, 3))
    flat = level[..., [0, 2, 1]]
    drop = 0.118 * k * b.girth
    seat = s.pelvis + np.stack([0 * k, -drop - 0.02, 0.09 * k], axis=1)
    half = np.array([1.0, 0.0, 0.0]) * _col(0.10 * k)
    b.figure.add(seat - half, seat + half, 0.20 * k, 0.20 * k, flat, flatten=0.13, active=sitting, **wood)
    for x, z in ((0.2, 0.14), (-0.2, 0.14), (0.2, -0.14), (-0.2, -0.14)):
        top = seat + np.array([x, 0.0, z]) * _col(k)
        foot = top.copy()
        foot[:, 1] = 0.015
        b.figure.add(top, foot, 0.018, 0.016, level, active=sitting, **wood)
    rest = seat + np.array([0.0, 0.36, -0.19]) * _col(k)
    b.figure.add(rest - half * 1.1, rest + half * 1.1, 0.13 * k, 0.13 * k, level, flatten=0.16,
                 active=sitting & backed, **wood)  # fmt: skip


_SPOKES: Final = 10
"""Straight pieces of a wheel's rim."""


def _bicycle(b: _Build, pose: Pose, scene: Draws) -> None:
    """Two rims and a frame below who rides; the hands hold its bar."""
    s, k = b.skeleton, b.k
    riding = pose.family == FAMILIES.index("ride")
    paint = np.array([[0.02, 0.02, 0.025], [0.30, 0.31, 0.33], [0.16, 0.03, 0.03], [0.03, 0.06, 0.16]])
    common = {"kind": THING, "part": PART["object"], "active": riding, "shine": 0.15}
    frame = {**common, "rgb": paint[scene.choice("bicycle", (5, 3, 1, 1))]}
    upright = np.broadcast_to(np.eye(3), (len(k), 3, 3))

    def at(y: Array, z: float) -> Array:
        """A point of the middle plane: y above the ground, z before the seat."""
        return np.stack([s.pelvis[:, 0], y, s.pelvis[:, 2] + z], axis=1)

    radius = np.full(len(k), 0.32)
    rear, front = at(radius, -0.34), at(radius, 0.72)
    pedals, seat = at(np.full(len(k), 0.27), 0.16), at(s.pelvis[:, 1] - 0.13 * k * b.girth, 0.0)
    bar = s.hand.mean(axis=1) - np.array([0.0, 0.03, 0.0])
    head = bar + np.array([0.0, -0.06, 0.03])
    for start, end, thick in (
        (rear, pedals, 0.016), (pedals, seat, 0.018), (seat, head, 0.018), (pedals, head, 0.020), (head, front, 0.018),
        (s.hand[:, 0], s.hand[:, 1], 0.016), (rear, seat, 0.012),
    ):  # fmt: skip
        b.figure.add(start, end, thick, thick, upright, **frame)
    saddle = np.array([0.0, 0.0, 0.09])
    b.figure.add(seat - saddle, seat + saddle, 0.07, 0.035, upright[..., [0, 2, 1]], flatten=0.5, **common, rgb=0.01)
    turns = np.linspace(0.0, 2.0 * np.pi, _SPOKES + 1)
    for hub in (rear, front):
        rim = [hub + 0.32 * np.array([0.0, np.sin(turn), np.cos(turn)]) for turn in turns]
        for start, end in pairwise(rim):
            b.figure.add(start, end, 0.022, 0.022, upright, **common, rgb=0.012)
