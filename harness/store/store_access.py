"""Opening a store that must already be there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hcbench.errors import CacheError
from hcbench.harness.store.database import (
    database_file,
    expanded_address,
    move_artifacts_here,
    opening,
    sqlite_address,
)
from hcbench.harness.store.mlflow_client import EXPERIMENT
from hcbench.harness.store.workspace import Workspace

if TYPE_CHECKING:
    from hcbench.harness.store.mlflow_store import Tracker


def store_address(workspace: Path, tracking_uri: str | None = None) -> str:
    """The address of a store for MLflow's own pages, which look for artifacts where the database says that they lie.

    Raises:
        CacheError: There is none yet.
    """
    database = _existing(workspace, tracking_uri)
    if database is not None:
        with opening(database):
            move_artifacts_here(database, EXPERIMENT, owned=tracking_uri is None)
    return sqlite_address(Workspace(workspace).database) if tracking_uri is None else expanded_address(tracking_uri)


def open_store(workspace: Path, tracking_uri: str | None) -> Tracker:
    """The store of results, to read.

    Raises:
        CacheError: There is none yet, it cannot be opened, or a newer hcbench wrote it.
    """
    _existing(workspace, tracking_uri)
    from hcbench.harness.store.mlflow_store import Tracker

    return Tracker(Workspace(workspace), tracking_uri)


def _existing(workspace: Path, tracking_uri: str | None) -> Path | None:
    """The file of a store that is one; raises a CacheError where it is not there: reading must not make it."""
    if tracking_uri is None:
        database: Path | None = Workspace(workspace).database
        what = f"The workspace {workspace} holds no results."
    else:
        database = database_file(expanded_address(tracking_uri))
        what = f"There is no {database}, which --tracking-uri {tracking_uri} names."
    if database is not None and not database.is_file():
        raise CacheError(
            what, "Run something first (`hcbench run --methods ...`), or name another --workspace or --tracking-uri."
        )
    return database
