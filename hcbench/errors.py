"""Errors that speak to the user: what was found, what was expected, what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HcbenchError(Exception):
    """Root of every error that a user can cause and mend.

    Args:
        message: What was found and what was expected.
        hint: What to do next; shown on a line of its own.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        # Names of files may hold what no terminal and no store can write: bytes that are not UTF-8.
        self.message, self.hint = (text.encode("utf-8", "backslashreplace").decode() for text in (message, hint))
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class ConfigError(HcbenchError):
    """A setting is unknown, has the wrong type or contradicts another."""


class DataError(HcbenchError):
    """A dataset is missing, incomplete or not what it claims to be."""


class WeightsError(HcbenchError):
    """A weight file is missing, damaged or made for another architecture."""


class MethodError(HcbenchError):
    """A method cannot work with what it was given."""


class TaskError(HcbenchError):
    """A benchmark cannot score what it was given."""


class UnfitError(HcbenchError):
    """Something cannot be scored as asked, by what it is: it is skipped with the message as its reason."""


class DivergedError(HcbenchError):
    """A loss or gradient is no longer finite."""


class BudgetError(HcbenchError):
    """A data budget cannot be parsed or is larger than the corpus."""


class CacheError(HcbenchError):
    """A cache or workspace cannot be read or written."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Give a hint that names the nearest known name, or lists them all.

    >>> did_you_mean("stablrep", ["genpoccl", "stablerep"])
    "Did you mean 'stablerep'? Known: genpoccl, stablerep."
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    listing = f"Known: {', '.join(names)}."
    return f"Did you mean {close[0]!r}? {listing}" if close else listing


def nearest_size(size: tuple[int, int], step: tuple[int, int]) -> str:
    """The height and width nearest to a size that are multiples of a step, as text for a hint.

    >>> nearest_size((128, 64), (14, 14))
    '126x70'
    """
    return "x".join(str(max(1, round(side / one)) * one) for side, one in zip(size, step, strict=True))
