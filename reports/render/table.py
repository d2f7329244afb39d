"""`Table`: what every renderer takes, and how its numbers are written.

Values stay as measured (fractions, seconds, bytes); a column's `format` says how they are shown:

    percent  0.4567 with interval -> 45.7 ± 1.2        number   3 significant digits
    signed   percentage points with sign: +1.2 ± 0.8   count    12,345
    si       1.2 T                                     seconds  3 m 20 s, 2 h 05 m
    bytes    812 MiB                                   text     as it is
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

PLUS_MINUS = "±"
MISSING = "–"


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column; neighbours of equal `group` share a heading. `facts` are its coordinates in tidy files."""

    title: str
    group: str = ""
    format: str = "percent"
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One value, or a text where there is none.

    Attributes:
        value: The number at full precision; None where `text` stands for it.
        low: Lower end of its interval; None where there is none.
        high: Upper end.
        kind: What the interval covers.
        seeds: Seeds behind the value; 0 where that means nothing.
        text: Shown instead of a value.
        mark: "star" (shown to be the best), "may be best", "second" or "".
        tick: "above", "below" or "open" (neither is shown): the value against all controls; or "".
        hollow: Whether mark and tick rest on a seed spread that was measured elsewhere.
        notes: Marks of footnotes.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    kind: str = ""
    seeds: int = 0
    text: str = ""
    mark: str = ""
    tick: str = ""
    hollow: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRow:
    """A line; neighbours of equal `group` stand under one heading, a `label` stands beside the title of its row."""

    title: str
    cells: tuple[Cell, ...]
    group: str = ""
    label: str = ""
    notes: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table without any looks.

    Attributes:
        name: Short name for files and anchors.
        title: One line above it.
        header: Sentences under the title: kind of intervals, number of seeds, what is marked.
        findings: What the table says, a sentence each; between title and header.
        columns: All but the first one, which holds the titles of the rows.
        rows: In order.
        footnotes: Mark to text, in order of appearance.
        stub: Heading of the first column.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    header: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    footnotes: Mapping[str, str] = field(default_factory=dict)
    stub: str = "method"


class Footnotes:
    """Gathers footnotes of a table; equal texts share a mark: a, b, ... z, aa, ab."""

    def __init__(self) -> None:
        self._marks: dict[str, str] = {}

    def mark(self, text: str) -> str:
        """The mark of this text."""
        if text not in self._marks:
            self._marks[text] = _letters(len(self._marks))
        return self._marks[text]

    @property
    def texts(self) -> dict[str, str]:
        """Mark to text."""
        return {mark: text for text, mark in self._marks.items()}


def _letters(index: int) -> str:
    name = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        name = chr(ord("a") + rest) + name
    return name


def shown(cell: Cell, column: Column) -> str:
    """The cell as plain text, without mark and footnotes.

    >>> shown(Cell(value=0.4567, low=0.4447, high=0.4687), Column(title="mAP"))
    '45.7 ± 1.2'
    >>> shown(Cell(text="failed"), Column(title="mAP"))
    'failed'
    """
    if cell.value is None or math.isnan(cell.value):
        return cell.text or MISSING
    half = None
    if cell.low is not None and cell.high is not None and not math.isnan(cell.high - cell.low):
        half = (cell.high - cell.low) / 2
    if column.format in ("percent", "signed"):
        text = f"{100 * cell.value:+.1f}" if column.format == "signed" else f"{100 * cell.value:.1f}"
        return text if half is None else f"{text} {PLUS_MINUS} {100 * half:.1f}"
    text = _FORMATS[column.format](cell.value)
    return text if half is None else f"{text} {PLUS_MINUS} {_FORMATS[column.format](half)}"


def _si(value: float) -> str:
    for factor, unit in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.3g}"


def _seconds(value: float) -> str:
    if value < 59.95:  # what rounds to 60.0 s is a minute
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} m {seconds:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} m"


def _bytes(value: float) -> str:
    return f"{value / 2**30:.1f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"


_FORMATS: dict[str, Callable[[float], str]] = {
    "number": lambda value: f"{value:.3g}",
    "count": lambda value: f"{value:,.0f}",
    "si": _si,
    "seconds": _seconds,
    "bytes": _bytes,
    "text": str,
}
