"""Rules of a method's settings: what each one may be, checked before anything is computed. Imports nothing heavy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hcbench.errors import ConfigError, did_you_mean


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some names."""

    names: tuple[str, ...]

    def fits(self, value: Any) -> bool:
        """Whether a setting may be `value`."""
        return value in self.names

    def hint(self, value: Any) -> str:
        """What it may be instead."""
        return did_you_mean(str(value), self.names)


@dataclass(frozen=True, slots=True)
class Within:
    """A number in a range.

    Attributes:
        low: Lower bound.
        high: Upper bound.
        bounds: Which bounds belong to the range: "[]", "[)", "(]" or "()".
        means: What the number is, or what one of its values does, for the hint.
    """

    low: float = -math.inf
    high: float = math.inf
    bounds: str = "[]"
    means: str = ""

    def fits(self, value: Any) -> bool:
        """Whether a setting may be `value`."""
        above = value >= self.low if self.bounds[0] == "[" else value > self.low
        below = value <= self.high if self.bounds[1] == "]" else value < self.high
        return bool(above and below)

    def hint(self, value: Any) -> str:
        """What it may be instead."""
        low = f"{'at least' if self.bounds[0] == '[' else 'above'} {self.low:g}" if self.low > -math.inf else ""
        high = f"{'at most' if self.bounds[1] == ']' else 'below'} {self.high:g}" if self.high < math.inf else ""
        return f"Use a number {' and '.join(filter(None, (low, high)))}{f' ({self.means})' if self.means else ''}."


@dataclass(frozen=True, slots=True)
class Source:
    """One of some names, or a kind with a path or name behind a colon: `rendered:/data/maps`.

    Attributes:
        names: Names that stand alone.
        files: Kinds whose file or folder must be there.
        named: Other kinds, with the entry-point group that a name behind them is of; whoever reads it looks for it.
    """

    names: tuple[str, ...]
    files: tuple[str, ...] = ()
    named: Mapping[str, str] = field(default_factory=dict)

    def fits(self, value: Any) -> bool:
        """Whether a setting may be `value`."""
        kind, _, where = str(value).partition(":")
        if kind in self.files and where:
            return Path(where).expanduser().exists()
        return value in self.names or bool(kind in self.named and where)

    def hint(self, value: Any) -> str:
        """What it may be instead."""
        kind, _, where = str(value).partition(":")
        if kind in self.files and where:
            return f"There is nothing at {where}."
        return did_you_mean(str(value), (*self.names, *(f"{one}:PATH" for one in self.files),
                                         *(f"{one}:NAME" for one in self.named)))  # fmt: skip


Rule = OneOf | Source | Within
Rules = Mapping[str, Rule]
"""Name of a setting of the method's Config to its rule."""

SHARE = Within(0.0, 1.0)
WEIGHT = Within(0.0, means="0 leaves it out")
POSITIVE = Within(0.0, bounds="(]")


def check_config(method: str, rules: Rules, config: Any) -> None:
    """Hold settings against their rules.

    Args:
        method: Name for the message.
        rules: By setting.
        config: The method's Config.

    Raises:
        ConfigError: A setting is not what it may be.
    """
    for name, rule in rules.items():
        value = getattr(config, name)
        if not rule.fits(value):
            raise ConfigError(f"{method}: {name} is {value!r}.", rule.hint(value))
