"""A matrix from end to end: what is known? -> prepare images -> execute cells -> import into the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hcbench.harness.events import Listener, ignore
from hcbench.harness.settings import Matrix


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a cell or an evaluation stands after a run; `status` is one of `events.STATUSES`."""

    status: str
    reason: str = ""
    cached: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOutcome:
    """How a run ended: cells and evaluations of the matrix by fingerprint."""

    cells: Mapping[str, Outcome] = field(default_factory=dict)
    evaluations: Mapping[str, Outcome] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def ok(self) -> bool:
        """Whether everything that could run is done (skipped is fine)."""
        outcomes = [*self.cells.values(), *self.evaluations.values()]
        return not self.interrupted and all(outcome.status in ("done", "skipped") for outcome in outcomes)


def run_matrix(
    matrix: Matrix,
    *,
    workspace: Path,
    tracking_uri: str | None = None,
    workers: int | None = None,
    fail_fast: bool = False,
    fresh: bool = False,
    log_checkpoints: bool = False,
    listener: Listener = ignore,
) -> RunOutcome:
    """Run what is not yet known of a matrix, and put it into the store.

    Args:
        matrix: Cells and evaluations with their fingerprints.
        workspace: Folder of the store, the caches and the work in progress; made where it does not exist.
        tracking_uri: An MLflow server or store; the workspace's own SQLite where None.
        workers: Cells side by side; None takes as many as there are cores (fewer where memory is short).
        fail_fast: Stop at the first cell that fails.
        fresh: Run everything again, known or not.
        log_checkpoints: Also store checkpoints as MLflow artifacts; they always stay in the workspace.
        listener: Gets the events of the run, in the thread that called.

    Raises:
        CacheError: The workspace cannot be used: not writable, locked, of a newer schema; or the server is down.
    """
    raise NotImplementedError
