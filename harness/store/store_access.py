"""Opening a store that must already be there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hcbench.errors import CacheError
from hcbench.harness.store.database import sqlite_address
from hcbench.harness.store.workspace import Workspace

if TYPE_CHECKING:
    from hcbench.harness.store.mlflow_store import Tracker


def store_address(workspace: Path) -> str:
    """The MLflow address of a workspace's own store.

    Raises:
        CacheError: There is none yet.
    """
    place = Workspace(workspace)
    if not place.database.is_file():
        raise CacheError(
            f"The workspace {workspace} holds no results.",
            "Run something first (`hcbench run --methods ...`), or name another folder with --workspace.",
        )
    return sqlite_address(place.database)


def open_store(workspace: Path, tracking_uri: str | None) -> Tracker:
    """The store of results, to read.

    Raises:
        CacheError: There is none yet, it cannot be opened, or a newer hcbench wrote it.
    """
    if tracking_uri is None:
        store_address(workspace)
    from hcbench.harness.store.mlflow_store import Tracker

    return Tracker(Workspace(workspace), tracking_uri)
