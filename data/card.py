"""`DatasetCard` and `VerifyReport`: the facts of a real dataset, and how a copy on disk compares with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hcbench.data.overlaps import sisters

Level = Literal["exact", "subset", "mismatch"]
Counts = Mapping[str, Mapping[str, int]]
"""Split to what is counted to how many: `{"val2017": {"images": 5000}}`."""

TOTAL = "all splits"
"""What counts of all splits together stand under."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetCard:
    """Facts of one real dataset; nothing here is read from disk and nothing is ever downloaded.

    Attributes:
        name: Registry and CLI name (`--data name=ROOT`).
        title: Name as the field writes it.
        homepage: Where its owners describe it.
        terms: Under which terms images and labels may be used.
        obtain: How to get it, one step per line.
        tree: The expected folders and files below the root, as `hcbench data explain` prints them.
        counts: Official size of every split.
        total: Official size of all splits together, where more is known of it than of each.
        unverified: Keys inside `counts` that were not checked against the files, of every split ("captions") or of
            one ("train captions"): a difference there is a note, a difference elsewhere counts.
        split_rule: What the splits mean where the field takes them in several ways; empty elsewhere.
        fields: Fields of `Samples` that `load` fills.
    """

    name: str
    title: str
    homepage: str
    terms: str
    obtain: str
    tree: str
    counts: Counts
    fields: frozenset[str]
    total: Mapping[str, int] = field(default_factory=dict)
    unverified: frozenset[str] = frozenset()
    split_rule: str = ""

    @property
    def official(self) -> Counts:
        """All official sizes: of every split, and of `TOTAL` where it is known."""
        return {**self.counts, TOTAL: self.total} if self.total else self.counts

    @property
    def sister_sets(self) -> Mapping[str, str]:
        """Data sets that share images or persons with this one, and how: what `data/overlaps.py` knows."""
        return sisters(self.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyReport:
    """What `verify` found in a folder.

    Attributes:
        dataset: Name of the card.
        root: The folder that was looked at.
        level: `exact` = the official counts; `subset` = every file is valid, but there are fewer of them;
            `mismatch` = something is missing, damaged or more than there should be.
        layout: Which of the accepted folder layouts was recognised; empty where none was.
        found: Counts per split.
        expected: The card's counts of the same splits.
        problems: What makes it a mismatch, one sentence each.
        notes: What is worth knowing but wrong in no way.
    """

    dataset: str
    root: Path
    level: Level
    layout: str
    found: Counts
    expected: Counts
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """The report as plain lines: verdict, counts as found/expected, problems, notes."""
        lines = [f"{self.dataset} at {self.root}: {self.level}" + (f" ({self.layout})" if self.layout else "")]
        for split, counts in self.found.items():
            expected = self.expected.get(split, {})
            found_counts = (f"{what} {count:,}/{expected[what]:,}" if what in expected else f"{what} {count:,}"
                    for what, count in counts.items())  # fmt: skip
            lines.append(f"  {split}: {', '.join(found_counts)}")
        lines += [f"  problem: {problem}" for problem in self.problems]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines).encode("utf-8", "backslashreplace").decode()  # a root's name may be in another encoding


def compare(card: DatasetCard, found: Counts) -> tuple[Level, list[str], list[str]]:
    """Hold counts against the card's.

    Args:
        card: The card with the official counts.
        found: Counts per split, of any of the card's splits, and of `TOTAL` where the card has one.

    Returns:
        The level that the counts alone justify, problems (more than there should be) and notes (fewer than
        there should be; in a full copy, differences from unverified counts).
    """
    problems: list[str] = []
    doubtful: list[str] = []
    fewer = set(card.official) != set(found)
    for split, counts in found.items():
        for what, official in card.official.get(split, {}).items():
            count = counts.get(what, 0)
            if what in card.unverified or f"{split} {what}" in card.unverified:
                if count != official:
                    doubtful.append(f"{split}: {count:,} {what}, {official:,} reported elsewhere (not verified)")
            elif count > official:
                problems.append(f"{split}: {count:,} {what}, more than the official {official:,}")
            else:
                fewer = fewer or count < official
    if problems:
        return "mismatch", problems, doubtful
    if fewer:
        return "subset", [], ["smaller than the official release: results are not comparable with published ones"]
    return "exact", [], doubtful
