"""Who is seen: build, skin, hair and everything that is worn, with its exact shades.

Colours are linear-light RGB (display values squared, close to gamma 2), so that light may be multiplied and added.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hcbench.data.people.spec import Draws, Keys, constant, mix

Array = NDArray[np.float64]
Index = NDArray[np.int64]

COLOURS: Final = (
    "black", "white", "gray", "red", "maroon", "orange", "yellow", "green",
    "olive", "teal", "blue", "navy", "purple", "pink", "brown", "beige",
)  # fmt: skip
_DISPLAY: Final = np.array(
    [
        (0.11, 0.11, 0.12), (0.90, 0.90, 0.89), (0.53, 0.54, 0.55), (0.73, 0.14, 0.13),
        (0.43, 0.08, 0.15), (0.87, 0.47, 0.15), (0.88, 0.76, 0.26), (0.17, 0.46, 0.24),
        (0.42, 0.43, 0.19), (0.13, 0.50, 0.52), (0.20, 0.37, 0.69), (0.12, 0.16, 0.38),
        (0.43, 0.24, 0.56), (0.93, 0.55, 0.68), (0.44, 0.28, 0.17), (0.82, 0.74, 0.59),
    ]
)  # fmt: skip
UPPER_COLOUR_WEIGHTS: Final = (34, 20, 13, 4, 2, 1, 2, 2, 2, 2, 5, 8, 1, 2, 2, 3)
LOWER_COLOUR_WEIGHTS: Final = (38, 4, 13, 1, 1, 1, 1, 1, 3, 1, 12, 20, 1, 1, 4, 5)
SEEN_LIGHT: Final = 0.36
"""Deviation of a garment's display level from picture to picture, as a share."""
SEEN_TINT: Final = 0.17
"""Largest change of one channel of it, as a share."""
SEEN_VEIL: Final = 0.03
"""Largest reflection that is added to it, linear light."""
SKIN_LIGHT: Final = 0.4
"""How much of this skin and hair take part in."""
SHADE: Final = 0.02
"""Spread of the exact shades of a colour, display units."""
VIVID_SHARE: Final = 0.15
"""Share of the clothes that have the full colour of their name; others are muted and darker."""
MUTED: Final = (0.25, 0.6)
"""What is left of the colour of a muted cloth."""
ACCENT_WEIGHTS: Final = (28, 10, 12, 4, 3, 2, 2, 3, 3, 2, 4, 8, 2, 3, 7, 4)

UPPERS: Final = ("t-shirt", "shirt", "vest", "hoodie", "jacket", "coat", "dress")
LOWERS: Final = ("trousers", "jeans", "shorts", "skirt", "leggings")
"""Leggings are worn under a dress, and only there."""
PATTERNS: Final = ("plain", "striped", "pinstriped", "checked", "dotted", "logo", "two-tone")
LOWER_PATTERNS: Final = ("plain", "striped", "patterned")
HAIR_STYLES: Final = ("shaved", "short", "parted", "curly", "bob", "long", "ponytail", "bun")
HAIR_COLOURS: Final = ("black", "brown", "blond", "red", "gray")
_HAIR_DISPLAY: Final = np.array(
    [(0.10, 0.08, 0.08), (0.29, 0.18, 0.11), (0.80, 0.64, 0.36), (0.58, 0.25, 0.11), (0.68, 0.67, 0.66)]
)
HATS: Final = ("none", "cap", "beanie", "hat")
SHOES: Final = ("sneakers", "boots", "shoes")
BAGS: Final = ("none", "backpack", "handbag", "shoulder bag")
_SKIN_DISPLAY: Final = np.array(
    [
        (0.95, 0.81, 0.72), (0.91, 0.74, 0.62), (0.85, 0.66, 0.52), (0.77, 0.57, 0.42),
        (0.66, 0.46, 0.32), (0.53, 0.35, 0.24), (0.41, 0.27, 0.19), (0.30, 0.20, 0.15),
    ]
)  # fmt: skip
SKIN_TONES: Final = len(_SKIN_DISPLAY)


@dataclass(frozen=True, slots=True)
class Person:
    """N persons; index fields are int64 (N,) into the tuples of this module, colours float64 (N, 3) in linear light."""

    woman: NDArray[np.bool_]
    elder: NDArray[np.bool_]
    skin_tone: Index
    upper: Index
    upper_colour: Index
    lower: Index
    lower_colour: Index
    pattern: Index
    pattern_colour: Index
    lower_pattern: Index
    hair: Index
    hair_colour: Index
    hat: Index
    hat_colour: Index
    glasses: NDArray[np.bool_]
    beard: NDArray[np.bool_]
    shoes: Index
    shoe_colour: Index
    bag: Index
    bag_colour: Index
    bag_left: NDArray[np.bool_]  # the side of a handbag or shoulder bag
    sleeve: Array  # (N,) covered share of the arm, 0 .. 1
    leg: Array  # (N,) covered share of the leg
    girth: Array  # (N,) about 1
    skin_rgb: Array
    hair_rgb: Array
    upper_rgb: Array
    pattern_rgb: Array
    lower_rgb: Array
    lower_pattern_rgb: Array
    shoe_rgb: Array
    hat_rgb: Array
    bag_rgb: Array
    pattern_scale: Array  # (N,) about 1


_SHADES: Final = {
    "skin_rgb": "skin", "hair_rgb": "hair", "upper_rgb": "upper", "pattern_rgb": "upper", "lower_rgb": "lower",
    "lower_pattern_rgb": "lower", "shoe_rgb": "shoes", "hat_rgb": "hat", "bag_rgb": "bag",
}  # fmt: skip
"""Shades of a person, and the thing that each belongs to."""


def combination_class(upper: Index, upper_colour: Index, lower: Index, lower_colour: Index) -> Index:
    """Class 0..4 of a combination of garments and colours: 0 and 1 belong to pretrain, 2 train, 3 val, 4 test."""
    outfit = (upper * 64 + lower) * 64 + upper_colour
    salt = mix(outfit.astype(np.uint64) ^ constant("combination")) % np.uint64(5)
    return (salt.astype(np.int64) + lower_colour) % 5


_SPLIT_CLASSES: Final = {"pretrain": (0, 1), "train": (2,), "val": (3,), "test": (4,)}


def draw_person(keys: dict[str, Keys], split: str, style: str) -> Person:
    """Draw N persons from their factor keys (see `spec.FACTORS`)."""
    subject, garments = Draws(keys["subject"]), Draws(keys["garments"])
    woman, elder = subject.flag("woman", 0.5), subject.flag("elder", 0.14)
    upper, upper_colour, lower, lower_colour = _garments(garments, woman, split)
    worn = _extras(Draws(keys["extras"]), woman, elder, upper, upper_colour, lower_colour)
    flesh = Draws(keys["flesh"])
    heavy = 1.36 if style == "B" else 1.28
    tone = Draws(keys["skin"]).choice("tone", np.ones(SKIN_TONES))
    sleeve = np.select(
        [upper == UPPERS.index("vest"), np.isin(upper, (UPPERS.index("t-shirt"), UPPERS.index("dress")))],
        [0.0, garments.uniform("short_sleeve", 0.22, 0.40)],
        1.0,
    )
    leg = np.select(
        [lower == LOWERS.index("shorts"), lower == LOWERS.index("skirt")],
        [garments.uniform("shorts", 0.28, 0.46), garments.uniform("skirt", 0.26, 0.5)],
        1.0,
    )
    return Person(
        woman=woman, elder=elder, skin_tone=tone, upper=upper, upper_colour=upper_colour, lower=lower,
        lower_colour=lower_colour, sleeve=sleeve, leg=leg, girth=heavy * np.exp(flesh.normal("girth", 0.0, 0.1)),
        **worn, **_shades(Draws(keys["jitter"]), tone, upper_colour, lower_colour, worn),
    )  # fmt: skip


def _garments(d: Draws, woman: NDArray[np.bool_], split: str) -> tuple[Index, Index, Index, Index]:
    upper_weights = np.where(
        woman[:, None], np.array([22.0, 20, 5, 15, 18, 10, 10]), np.array([26.0, 23, 4, 19, 20, 8, 0])
    )
    upper = d.choice("upper", upper_weights)
    lower_weights = np.where(woman[:, None], np.array([36.0, 34, 10, 20, 0]), np.array([47.0, 38, 15, 0, 0]))
    lower = np.where(upper == UPPERS.index("dress"), LOWERS.index("leggings"), d.choice("lower", lower_weights))
    upper_colour = d.choice("upper_colour", UPPER_COLOUR_WEIGHTS)
    colours = np.arange(len(COLOURS))
    classes = combination_class(upper[:, None], upper_colour[:, None], lower[:, None], colours[None])
    allowed = np.isin(classes, _SPLIT_CLASSES[split])
    lower_colour = d.choice("lower_colour", np.asarray(LOWER_COLOUR_WEIGHTS, np.float64) * allowed)
    return upper, upper_colour, lower, lower_colour


def _extras(
    d: Draws, woman: NDArray[np.bool_], elder: NDArray[np.bool_], upper: Index, upper_colour: Index, lower_colour: Index
) -> dict[str, Any]:
    closed = np.isin(upper, (UPPERS.index("jacket"), UPPERS.index("coat")))
    weights = np.where(closed[:, None], np.array([82.0, 4, 2, 4, 1, 3, 4]), np.array([66.0, 10, 2, 7, 2, 8, 5]))
    hair_weights = np.where(
        woman[:, None], np.array([0.5, 8, 8, 12, 20, 28, 17, 10]), np.array([14.0, 40, 26, 11, 3, 3, 2, 1])
    )
    colour_weights = np.where(elder[:, None], np.array([1.0, 1, 2, 0, 40]), np.array([60.0, 32, 5, 1.5, 1.5]))
    bag = d.choice("bag", np.where(woman[:, None], np.array([55.0, 16, 15, 14]), np.array([63.0, 20, 5, 12])))
    return {
        "pattern": d.choice("pattern", weights),
        "pattern_colour": _other(d, "pattern_colour", upper_colour),
        "lower_pattern": d.choice("lower_pattern", (91, 4.5, 4.5)),
        "hair": d.choice("hair", hair_weights),
        "hair_colour": d.choice("hair_colour", colour_weights),
        "hat": d.choice("hat", (87, 6, 4, 3)),
        "hat_colour": d.choice("hat_colour", ACCENT_WEIGHTS),
        "glasses": d.flag("glasses", 0.2),
        "beard": d.flag("beard", 0.3) & ~woman,
        "shoes": d.choice("shoes", (50, 22, 28)),
        "shoe_colour": d.choice("shoe_colour", (40, 18, 12, 2, 1, 1, 1, 1, 1, 1, 3, 5, 1, 1, 9, 3)),
        "bag": bag,
        "bag_colour": _other(d, "bag_colour", upper_colour),
        "bag_left": d.flag("bag_left", 0.5),
        "pattern_scale": d.uniform("pattern_scale", 0.75, 1.35),
    }


def _other(d: Draws, name: str, not_this: Index) -> Index:
    """A colour that differs from `not_this`, so that it shows."""
    weights = np.tile(np.asarray(ACCENT_WEIGHTS, np.float64), (len(d), 1))
    weights[np.arange(len(d)), not_this] = 0.0
    return d.choice(name, weights)


def in_local_light(person: Person, light: Draws) -> Person:
    """The persons as one picture shows them: sheen, damp, dust and local light change each garment by itself.

    Without it a metric that is learned on frozen colours tells persons apart twice as well as on real photographs.
    """
    seen: dict[str, Any] = {}
    for name, garment in _SHADES.items():
        much = SKIN_LIGHT if name in ("skin_rgb", "hair_rgb") else 1.0
        level = np.exp(light.normal(f"seen/{garment}", -0.1, 2.0 * SEEN_LIGHT * much))[:, None]
        tint = np.exp((light.uniforms(f"seen tint/{garment}", 3) - 0.5) * (4.0 * SEEN_TINT * much))
        veil = SEEN_VEIL * much * light.uniform(f"seen veil/{garment}")[:, None] ** 2
        seen[name] = np.clip(getattr(person, name) * level * tint + veil, 0.0, 0.95)
    return replace(person, **seen)


def _shades(d: Draws, tone: Index, upper_colour: Index, lower_colour: Index, worn: dict[str, Any]) -> dict[str, Any]:
    """Exact colours: the named colour moved in lightness and hue, or a dozen names would make near-twins."""

    def shade(name: str, display: Array, spread: float) -> Array:
        light = d.normal(name + "_light", 1.0, 1.6 * spread)[:, None]
        tint = (d.uniforms(name + "_tint", 3) - 0.5) * 2.0 * spread
        return np.asarray(np.clip(display * light + tint, 0.03, 0.97) ** 2)

    def cloth(name: str, colour: Index) -> Array:
        display = _DISPLAY[colour]
        grey = (display @ np.array([0.299, 0.587, 0.114]))[:, None]
        kept = np.where(d.flag(name + "_vivid", VIVID_SHARE), 1.0, d.uniform(name + "_muted", *MUTED))[:, None]
        return shade(name, (grey + kept * (display - grey)) * (0.80 + 0.20 * kept), SHADE)

    lower = cloth("lower", lower_colour)
    return {
        "skin_rgb": shade("skin", _SKIN_DISPLAY[tone], 0.008),
        "hair_rgb": shade("hair", _HAIR_DISPLAY[worn["hair_colour"]], 0.015),
        "upper_rgb": cloth("upper", upper_colour),
        "pattern_rgb": cloth("pattern", worn["pattern_colour"]),
        "lower_rgb": lower,
        "lower_pattern_rgb": 0.5 * lower
        + 0.5 * cloth("lower_pattern", (lower_colour + 1 + worn["pattern_colour"]) % 16),
        "shoe_rgb": cloth("shoe", worn["shoe_colour"]),
        "hat_rgb": cloth("hat", worn["hat_colour"]),
        "bag_rgb": cloth("bag", worn["bag_colour"]),
    }
