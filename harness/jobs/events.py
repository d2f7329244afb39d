"""What a run tells whoever watches it: typed events, each also one JSON line.

A worker writes events to its standard output, the executor reads them back and hands them to the listener; the
command line renders them. Events are for the eye: no result depends on one, and losing one loses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields

STATUSES = ("done", "failed", "diverged", "skipped", "out-of-memory", "interrupted")
"""How a cell or an evaluation can end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStarted:
    """The matrix has been compared with the store; work begins.

    Attributes:
        cells: Cells of the matrix.
        cached_cells: Cells whose checkpoint is already there.
        evaluations: Evaluations of the matrix.
        cached_evaluations: Evaluations whose numbers are already there.
        workers: Processes that will run side by side.
        threads: Threads of each.
    """

    cells: int
    cached_cells: int
    evaluations: int
    cached_evaluations: int
    workers: int
    threads: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparing:
    """A view or a benchmark split is being rendered or decoded into the cache; `done` of `total` images."""

    name: str
    done: int
    total: int
    images_per_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """All images that the cells need lie in the cache."""

    images: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CellStarted:
    """A worker process took up a cell; `resumed` images of `images` were seen before an interruption."""

    cell: str
    title: str
    images: int
    resumed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class CellProgress:
    """A cell moved on.

    Attributes:
        cell: Fingerprint.
        phase: `train`, `features people/test`, `reid` ...
        done: Images (or steps) of this phase that are done.
        total: All of them; 0 where it is not known.
        images_per_s: Current throughput; 0 where it is not known.
        loss: Current loss; None outside training.
    """

    cell: str
    phase: str
    done: int = 0
    total: int = 0
    images_per_s: float = 0.0
    loss: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationFinished:
    """An evaluation ended; `summary` holds its metrics (fractions 0..1) where `status` is done."""

    cell: str
    title: str
    evaluation: str
    benchmark: str
    status: str
    reason: str = ""
    summary: Mapping[str, float] = field(default_factory=dict)
    cached: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class CellFinished:
    """A cell ended, its evaluations included; `log` is the file to read where it did not go well."""

    cell: str
    title: str
    status: str
    reason: str = ""
    seconds: float = 0.0
    cached: bool = False
    log: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """A remark for the user; `level` is info or warning, `cell` a fingerprint or empty."""

    text: str
    level: str = "info"
    cell: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFinished:
    """The run ended: number of cells and evaluations of this matrix by status."""

    cells: Mapping[str, int]
    evaluations: Mapping[str, int]
    seconds: float
    interrupted: bool = False


Event = (
    RunStarted
    | Preparing
    | Prepared
    | CellStarted
    | CellProgress
    | EvaluationFinished
    | CellFinished
    | Note
    | RunFinished
)
Listener = Callable[[Event], None]

_KINDS: dict[str, type[Event]] = {
    "run-started": RunStarted,
    "preparing": Preparing,
    "prepared": Prepared,
    "started": CellStarted,
    "progress": CellProgress,
    "evaluation": EvaluationFinished,
    "finished": CellFinished,
    "note": Note,
    "run-finished": RunFinished,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def ignore(event: Event) -> None:
    """A listener that listens to nothing."""


def to_line(event: Event) -> str:
    """The event as one line of JSON.

    >>> to_line(Note(text="hello"))
    '{"event": "note", "text": "hello", "level": "info", "cell": ""}'
    """
    return json.dumps({"event": _NAMES[type(event)], **asdict(event)})


def from_line(line: str) -> Event | None:
    """Read an event back; None where the line is no event (a library printed something)."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    kind = _KINDS.get(str(record.pop("event", ""))) if isinstance(record, dict) else None
    if kind is None or not set(record) <= {f.name for f in fields(kind)}:
        return None
    return kind(**record)
