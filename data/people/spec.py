"""What a corpus of people is made of: its specification and the keys from which everything is drawn.

Every image is a pure function of (spec, group, variant). Each *factor* of an image (who, what is worn, pose, view,
scene ...) has a 64-bit key; the layout decides whether a factor's key comes from the group or from the image. Since a
factor is always drawn by the same function of its key, all layouts have the same marginals by construction.

No torch here: the command line imports this module.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hcbench.errors import ConfigError, did_you_mean

Keys = NDArray[np.uint64]

REFERENCE_GROUPS: Final = 117_126
GROUP_SIZE: Final = 5
"""Images per pre-training group: 117,126 x 5 = 585,630 images of reference."""

SPLITS: Final = ("pretrain", "train", "val", "test")
LAYOUTS: Final = ("captions", "poses", "identities")
STYLES: Final = ("A", "B")
DETAILS: Final = ("action", "garments", "everything", "mixture")
LEVELS: Final = DETAILS[:3]
"""What one caption names; a mixture draws a level for each group."""
DETAIL_WEIGHTS: Final = (68, 7, 1)
"""Of 76 COCO captions that speak of a person, those at each of the LEVELS; `captions` says how they were counted."""
STREET_SHARE: Final = 0.5
"""Default share of pre-training images in the regime *street*; the others are *everyday*.

Half and half, so that no benchmark's regime is favoured: three of five benchmarks are street, two are everyday.
"""
STREET, EVERYDAY = "street", "everyday"
REGIMES: Final = {STREET: 1.0, EVERYDAY: 0.0}
"""Share of street images of a benchmark split, by the name of its regime."""
CAMERAS: Final = {"pretrain": 32, "train": 8, "val": 6, "test": 8}
"""Cameras (places with a colour response of their own) of each split; camera ids never repeat between splits."""
FIRST_CAMERA: Final = {"pretrain": 0, "train": 100, "val": 200, "test": 300}

_PERSON: Final = ("subject", "garments", "extras", "skeleton", "flesh", "skin", "jitter")
_SKELETON: Final = ("subject", "regime", "action", "pose", "skeleton", "view", "framing", "template")
FACTORS: Final = (
    *_PERSON, "regime", "action", "pose", "view", "framing", "template", "camera", "scene", "light", "occluder",
)  # fmt: skip
"""Everything that is drawn for an image.

subject: man or woman, age; garments: kinds and colours of upper and lower body; extras: hair, hat, glasses, shoes, bag,
pattern; skeleton: stature and limb lengths; flesh: girth; skin; jitter: the exact shades of the wardrobe; regime:
street or everyday (see `draw_street`); action: pose family and manner; pose: joint angles; view: yaw, pitch and roll;
framing: scale, offset, truncation; template: the sentence; camera, scene (place in front of it), light, occluder.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class PeopleSpec:
    """A corpus of people.

    Attributes:
        split: pretrain, train, val or test; identities, skeletons, cameras, sentence templates and attribute
            combinations of two splits are disjoint.
        layout: What a group holds fixed: captions, poses or identities; benchmark splits use identities.
        style: A or B: textures, noise, light and body statistics. Pre-training uses A, benchmarks B.
        caption_detail: What the captions of the layouts captions and poses hold fixed, and so name: action, garments
            (and their colours), everything, or a mixture of groups of each level in the shares of real captions; see
            `captions`. Benchmark splits name everything. The layout identities holds no caption fixed: its captions
            describe each picture, whatever this says (see `descriptions`).
        street_share: Share of the images in the regime street (people who stand, walk, ride or carry, in tight boxes);
            the others are everyday (all pose families and scales). The same for all layouts. Benchmark splits have 1
            or 0. Only pose and framing differ: cameras, places and light are those of both.
        noise: Scale of the label noise of the pretrain split: 10 % wrong identity labels, 5-10 % wrong caption words,
            keypoint jitter of 2 % of stature. 0 is the oracle.
        height: Image height in pixels.
        width: Image width in pixels.
    """

    split: str = "pretrain"
    layout: str = "identities"
    style: str = "A"
    caption_detail: str = "mixture"
    street_share: float = STREET_SHARE
    noise: float = 1.0
    height: int = 128
    width: int = 64

    def __post_init__(self) -> None:
        for name, value, known in (
            ("split", self.split, SPLITS),
            ("layout", self.layout, LAYOUTS),
            ("style", self.style, STYLES),
            ("caption_detail", self.caption_detail, DETAILS),
        ):
            if value not in known:
                raise ConfigError(f"Unknown {name} {value!r} of the people corpus.", did_you_mean(value, known))
        if self.split != "pretrain" and self.layout != "identities":
            raise ConfigError(
                f"Split {self.split!r} of the people corpus has the layout 'identities', not {self.layout!r}.",
                "Only the pretrain split has the layouts captions and poses.",
            )
        if self.height % 8 or self.width % 8 or not 32 <= self.height <= 1024 or not 16 <= self.width <= 1024:
            raise ConfigError(
                f"People of {self.height} x {self.width} pixels cannot be rendered.",
                "Choose a height of 32-1024 and a width of 16-1024, both multiples of 8 (the renderer's tile).",
            )
        if not 0.0 <= self.street_share <= 1.0:
            raise ConfigError(
                f"street_share is {self.street_share}; it must lie in 0 .. 1.", "It is a share of the images."
            )
        if not 0.0 <= self.noise <= 5.0:
            raise ConfigError(
                f"corpus.noise is {self.noise}; it must lie in 0 .. 5.", "1 is the default, 0 the oracle."
            )

    def fixed_factors(self, level: str) -> frozenset[str]:
        """Factors that all images of one group share, where its caption names as much as `level` (of LEVELS)."""
        if self.layout == "identities":
            return frozenset(_PERSON)
        named = {"action": (), "garments": ("garments",), "everything": ("garments", "extras")}[level]
        shared = _SKELETON if self.layout == "poses" else ("subject", "regime", "action", "template")
        return frozenset((*shared, *named))


def constant(*names: object) -> np.uint64:
    """A 64-bit constant for a name, stable across machines and versions."""
    text = "/".join(str(name) for name in names)
    return np.uint64(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little"))


def mix(values: Keys) -> Keys:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection of 64-bit words that scrambles well."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def factor_keys(spec: PeopleSpec, groups: NDArray[np.int64], variants: NDArray[np.int64]) -> dict[str, Keys]:
    """One uint64 key per factor and image, and one of the "group"; `groups` and `variants` are int64 (N,).

    The group key holds split and layout (an identity of one split never appears in another), not the style: the same
    people can be seen in both styles.
    """
    group_key = mix(np.asarray(groups).astype(np.uint64) ^ constant("people", spec.split, spec.layout))
    image_key = mix(group_key + mix(np.asarray(variants).astype(np.uint64) + np.uint64(1)))
    keys = {"group": mix(group_key ^ constant("group"))}
    level = draw_levels(spec, keys)
    fixed = [spec.fixed_factors(name) for name in LEVELS]
    for name in FACTORS:
        shared = np.array([name in among for among in fixed])[level]
        keys[name] = mix(np.where(shared, group_key, image_key) ^ constant(name))
    return keys


def draw_levels(spec: PeopleSpec, keys: dict[str, Keys]) -> NDArray[np.int64]:
    """How much the caption of each image names, int64 (N,) into LEVELS; of a mixture, each group has a level."""
    if spec.caption_detail == "mixture":
        return Draws(keys["group"]).choice("detail", DETAIL_WEIGHTS)
    return np.full(len(keys["group"]), LEVELS.index(spec.caption_detail))


def draw_street(spec: PeopleSpec, keys: dict[str, Keys]) -> NDArray[np.bool_]:
    """Whether each image is in the regime street, bool (N,)."""
    return Draws(keys["regime"]).flag("street", spec.street_share)


class Draws:
    """Counter-based random numbers: every value is a hash of (key, name, counter), so batches may be cut anywhere.

    Args:
        keys: uint64 (N,).
    """

    def __init__(self, keys: Keys) -> None:
        self.keys = keys

    def __len__(self) -> int:
        return len(self.keys)

    def bits(self, name: str, size: int = 1) -> Keys:
        """uint64 (N, size)."""
        counters = np.arange(size, dtype=np.uint64) * np.uint64(0xD1342543DE82EF95)
        return mix(mix(self.keys ^ constant(name))[:, None] + counters)

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0) -> NDArray[np.float64]:
        """float64 (N,) in [low, high)."""
        return np.asarray(low + (high - low) * self.uniforms(name, 1)[:, 0])

    def uniforms(self, name: str, size: int) -> NDArray[np.float64]:
        """float64 (N, size) in [0, 1)."""
        return np.asarray((self.bits(name, size) >> np.uint64(11)).astype(np.float64) * (1.0 / (1 << 53)))

    def normal(self, name: str, mean: float = 0.0, deviation: float = 1.0, limit: float = 2.5) -> NDArray[np.float64]:
        """float64 (N,), a sum of four uniforms: close to normal, bounded by `limit` deviations."""
        total = (self.uniforms(name, 4).sum(axis=1) - 2.0) * np.sqrt(3.0)
        return np.asarray(mean + deviation * np.clip(total, -limit, limit))

    def flag(self, name: str, probability: float | NDArray[np.float64]) -> NDArray[np.bool_]:
        """Bool (N,), true with `probability`."""
        return np.asarray(self.uniform(name) < probability)

    def choice(self, name: str, weights: NDArray[np.float64] | tuple[float, ...]) -> NDArray[np.int64]:
        """int64 (N,) index drawn with `weights`, (K,) or one row per draw (N, K)."""
        table = np.atleast_2d(np.asarray(weights, np.float64))
        edges = np.cumsum(table / table.sum(axis=1, keepdims=True), axis=1)
        drawn = (self.uniform(name)[:, None] >= edges).sum(axis=1)
        return np.asarray(np.minimum(drawn, table.shape[1] - 1), np.int64)
