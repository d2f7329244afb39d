"""What the embedded benchmarks are held against: figures of real photographs, and how near to them counts as near.

Measured on crops of a street surveillance set (six cameras, 1,501 persons in all), whose images are not
redistributable while figures are: 250 persons x up to 6 images seen by at least two cameras, every image a query, the
same person under the same camera removed, 128x64; the metric is learned on 500 other persons x 5 images. The first
version of the embedded benchmarks (`people` v1) is kept to show what was changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Difficulty:
    """How well features of a control find persons again; mAP in %.

    Attributes:
        features: Control whose features they are.
        readout: Of the control, see `hcbench.benchmarks.readout`.
        nearest: Nearest neighbour by cosine: real, v1.
        metric: With a metric learned on other persons: real, v1.
        nearest_target: Range that benchmarks must lie in; None where only shown.
        metric_target: Likewise.
    """

    features: str
    readout: str
    nearest: tuple[float, float]
    metric: tuple[float, float]
    nearest_target: tuple[float, float] | None = None
    metric_target: tuple[float, float] | None = None


DIFFICULTIES: Final = (
    Difficulty("histogram", "cls", (12.2, 2.2), (28.8, 22.1), (8, 16), (22, 34)),
    Difficulty("histogram", "cls+stripes", (9.9, 1.7), (27.7, 18.9)),
    Difficulty("pixels", "cls", (6.1, 2.4), (18.0, 15.6), (4, 9), (12, 22)),
    Difficulty("random", "cls", (3.7, 1.2), (7.8, 4.5)),
    Difficulty("random", "cls+stripes", (7.6, 1.9), (15.4, 12.8), (5, 11), (10, 19)),
)


@dataclass(frozen=True, slots=True)
class Look:
    """A statistic of `hcbench.harness.scoring.image_statistics`: real, v1, and whether it is a target."""

    name: str
    real: tuple[float, ...]
    before: tuple[float, ...]
    target: bool = True


LOOKS: Final = (
    Look("chroma", (0, 3, 8, 18, 50), (4, 10, 22, 43, 95)),
    Look("chroma middle", (20.0,), (41.8,)),
    Look("chroma edges", (10.4,), (27.4,)),
    Look("luminance deviation", (35, 41, 47, 52, 62), (18, 25, 31, 36, 46)),
    Look("luminance mean", (68, 88, 99, 111, 130), (69, 91, 104, 117, 136), target=False),
    Look("gradient", (5.2, 7.4, 8.9, 10.5, 12.9), (3.8, 5.4, 6.9, 8.5, 11.4)),
    Look("slope", (-2.79,), (-2.68,), target=False),
    Look("share middle", (0.33,), (0.34,)),
    Look("share edges", (0.22,), (0.39,)),
)

TOLERANCE: Final = 0.25
"""How far a median may lie from the real one, as a share of it."""


def near(look: Look, found: tuple[float, ...]) -> bool:
    """Whether the median (or the single number) lies within `TOLERANCE` of the real one."""
    real = look.real[len(look.real) // 2]
    return abs(found[len(found) // 2] - real) <= TOLERANCE * abs(real)
