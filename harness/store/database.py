"""SQLite files as stores: their addresses, who opens them first, and where the artifacts beside them lie."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hcbench.errors import CacheError

SQLITE = "sqlite:///"
ARTIFACTS = "artifacts"
"""Folder of artifacts, beside the database."""
_TROUBLESOME = "?%"
"""Characters that SQLAlchemy's versions read differently in the address of a file."""
OPENING_S = 120.0
"""Seconds to wait for others that open the same store."""


def sqlite_address(path: Path) -> str:
    """The address of a database file, whatever its path holds.

    >>> sqlite_address(Path("/runs of mine/mlflow.db"))
    'sqlite:////runs of mine/mlflow.db'
    """
    return f"{SQLITE}{plain_path(path.resolve())}"


def expanded_address(uri: str) -> str:
    """An address as the user wrote it, with `~` as the home folder."""
    head, slashes, path = uri.partition(SQLITE)
    if slashes and not head and path.startswith("~"):
        return f"{SQLITE}{Path(path).expanduser()}"
    return str(Path(uri).expanduser()) if uri.startswith("~") else uri


def database_file(address: str) -> Path | None:
    """The file behind an SQLite address; None for everything else."""
    scheme, found, path = address.partition(":///")
    if not found or scheme.partition("+")[0] != "sqlite" or path in ("", ":memory:") or path.startswith("file:"):
        return None
    return Path(path.partition("?")[0]).absolute()


def plain_path(path: Path) -> Path:
    """The path, or where its folder has a name that no address can hold, the same file through a link."""
    folder = str(path.parent)
    troublesome = any(one in _TROUBLESOME or "\ud800" <= one <= "\udfff" for one in folder)
    return _link(folder) / path.name if troublesome else path


@functools.cache
def _link(folder: str) -> Path:
    """A link to a folder, from a place with a plain name; it lasts as long as this process."""
    room = Path(tempfile.mkdtemp(prefix="hcbench-"))
    if any(one in _TROUBLESOME for one in str(room)):
        room.rmdir()
        room = Path(tempfile.mkdtemp(prefix="hcbench-", dir="/tmp"))
    atexit.register(shutil.rmtree, room, ignore_errors=True)
    link = room / "store"
    link.symlink_to(folder)
    return link


@contextlib.contextmanager
def opening(database: Path | None) -> Iterator[None]:
    """Let one process at a time open a database file: the first makes its tables.

    Raises:
        CacheError: Others take too long.
    """
    if database is None:
        yield
        return
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        file = database.with_name(f".{database.name}.opening").open("a+")
    except OSError:  # a folder that is read alone: there is nothing to make, or opening will say why it cannot
        yield
        return
    with file:
        deadline = time.monotonic() + OPENING_S
        while not _locked(file.fileno()):
            if time.monotonic() > deadline:
                raise CacheError(
                    f"The result store {database} is being opened by another process for {OPENING_S:.0f} s.",
                    "Wait until that has ended, or end it; then run the same command again.",
                )
            time.sleep(0.1)
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: as good as it gets
        return True
    return True


def artifacts_beside(database: Path) -> Path:
    """Where the artifacts of a database's runs belong."""
    return database.parent / ARTIFACTS


def move_artifacts_here(database: Path, experiment: str, *, owned: bool) -> None:
    """Let what the database says of its artifacts be true again after it was moved or copied.

    Absolute places are written into it. New runs would go to the old one, and MLflow's pages would look there.

    Args:
        database: The file.
        experiment: Name of the experiment.
        owned: Whether the artifacts lie beside the database for sure. Elsewhere (stores that an older hcbench made for
            several workspaces) they are only looked for here when the old place is gone.

    Raises:
        sqlite3.Error: It cannot be written: what follows would go to the old place.
    """
    if not database.is_file():
        return
    here = artifacts_beside(database.resolve()).as_uri()
    with contextlib.closing(sqlite3.connect(database, timeout=20)) as link:
        row = link.execute(
            "SELECT experiment_id, artifact_location FROM experiments WHERE name = ?", (experiment,)
        ).fetchone()
        if row is None or row[1] == here or not (owned or _is_gone(row[1])):
            return
        with link:
            link.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (here, row[0]))
            if owned:
                link.execute(
                    "UPDATE runs SET artifact_uri = ? || '/' || run_uuid || '/artifacts' WHERE experiment_id = ?",
                    (here, row[0]),
                )


def _is_gone(location: str | None) -> bool:
    path = local_path(location or "")
    return path is not None and not path.exists()


def local_path(location: str) -> Path | None:
    """The folder of an artifact location on this machine; None for one on a server."""
    from urllib.parse import unquote, urlsplit

    if location.startswith("file:"):
        return Path(unquote(urlsplit(location).path))
    return None if "://" in location or location.startswith("mlflow-artifacts:") else Path(location)
