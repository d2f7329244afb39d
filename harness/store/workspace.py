"""The workspace: one folder with the store, the caches and the work in progress, used by one run at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hcbench.errors import CacheError

ORPHANS_S = 60.0
"""Seconds to wait for workers whose parent is gone; they save their state and end."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where everything of a workspace lies.

    Attributes:
        root: The folder itself.
    """

    root: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", self.root.expanduser())

    @property
    def cells(self) -> Path:
        """A folder per cell: work in progress, later its checkpoint and log."""
        return self.root / "work"

    @property
    def refused(self) -> Path:
        """Cells and evaluations that the store did not take, each in a folder with the reason; nothing reads them."""
        return self.root / "refused"

    @property
    def cache(self) -> Path:
        """Rendered and decoded pixels; may be deleted at any time that nothing runs."""
        return self.root / "cache"

    @property
    def database(self) -> Path:
        """MLflow's SQLite file."""
        return self.root / "mlflow.db"

    @property
    def tuning(self) -> Path:
        """Optuna's SQLite file: finished trials."""
        return self.root / "tuning.db"

    @property
    def tuned(self) -> Path:
        """The settings that the last search chose."""
        return self.root / "tuned.yaml"

    @property
    def artifacts(self) -> Path:
        """MLflow's artifacts."""
        return self.root / "artifacts"

    def cell(self, fingerprint: str) -> Path:
        """The folder of a cell."""
        return self.cells / fingerprint

    def make(self) -> None:
        """Make the folder, and see that it can be written.

        Raises:
            CacheError: It cannot.
        """
        probe = self.root / f".probe-{os.getpid()}"
        try:
            self.cells.mkdir(parents=True, exist_ok=True)
            self.cache.mkdir(exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise CacheError(
                f"The workspace {self.root} cannot be written: {error.strerror or error}.",
                "Choose another one with --workspace, or mend its permissions.",
            ) from error

    @contextlib.contextmanager
    def lock(self) -> Iterator[int]:
        """Own the workspace; gives the file descriptor that holds the lock.

        Workers inherit the descriptor, so the lock lasts until the last of them has ended, even if their parent was
        killed. The next run then waits for them.

        Raises:
            CacheError: Another run owns it.
        """
        path = self.root / "lock"
        with path.open("a+") as file:
            deadline = time.monotonic() + ORPHANS_S
            while not _try_lock(file.fileno()):
                owner = _owner(path)
                if _alive(owner.get("pid")) or time.monotonic() > deadline:
                    raise CacheError(
                        f"The workspace {self.root} is in use by process {owner.get('pid', '?')} "
                        f"since {owner.get('since', 'some time')}.",
                        "Wait until it has ended, or choose another --workspace.",
                    )
                time.sleep(0.2)
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}))
            file.flush()
            yield file.fileno()


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(path: Path) -> dict[str, object]:
    try:
        owner = json.loads(path.read_text() or "{}")
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _alive(pid: object) -> bool:
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
