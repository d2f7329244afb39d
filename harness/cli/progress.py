"""What a run shows while it runs: a live table in a terminal, plain log lines elsewhere; driven by events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hcbench.harness.jobs import events
from hcbench.harness.jobs.events import Event, Listener
from hcbench.harness.planning.cell import Cell, Matrix

STYLES = {
    "done": "green", "cached": "cyan", "skipped": "yellow", "failed": "bold red", "diverged": "bold red",
    "out-of-memory": "bold red", "interrupted": "yellow", "waiting": "dim",
}  # fmt: skip
_LOG_EVERY_S = 15.0
_BAD = ("failed", "diverged", "out-of-memory")


def clock(seconds: float) -> str:
    """A duration for people.

    >>> clock(59), clock(61), clock(7300)
    ('59 s', '1 min 01 s', '2 h 01 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@contextmanager
def watching(matrix: Matrix, console: Console) -> Iterator[Listener]:
    """A listener that shows the run on `console`: live where it is a terminal, else as lines."""
    if console.is_terminal:
        board = Board(matrix)
        with Live(console=console, refresh_per_second=4, get_renderable=board.render):
            yield board.hear
    else:
        yield Lines(lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)).hear


@dataclass
class _Row:
    """One cell as the board shows it."""

    cell: Cell
    state: str = "waiting"
    phase: str = ""
    done: int = 0
    total: int = 0
    images_per_s: float = 0.0
    loss: float | None = None
    seconds: float = 0.0
    reason: str = ""
    scores: dict[str, str] = field(default_factory=dict)

    @property
    def seconds_left(self) -> float | None:
        """Time to the end of the phase, where it is known."""
        if self.images_per_s <= 0 or self.total <= 0:
            return None
        return max(0.0, (self.total - self.done) / self.images_per_s)


class Board:
    """The state of all cells, and its picture.

    Args:
        matrix: The cells to show, in order.
        max_rows: Rows shown at most; running and failed cells are always among them.
    """

    def __init__(self, matrix: Matrix, max_rows: int = 24) -> None:
        self.rows = {cell.fingerprint: _Row(cell) for cell in matrix.cells}
        self.max_rows = max_rows
        self.notes: list[events.Note] = []
        self.header = ""
        self.preparing: events.Preparing | None = None

    def hear(self, event: Event) -> None:
        """Take an event in."""
        match event:
            case events.RunStarted():
                self.header = started_text(event)
            case events.Preparing():
                self.preparing = event
            case events.Prepared():
                self.preparing = None
            case events.Note():
                self.notes = [*self.notes[-4:], event]
            case events.CellStarted() | events.CellProgress() | events.CellFinished() | events.EvaluationFinished():
                row = self.rows.get(event.cell)
                if row is not None:
                    _update(row, event)
            case events.RunFinished():
                self.preparing = None

    def render(self) -> RenderableType:
        """The picture of now."""
        parts: list[RenderableType] = [Text(self.header, style="bold")] if self.header else []
        if self.preparing is not None:
            parts.append(_preparing(self.preparing))
        parts.append(self._table())
        parts += [Text(note.text, style="yellow" if note.level == "warning" else "dim") for note in self.notes]
        return Group(*parts)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("method", "budget", "seed"):
            table.add_column(name, no_wrap=True)
        table.add_column("phase", no_wrap=True, min_width=16)
        table.add_column("", width=20)
        for name in ("images/s", "loss", "left"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("", overflow="ellipsis", no_wrap=True)
        shown = self._shown()
        for row in shown:
            table.add_row(*_columns(row))
        hidden = len(self.rows) - len(shown)
        if hidden:
            table.add_row(Text(f"... and {hidden} more", style="dim"))
        return table

    def _shown(self) -> list[_Row]:
        """At most `max_rows` rows in the order of the matrix; what runs or failed is always among them."""
        rows = list(self.rows.values())
        rank = {"running": 0, **dict.fromkeys(_BAD, 1), "waiting": 2}
        kept = sorted(range(len(rows)), key=lambda index: (rank.get(rows[index].state, 3), index))[: self.max_rows]
        return [rows[index] for index in sorted(kept)]


class Lines:
    """A log line for everything that a reader of a file wants to know, at most one per cell and quarter minute.

    Args:
        write: Takes each line.
        now: A clock in seconds.
    """

    def __init__(self, write: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        self._write, self._now = write, now
        self._titles: dict[str, str] = {}
        self._told: dict[str, tuple[float, str]] = {}

    def hear(self, event: Event) -> None:
        """Take an event in; it may become a line."""
        text = self._text(event)
        if text:
            self._write(f"{time.strftime('%H:%M:%S')} {text}")

    def _text(self, event: Event) -> str:
        match event:
            case events.RunStarted():
                return started_text(event)
            case events.Preparing():
                share = f"{event.done:,} of {event.total:,} images"
                return (
                    f"preparing {event.name}: {share}" if self._due(event.name, "", event.done >= event.total) else ""
                )
            case events.Prepared():
                return f"{event.images:,} images are ready ({clock(event.seconds)})"
            case events.CellStarted():
                self._titles[event.cell] = event.title
                resumed = f", {event.resumed:,} of them before" if event.resumed else ""
                return f"{event.title}: started ({event.images:,} images{resumed})"
            case events.CellProgress():
                return self._progress(event)
            case events.EvaluationFinished():
                return f"{event.title}: {event.benchmark} {outcome_text(event.status, event.reason, event.cached)}"
            case events.CellFinished():
                outcome = outcome_text(event.status, event.reason, event.cached)
                seconds = f" after {clock(event.seconds)}" if event.seconds else ""
                log = f"; log: {event.log}" if event.log and event.status in _BAD else ""
                return f"{event.title}: {outcome}{seconds}{log}"
            case events.Note():
                return f"{'warning: ' if event.level == 'warning' else ''}{event.text}"
            case events.RunFinished():
                return f"finished after {clock(event.seconds)}"

    def _progress(self, event: events.CellProgress) -> str:
        if not self._due(event.cell, event.phase, False):
            return ""
        parts = [f"{self._titles.get(event.cell, event.cell)}: {event.phase}"]
        if event.total:
            parts.append(f"{event.done:,}/{event.total:,}")
        if event.images_per_s:
            parts.append(f"{event.images_per_s:,.0f} images/s")
            if event.total:
                parts.append(f"{clock(max(0, event.total - event.done) / event.images_per_s)} left")
        if event.loss is not None:
            parts.append(f"loss {event.loss:.4g}")
        return " ".join(parts)

    def _due(self, key: str, phase: str, last: bool) -> bool:
        """Whether it is time for a line again: a new phase, the end, or long enough ago."""
        now = self._now()
        told, old = self._told.get(key, (float("-inf"), phase))
        if not last and old == phase and now - told < _LOG_EVERY_S:
            return False
        self._told[key] = (now, phase)
        return True


def started_text(event: events.RunStarted) -> str:
    """The first line of a run."""
    return (
        f"{event.cells} cells ({event.cached_cells} cached), {event.evaluations} evaluations "
        f"({event.cached_evaluations} cached); {event.workers} workers x {event.threads} threads"
    )


def outcome_text(status: str, reason: str, cached: bool) -> str:
    """How something ended, in words."""
    word = "cached" if cached and status == "done" else status
    return f"{word}: {reason}" if reason else word


def _update(
    row: _Row, event: events.CellStarted | events.CellProgress | events.CellFinished | events.EvaluationFinished
) -> None:
    match event:
        case events.CellStarted():
            row.state, row.phase, row.done, row.total = "running", "starting", event.resumed, event.images
        case events.CellProgress():
            row.state, row.phase, row.done, row.total = "running", event.phase, event.done, event.total
            row.images_per_s = event.images_per_s
            row.loss = event.loss if event.loss is not None else row.loss
        case events.EvaluationFinished():
            row.scores[event.benchmark] = event.status
        case events.CellFinished():
            row.state = "cached" if event.cached and event.status == "done" else event.status
            row.seconds, row.reason = event.seconds, event.reason


def _columns(row: _Row) -> list[RenderableType]:
    cell = row.cell
    names = [cell.method, cell.budget, str(cell.seed)]
    if row.state != "running":
        style = STYLES.get(row.state, "")
        told = row.reason or (clock(row.seconds) if row.seconds else "")
        return [*names, Text(row.state, style=style), "", "", "", "", Text(told, style="dim")]
    bar: RenderableType = ProgressBar(total=row.total, completed=row.done, width=20) if row.total else ""
    left = row.seconds_left
    return [
        *names,
        row.phase,
        bar,
        f"{row.images_per_s:,.0f}" if row.images_per_s else "",
        f"{row.loss:.4g}" if row.loss is not None else "",
        clock(left) if left is not None else "",
        Text(" ".join(row.scores), style="dim"),
    ]


def _preparing(event: events.Preparing) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    speed = f"{event.images_per_s:,.0f} images/s" if event.images_per_s else ""
    bar = ProgressBar(total=max(1, event.total), completed=event.done, width=30)
    grid.add_row(f"preparing {event.name}", bar, f"{event.done:,}/{event.total:,}", speed)
    return grid
