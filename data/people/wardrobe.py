"""Who is seen: build, skin, hair and everything that is worn, with its exact shades.

Colours are linear-light RGB (display values squared, close to gamma 2), so that light may be multiplied and added.
"""

from __future__ import annotations

from dataclasses import dataclass
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
UPPER_COLOUR_WEIGHTS: Final = (14, 12, 9, 8, 4, 5, 5, 6, 3, 4, 9, 6, 4, 5, 4, 4)
LOWER_COLOUR_WEIGHTS: Final = (16, 5, 11, 4, 3, 2, 2, 4, 5, 3, 13, 13, 3, 3, 7, 8)
ACCENT_WEIGHTS: Final = (8, 8, 6, 7, 4, 5, 5, 5, 4, 5, 7, 5, 5, 5, 6, 4)

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
    heavy = 1.06 if style == "B" else 1.0
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
        woman[:, None], np.array([24.0, 18, 8, 13, 14, 9, 14]), np.array([30.0, 23, 7, 16, 16, 8, 0])
    )
    upper = d.choice("upper", upper_weights)
    lower_weights = np.where(woman[:, None], np.array([27.0, 27, 16, 30, 0]), np.array([42.0, 34, 24, 0, 0]))
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
    weights = np.where(closed[:, None], np.array([70.0, 5, 2, 10, 3, 3, 7]), np.array([40.0, 14, 6, 12, 8, 10, 10]))
    hair_weights = np.where(
        woman[:, None], np.array([0.5, 8, 8, 12, 20, 28, 17, 10]), np.array([14.0, 40, 26, 11, 3, 3, 2, 1])
    )
    colour_weights = np.where(elder[:, None], np.array([1.0, 1, 2, 0, 40]), np.array([36.0, 34, 18, 9, 1]))
    bag = d.choice("bag", np.where(woman[:, None], np.array([45.0, 17, 22, 16]), np.array([57.0, 22, 7, 14])))
    return {
        "pattern": d.choice("pattern", weights),
        "pattern_colour": _other(d, "pattern_colour", upper_colour),
        "lower_pattern": d.choice("lower_pattern", (80, 10, 10)),
        "hair": d.choice("hair", hair_weights),
        "hair_colour": d.choice("hair_colour", colour_weights),
        "hat": d.choice("hat", (80, 9, 6, 5)),
        "hat_colour": d.choice("hat_colour", ACCENT_WEIGHTS),
        "glasses": d.flag("glasses", 0.2),
        "beard": d.flag("beard", 0.3) & ~woman,
        "shoes": d.choice("shoes", (50, 22, 28)),
        "shoe_colour": d.choice("shoe_colour", (20, 16, 9, 5, 2, 2, 2, 2, 2, 2, 5, 4, 2, 3, 12, 6)),
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


def _shades(d: Draws, tone: Index, upper_colour: Index, lower_colour: Index, worn: dict[str, Any]) -> dict[str, Any]:
    """Exact colours: the named colour moved in lightness and hue, or a dozen names would make near-twins."""

    def shade(name: str, display: Array, spread: float) -> Array:
        light = d.normal(name + "_light", 1.0, 1.6 * spread)[:, None]
        tint = (d.uniforms(name + "_tint", 3) - 0.5) * 2.0 * spread
        return np.asarray(np.clip(display * light + tint, 0.03, 0.97) ** 2)

    def cloth(name: str, colour: Index) -> Array:
        return shade(name, _DISPLAY[colour], 0.055)

    return {
        "skin_rgb": shade("skin", _SKIN_DISPLAY[tone], 0.012),
        "hair_rgb": shade("hair", _HAIR_DISPLAY[worn["hair_colour"]], 0.025),
        "upper_rgb": cloth("upper", upper_colour),
        "pattern_rgb": cloth("pattern", worn["pattern_colour"]),
        "lower_rgb": cloth("lower", lower_colour),
        "lower_pattern_rgb": cloth("lower_pattern", (lower_colour + 1 + worn["pattern_colour"]) % len(COLOURS)),
        "shoe_rgb": cloth("shoe", worn["shoe_colour"]),
        "hat_rgb": cloth("hat", worn["hat_colour"]),
        "bag_rgb": cloth("bag", worn["bag_colour"]),
    }
