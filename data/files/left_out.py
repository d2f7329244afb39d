"""What a listing leaves out, by reason: counted, the first few named, and said in words."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hcbench.data.files.names import ADVICE, some
from hcbench.errors import DataError

_NAMED = 5
_ENDINGS_TOLD = 8

SYSTEM = "system"
"""Files and folders that operating systems and archivers leave."""
HIDDEN = "hidden"
"""Other names that begin with a dot."""
ENDING = "ending"
"""Files that do not end as what is looked for."""
AGAIN = "again"
"""Links to folders that are listed already, or that the listed one lies in."""
NOWHERE = "nowhere"
"""Links whose target is not there."""
CLOSED = "closed"
"""Folders and links that may not be looked into."""
NO_FILE = "no file"
"""Sockets, pipes and devices."""
ENCODING = "encoding"
"""Images whose names are not in UTF-8."""

_NOTES: dict[str, Callable[[int, str], str]] = {
    SYSTEM: lambda count, names: f"{count} files of operating systems (._*, .DS_Store ...) were left out",
    HIDDEN: lambda count, names: f"{count} hidden files or folders were left out: {names}",
    AGAIN: lambda count, names: (
        f"{count} links lead to a folder above or to one that is listed already, and were not entered: {names}"
    ),
    NO_FILE: lambda count, names: f"{count} sockets, pipes or devices were left out: {names}",
}
_PROBLEMS: dict[str, Callable[[int, str], str]] = {
    NOWHERE: lambda count, names: f"{count} links lead nowhere: {names}",
    CLOSED: lambda count, names: f"{count} folders or links may not be read (permissions): {names}",
    ENCODING: lambda count, names: f"{count} names of images are not in UTF-8: {names}. {ADVICE}",
}


@dataclass(slots=True)
class LeftOut:
    """What was left out.

    Attributes:
        counts: How many, by reason.
        names: The first few names of each reason.
        endings: How many files of each ending, lower case, "" for none; their sum is the count of `ENDING`.
    """

    counts: Counter[str] = field(default_factory=Counter)
    names: dict[str, list[str]] = field(default_factory=dict)
    endings: Counter[str] = field(default_factory=Counter)

    def add(self, reason: str, name: str) -> None:
        """Count one more."""
        self.counts[reason] += 1
        kept = self.names.setdefault(reason, [])
        if len(kept) < _NAMED or name < kept[-1]:  # the first in order, in whatever order a file system lists them
            insort(kept, name)
            del kept[_NAMED:]
        if reason == ENDING:
            stem, dot, ending = name.rpartition("/")[2].rpartition(".")
            self.endings[f".{ending.lower()}" if stem and dot else ""] += 1

    def __add__(self, other: LeftOut) -> LeftOut:
        """Both together."""
        return LeftOut(
            counts=self.counts + other.counts,
            names={
                reason: sorted([*self.names.get(reason, []), *other.names.get(reason, [])])[:_NAMED]
                for reason in {**self.names, **other.names}
            },
            endings=self.endings + other.endings,
        )

    def notes(self, *, endings: bool = True) -> list[str]:
        """Sentences on what is as it should be; `endings` = whether files of other endings are told of."""
        told = self._told(_NOTES)
        return [*told, *self._endings()] if endings else told

    def problems(self) -> list[str]:
        """Sentences on what the owner must look at."""
        return self._told(_PROBLEMS)

    def remarks(self) -> list[str]:
        """What the log of a run says: problems, and files that are not taken for their endings."""
        return [*self.problems(), *self._endings(), *self._told({AGAIN: _NOTES[AGAIN], NO_FILE: _NOTES[NO_FILE]})]

    def refuse_names(self, where: object) -> None:
        """Refuse images whose names no table of results could hold.

        Raises:
            DataError: There are such names.
        """
        if count := self.counts[ENCODING]:
            names = some(self.names[ENCODING], count)
            raise DataError(f"{count} names of images in {where} are not in UTF-8: {names}.", ADVICE)

    def plain(self) -> dict[str, Any]:
        """As json holds it; `of_plain` reads it."""
        return {"counts": dict(self.counts), "names": self.names, "endings": dict(self.endings)}

    @classmethod
    def of_plain(cls, content: dict[str, Any]) -> LeftOut:
        """What `plain` gave."""
        return cls(Counter(content["counts"]), dict(content["names"]), Counter(content["endings"]))

    def _told(self, sentences: dict[str, Callable[[int, str], str]]) -> list[str]:
        return [
            sentence(self.counts[reason], some(self.names[reason], self.counts[reason]))
            for reason, sentence in sentences.items()
            if self.counts[reason]
        ]

    def _endings(self) -> list[str]:
        if not self.endings:
            return []
        told = [f"{count} {ending or 'without an ending'}" for ending, count in _by_count(self.endings)[:_ENDINGS_TOLD]]
        more = len(self.endings) - len(told)
        told += [f"{more} endings more"] if more else []
        return [f"{self.counts[ENDING]} files are not taken for their endings: {', '.join(told)}"]


def _by_count(endings: Counter[str]) -> list[tuple[str, int]]:
    return sorted(endings.items(), key=lambda item: (-item[1], item[0] or "~"))  # those without one come last
