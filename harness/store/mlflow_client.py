"""An MLflow client as hcbench uses it: quiet, quick to say that a server is down, with hcbench's experiment in it."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from hcbench.harness.store.database import artifacts_beside

EXPERIMENT = "hcbench"
SCHEMA = 1
"""Version of what is written; a store with a newer one is left alone."""
SCHEMA_TAG = "hcbench.schema"
_RACES = 5
"""Tries to open a database that others may be making at the same time."""


def open_client(address: str, database: Path | None, artifacts: Path) -> tuple[Any, Any]:
    """A client, and the experiment, which is made where there is none yet.

    Args:
        address: Of the store.
        database: The file behind it, where it is one; artifacts then lie beside it.
        artifacts: Where artifacts go otherwise, unless a server knows better.
    """
    from alembic.util.exc import CommandError
    from mlflow.exceptions import MlflowException
    from mlflow.tracking.client import MlflowClient
    from sqlalchemy.exc import SQLAlchemyError

    served = urlparse(address).scheme in ("http", "https", "databricks")
    place = artifacts.resolve() if database is None else artifacts_beside(database.resolve())
    # Of several processes that begin at once with one new database on a server, one makes its tables; the others find
    # them half made. Files are opened one after the other, and a server makes its own.
    tries = 1 if served or database is not None else _RACES
    for left in reversed(range(tries)):
        try:
            client = MlflowClient(address)
            with _impatient():
                experiment = client.get_experiment_by_name(EXPERIMENT)
                return client, experiment or _created(client, None if served else place.as_uri())
        except (CommandError, SQLAlchemyError, MlflowException) as error:
            words = str(error).lower()
            if not left or not ("exist" in words or "duplicate" in words):
                raise
            time.sleep(1.0)
    raise AssertionError("the last try gives or raises")


def _created(client: Any, location: str | None) -> Any:
    """The experiment, made by this process or by another that was faster."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_experiment(EXPERIMENT, artifact_location=location, tags={SCHEMA_TAG: str(SCHEMA)})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return client.get_experiment_by_name(EXPERIMENT)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No telemetry, no migration logs, no advice."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "urllib3")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level if level else logging.ERROR)


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """The first question to a server gets a quick answer or none; MLflow would try for minutes."""
    wanted = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update({name: value for name, value in wanted.items() if before[name] is None})
    try:
        yield
    finally:
        for name in wanted:
            if before[name] is None:
                os.environ.pop(name, None)
