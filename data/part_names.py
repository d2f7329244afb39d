"""Names of the part ids of human-parsing data sets, in the order of their label files; no numpy, no torch.

Label images hold these positions as pixel values (255 = counts as nothing) and must be read as indices, never through
their palette. LIP: Gong et al., Look into Person, CVPR 2017. CIHP: Gong et al., Instance-level Human Parsing, ECCV
2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

LIP: Final = (
    "background", "hat", "hair", "glove", "sunglasses", "upper_clothes", "dress", "coat", "socks", "pants", "jumpsuits",
    "scarf", "skirt", "face", "left_arm", "right_arm", "left_leg", "right_leg", "left_shoe", "right_shoe",
)  # fmt: skip
CIHP: Final = tuple("torso_skin" if name == "jumpsuits" else name for name in LIP)
"""LIP's names but for one."""


def mirrored(names: Sequence[str]) -> tuple[int, ...]:
    """What each id becomes when its image is flipped: `left_` and `right_` of a name change places.

    >>> mirrored(("background", "left_arm", "right_arm"))
    (0, 2, 1)
    >>> [pair for pair in enumerate(mirrored(LIP)) if pair[0] < pair[1]]
    [(14, 15), (16, 17), (18, 19)]
    """
    place = {name: index for index, name in enumerate(names)}
    other = {"left": "right", "right": "left"}

    def mirror(name: str) -> str:
        side, underscore, rest = name.partition("_")
        return f"{other[side]}{underscore}{rest}" if side in other else name

    return tuple(place.get(mirror(name), index) for index, name in enumerate(names))
