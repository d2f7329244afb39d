"""Attributes with the names of PA-100K, for those that the renderer shows."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hcbench.data.people.motion import FAMILIES, Pose
from hcbench.data.people.wardrobe import BAGS, LOWER_PATTERNS, LOWERS, PATTERNS, SHOES, UPPERS, Person

ATTRIBUTES: Final = (
    "Female", "AgeOver60", "Front", "Side", "Back", "Hat", "HandBag", "ShoulderBag", "Backpack",
    "HoldObjectsInFront", "ShortSleeve", "LongSleeve", "UpperStride", "UpperPlaid", "UpperSplice",
    "LowerStripe", "LowerPattern", "LongCoat", "Trousers", "Shorts", "Skirt&Dress", "boots",
)  # fmt: skip
"""Left out: AgeLess18 and Age18-60 (not shown); Glasses and UpperLogo, which cannot be seen at 128x64: three pixels of
a face that half of the persons turn away, and a mark on the chest alone. A small network trained with labels (3 passes
over 12,000 images of the regime street; area under the curve on 1,200 images of 400 test persons) reached .56 and .60
there, .72 to .996 on each of the others, .90 in their mean. HoldObjectsInFront = carries a box or looks at a phone."""


def attributes(person: Person, pose: Pose, yaw: NDArray[np.float64]) -> NDArray[np.int8]:
    """int8 (N, len(ATTRIBUTES)) of 0 and 1; front, side and back are 90 degree sectors of the body's direction."""
    away = np.abs((yaw + np.pi) % (2 * np.pi) - np.pi)
    upper, lower, pattern = person.upper, person.lower, person.pattern

    def among(values: NDArray[np.int64], names: tuple[str, ...], *wanted: str) -> NDArray[np.bool_]:
        return np.isin(values, [names.index(name) for name in wanted])

    columns = {
        "Female": person.woman,
        "AgeOver60": person.elder,
        "Front": away < np.pi / 4,
        "Side": (away >= np.pi / 4) & (away <= 3 * np.pi / 4),
        "Back": away > 3 * np.pi / 4,
        "Hat": person.hat > 0,
        "HandBag": among(person.bag, BAGS, "handbag"),
        "ShoulderBag": among(person.bag, BAGS, "shoulder bag"),
        "Backpack": among(person.bag, BAGS, "backpack"),
        "HoldObjectsInFront": among(pose.family, FAMILIES, "carry", "text"),
        "ShortSleeve": person.sleeve < 0.9,
        "LongSleeve": person.sleeve >= 0.9,
        "UpperStride": among(pattern, PATTERNS, "striped", "pinstriped"),
        "UpperPlaid": among(pattern, PATTERNS, "checked"),
        "UpperSplice": among(pattern, PATTERNS, "two-tone"),
        "LowerStripe": among(person.lower_pattern, LOWER_PATTERNS, "striped"),
        "LowerPattern": among(person.lower_pattern, LOWER_PATTERNS, "patterned"),
        "LongCoat": among(upper, UPPERS, "coat"),
        "Trousers": among(lower, LOWERS, "trousers", "jeans"),
        "Shorts": among(lower, LOWERS, "shorts"),
        "Skirt&Dress": among(lower, LOWERS, "skirt") | among(upper, UPPERS, "dress"),
        "boots": among(person.shoes, SHOES, "boots"),
    }
    return np.stack([columns[name] for name in ATTRIBUTES], axis=1).astype(np.int8)
