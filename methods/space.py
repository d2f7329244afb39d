"""Search spaces: which settings of a method `hcbench tune` tries, and how far it goes. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Around:
    """Log-uniform from default / factor to default x factor, for rates and weights of losses.

    It follows the default of whatever profile and recipe are in use. A setting that is 0 there is switched off, and
    stays so.

    Attributes:
        factor: Above 1.
        when: A setting of the same method without which this one has no effect; empty where there is none.
    """

    factor: float
    when: str = ""


@dataclass(frozen=True, slots=True)
class Range:
    """Uniform between two bounds, for shares and the like.

    Attributes:
        low: Lower bound.
        high: Upper bound.
        when: As in `Around`.
    """

    low: float
    high: float
    when: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values.

    Attributes:
        options: The values, of the setting's type.
        when: As in `Around`.
    """

    options: tuple[bool | int | float | str, ...]
    when: str = ""


Domain = Around | Range | Choice
Space = Mapping[str, Domain]
"""Name of a setting of the method's Config to what is tried of it."""

LEARNING_RATE: Space = {"lr": Around(4.0)}
"""What is searched for every method that trains: 16-fold from end to end, the profile's rule in the middle."""

WEIGHT_FACTOR = 5.0
"""How far weights of auxiliary losses go: what a paper found on another data set and backbone is a rough guide."""
