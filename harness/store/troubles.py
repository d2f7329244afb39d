"""What can go wrong with a database or a server, in words: for each trouble one sentence and the one hint that fits."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from hcbench.errors import CacheError

_TAKE = "Take another one with --workspace (or --tracking-uri)"
_PLACE = "a copy of it, or another --workspace (or --tracking-uri)"


class RefusedError(CacheError):
    """One thing cannot be stored as it is; the store itself is sound, and takes others."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A kind of trouble.

    Attributes:
        name: Short.
        signs: Words of the error's text, in small letters, of which one must occur.
        what: What it means; empty where the error's own words say it.
        hint: What to do next.
    """

    name: str
    signs: tuple[str, ...]
    what: str
    hint: str


NEWER = Trouble(
    "newer schema", ("can't locate revision",), "a newer MLflow wrote it than the one that is installed",
    "Install that MLflow (pip install --upgrade mlflow), or choose another --workspace (or --tracking-uri).",
)  # fmt: skip
OLDER = Trouble(
    "older schema", ("out-of-date database schema",), "an older MLflow wrote it",
    "Copy the file, then bring it up to date: mlflow db upgrade '{address}'",
)  # fmt: skip
LOCKED = Trouble(
    "locked", ("database is locked", "database table is locked", "lock timeout"), "another program is writing to it",
    "Wait until that has ended and run the same command again: finished cells wait in the workspace and are not lost.",
)  # fmt: skip
NO_DATABASE = Trouble(
    "not a database", ("file is not a database", "file is encrypted"), "the file is not a database",
    f"Move the file away, or name {_PLACE}.",
)  # fmt: skip
DAMAGED = Trouble(
    "truncated", ("malformed", "database corruption", "disk i/o error"), "the file is cut short or damaged",
    f"Put back {_PLACE}. What can be read of it: sqlite3 FILE .recover",
)  # fmt: skip
FULL = Trouble(
    "disk full", ("database or disk is full", "no space left on device", "quota exceeded"), "the disk is full",
    "Make room and run the same command again: finished cells wait in the workspace and are not lost.",
)  # fmt: skip
FORBIDDEN = Trouble(
    "permission",
    ("readonly database", "read-only file system", "permission denied", "unable to open database file",
     "access denied", "operation not permitted", "authentication failed"),
    "", f"See that you may read and write it. {_TAKE} otherwise.",
)  # fmt: skip
UNREACHABLE = Trouble(
    "not reachable",
    ("api request to", "connection refused", "max retries exceeded", "could not connect", "can't connect",
     "connection to server", "timed out", "name or service not known", "could not translate host name"),
    "", "Check that the server of --tracking-uri runs and can be reached.",
)  # fmt: skip
ADDRESS = Trouble(
    "address",
    ("could not parse sqlalchemy url", "model registry functionality is unavailable", "can't load plugin",
     "unsupported uri", "invalid database", "no module named", "invalid uri", "unregistered", "tracking uri"),
    "", "Write --tracking-uri as http://HOST:PORT or sqlite:////whole/path/of/file.db; others need their own driver.",
)  # fmt: skip
TROUBLES = (NEWER, OLDER, LOCKED, NO_DATABASE, DAMAGED, FULL, FORBIDDEN, UNREACHABLE, ADDRESS)
"""The first whose signs are found counts."""

_NUMBERS = {
    errno.ENOSPC: FULL, errno.EDQUOT: FULL, errno.EACCES: FORBIDDEN, errno.EPERM: FORBIDDEN, errno.EROFS: FORBIDDEN,
    errno.ECONNREFUSED: UNREACHABLE, errno.ETIMEDOUT: UNREACHABLE, errno.EHOSTUNREACH: UNREACHABLE,
}  # fmt: skip


def trouble_of(error: BaseException) -> Trouble | None:
    """The kind of trouble that an error, or one that it comes from, tells of; None where it is none of them."""
    chain: BaseException | None = error
    texts: list[str] = []
    while chain is not None and len(texts) < 10:
        if isinstance(chain, OSError) and chain.errno in _NUMBERS:
            return _NUMBERS[chain.errno]
        texts.append(str(chain).lower())
        chain = chain.__cause__ or chain.__context__
    text = "\n".join(texts)
    found = next((one for one in TROUBLES if any(sign in text for sign in one.signs)), None)
    return NEWER if found is OLDER and not _known_revision(text) else found


@contextlib.contextmanager
def told(what: str, address: str = "", *, writing: str = "") -> Iterator[None]:
    """Turn errors of MLflow, of the database and of the system into words.

    Args:
        what: What was tried.
        address: Of the store, for the hint.
        writing: What is being written, in words; a store that refuses it as it is refuses no other.

    Raises:
        RefusedError: The thing that is written cannot be stored as it is.
        CacheError: The store cannot be used.
    """
    from alembic.util.exc import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, CommandError, sqlite3.Error, OSError, ImportError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        reason = reason.removesuffix(".")
        trouble = trouble_of(error)
        if trouble is None and writing:
            invalid = isinstance(error, MlflowException) and error.error_code == "INVALID_PARAMETER_VALUE"
            if invalid or isinstance(error, DataError | IntegrityError):
                raise RefusedError(f"{writing} cannot be stored: {reason}.") from error
        meaning = f"{trouble.what} ({reason})" if trouble and trouble.what else reason
        hint = trouble.hint if trouble else f"{_TAKE}, or see what --debug shows."
        raise CacheError(f"{what}: {meaning}.", hint.replace("{address}", address)) from error


def _known_revision(text: str) -> bool:
    """Whether the revision that MLflow has found in a database is one that it knows: then it is an older one."""
    from pathlib import Path

    import mlflow.store.db_migrations

    found = text.partition("found version ")[2].partition(",")[0].strip()
    folder = Path(str(mlflow.store.db_migrations.__file__)).parent / "versions"
    return any(path.name.startswith(f"{found}_") for path in folder.glob("*.py")) if found else True
