"""Classes of a parsing benchmark, and how the part ids of a data set become classes.

`people` has seven. Its renderer knows body parts, not cloth and skin apart, so a class is where on the body a pixel is:

| class | parts of the renderer |
|---|---|
| background | background, bag, object (held or sat on), occluder: what LIP, too, does not count to the person |
| head | head, hair, hat |
| upper_cloth | torso, with neck and whatever covers it |
| lower_cloth | thighs, and the skirt, also that of a dress or coat: what trousers, shorts and skirts cover |
| arms | upper arms, forearms and hands, sleeved or not |
| legs | shins, in trousers or bare |
| shoes | both shoes |

Any other data set's parts are its classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcbench.benchmarks.scoring import need
from hcbench.data.part_names import mirrored
from hcbench.data.people.figure import PARTS
from hcbench.data.samples import Int, Samples
from hcbench.errors import TaskError

IGNORED = 255
"""Class of pixels that count as nothing."""

_LIMBS = {"upper_arm": "arms", "forearm": "arms", "thigh": "lower_cloth", "shin": "legs", "shoe": "shoes"}
_PEOPLE = {
    "background": "background", "bag": "background", "object": "background", "occluder": "background",
    "head": "head", "hair": "head", "hat": "head",
    "torso": "upper_cloth", "skirt": "lower_cloth",
    **{f"{side}_{limb}": name for side in ("left", "right") for limb, name in _LIMBS.items()},
}  # fmt: skip
PEOPLE_CLASSES = ("background", "head", "upper_cloth", "lower_cloth", "arms", "legs", "shoes")


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """The classes of a data set.

    Attributes:
        names: C names, the background first.
        of_part: uint8 (256,), the class of each part id; IGNORED where an id is none.
    """

    names: tuple[str, ...]
    of_part: NDArray[np.uint8]

    @classmethod
    def of(cls, samples: Samples) -> Classes:
        """The classes of samples by the names of their parts.

        Raises:
            TaskError: The samples do not name their parts.
        """
        need(samples, "parts")
        parts = samples.part_names
        if not parts:
            raise TaskError(
                f"{samples.name} has part masks, but does not say what their ids are.",
                "Its loader must set Samples.part_names.",
            )
        of_part = np.full(256, IGNORED, np.uint8)
        names = PEOPLE_CLASSES if parts == PARTS else parts
        of_part[: len(parts)] = [names.index(_PEOPLE[part] if parts == PARTS else part) for part in parts]
        return cls(names, of_part)

    @property
    def mirrored(self) -> tuple[int, ...]:
        """What each class becomes when its image is flipped."""
        return mirrored(self.names)

    def masks(self, samples: Samples, rows: Int | slice) -> NDArray[np.uint8]:
        """Class masks uint8 (n, H, W) of some samples."""
        picked = np.arange(len(samples))[rows]
        found: NDArray[np.uint8] = self.of_part[need(samples, "parts")[picked]]
        return found
