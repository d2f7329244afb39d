"""The store of results: MLflow, and the only file that knows it.

A run per cell, and a nested run per evaluation. A run counts when its tag `hcbench.complete` is set, which happens
last; half-written runs are invisible here and replaced when the same thing is written again. There is at most one
complete run of a kind and fingerprint.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from hcbench.errors import CacheError
from hcbench.harness.store.workspace import Workspace

EXPERIMENT = "hcbench"
SCHEMA = 1
"""Version of what is written; a store with a newer one is left alone."""
CELL, EVALUATION = "cell", "evaluation"

_PREFIX = "hcbench."
_SCHEMA, _COMPLETE, _KIND, _FINGERPRINT = (_PREFIX + name for name in ("schema", "complete", "kind", "fingerprint"))
_PARENT = "mlflow.parentRunId"
_PAGE, _METRICS, _PARAMS = 1000, 1000, 100
_LONGEST = {"param": 5900, "tag": 4900}
_ENDS = {"done": "FINISHED", "interrupted": "KILLED"}


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRun:
    """One run as it is written or was read.

    Attributes:
        kind: CELL or EVALUATION.
        fingerprint: Unique within the kind.
        name: What the UI shows.
        params: Settings.
        metrics: Numbers; NaN is legal.
        tags: Facts that are no settings; `status` and `reason` among them.
        series: Stepped metrics as (name, value, step).
        artifacts: Files and folders to copy; empty when read.
        parent: Run id of the cell, for evaluations.
        run: Run id, when read.
        created: Seconds since 1970, when read.
        location: Where the artifacts lie, when read.
    """

    kind: str
    fingerprint: str
    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    series: Sequence[tuple[str, float, int]] = ()
    artifacts: Sequence[Path] = ()
    parent: str = ""
    run: str = ""
    created: float = 0.0
    location: str = ""

    @property
    def status(self) -> str:
        """How it ended (`events.STATUSES`)."""
        return self.tags.get("status", "")


@dataclass
class Tracker:
    """An open store.

    Args:
        workspace: Holds the store unless `uri` names another.
        uri: An MLflow tracking URI; None is the workspace's own SQLite.

    Raises:
        CacheError: It cannot be opened, or is of a newer schema.
    """

    workspace: Workspace
    uri: str | None = None
    _client: Any = field(init=False, repr=False)
    _experiment: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        own = self.uri is None
        address = self.uri or f"sqlite:///{self.workspace.database.resolve()}"
        with _quiet(), _told(f"The result store {address} cannot be opened", own):
            from mlflow.tracking.client import MlflowClient

            self._client = MlflowClient(address)
            with _impatient():
                experiment = self._client.get_experiment_by_name(EXPERIMENT)
                if experiment is None:
                    # A server knows where artifacts belong; a bare database does not.
                    served = urlparse(address).scheme in ("http", "https", "databricks")
                    location = None if served else self.workspace.artifacts.resolve().as_uri()
                    self._experiment = self._client.create_experiment(
                        EXPERIMENT, artifact_location=location, tags={_SCHEMA: str(SCHEMA)}
                    )
                    return
        self._experiment = experiment.experiment_id
        found = int(experiment.tags.get(_SCHEMA, SCHEMA))
        if found > SCHEMA:
            raise CacheError(
                f"The results in {address} are of schema {found}; this hcbench knows schema {SCHEMA}.",
                "Install a newer hcbench, or choose another --workspace.",
            )
        if experiment.lifecycle_stage != "active":
            raise CacheError(
                f"The experiment {EXPERIMENT!r} in {address} has been deleted.",
                "Restore it in the MLflow UI (or with `mlflow experiments restore`), or choose another --workspace.",
            )

    def records(self, kind: str, fingerprint: str | None = None) -> list[StoredRun]:
        """All complete runs of a kind, oldest first."""
        chosen = f"tags.`{_KIND}` = '{kind}' and tags.`{_COMPLETE}` = 'true'"
        return [_read(run) for run in self._search(chosen, fingerprint)]

    def write(self, record: StoredRun) -> str:
        """Write a run and give its id; older runs of the same kind and fingerprint, whole or half, are replaced."""
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        old = self._search(f"tags.`{_KIND}` = '{record.kind}'", record.fingerprint)
        tags = {_KIND: record.kind, _FINGERPRINT: record.fingerprint, _SCHEMA: str(SCHEMA)}
        if record.parent:
            tags[_PARENT] = record.parent
        with _quiet(), _told("The result store cannot be written"):
            # The run lasts as long as the work took, not as long as writing it down.
            begun = now - round(1000 * float(record.tags.get("seconds") or 0))
            run = self._client.create_run(self._experiment, begun, tags, record.name).info.run_id
            metrics = [Metric(name, value, now, 0) for name, value in record.metrics.items()]
            metrics += [Metric(name, value, now, step) for name, value, step in record.series]
            params = [Param(name, _short(value, "param")) for name, value in record.params.items()]
            facts = [RunTag(_PREFIX + name, _short(value, "tag")) for name, value in record.tags.items()]
            for start in range(0, len(metrics), _METRICS):
                self._client.log_batch(run, metrics=metrics[start : start + _METRICS])
            for start in range(0, max(len(params), len(facts)), _PARAMS):
                part = slice(start, start + _PARAMS)
                self._client.log_batch(run, params=params[part], tags=facts[part])
            for path in record.artifacts:
                if path.is_dir():
                    self._client.log_artifacts(run, str(path), path.name)
                else:
                    self._client.log_artifact(run, str(path))
            self._client.set_terminated(run, _ENDS.get(record.status, "FAILED"))
            self._client.set_tag(run, _COMPLETE, "true")
            for older in old:
                self._adopt(older.info.run_id, run)
                self._client.delete_run(older.info.run_id)
        return str(run)

    def add_metrics(self, run: str, metrics: Mapping[str, float]) -> None:
        """Add numbers to a run (the default evaluation's, on its cell)."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with _quiet(), _told("The result store cannot be written"):
            self._client.log_batch(run, metrics=[Metric(name, value, now, 0) for name, value in metrics.items()])

    def set_tags(self, run: str, tags: Mapping[str, str]) -> None:
        """Say something of a stored run anew."""
        with _quiet(), _told("The result store cannot be written"):
            for name, value in tags.items():
                self._client.set_tag(run, _PREFIX + name, _short(value, "tag"))

    def artifact(self, record: StoredRun, name: str) -> Path | None:
        """A file or folder of a run on this machine, fetched if it lies on a server; None where there is none."""
        if record.location.startswith("file://") or "://" not in record.location:
            path = Path(unquote(urlparse(record.location).path)) / name
            return path if path.exists() else None
        with _quiet(), _told("The result store cannot be read"):
            if not any(item.path == name for item in self._client.list_artifacts(record.run)):
                return None
            return Path(self._client.download_artifacts(record.run, name))

    def _adopt(self, old: str, new: str) -> None:
        """Hang evaluations below the new run of their cell."""
        for child in self._search(f"tags.`{_PARENT}` = '{old}'"):
            self._client.set_tag(child.info.run_id, _PARENT, new)

    def _search(self, chosen: str, fingerprint: str | None = None) -> list[Any]:
        if fingerprint is not None:
            chosen += f" and tags.`{_FINGERPRINT}` = '{fingerprint}'"
        runs: list[Any] = []
        token = None
        with _quiet(), _told("The result store cannot be read"):
            while True:
                page = self._client.search_runs(
                    [self._experiment],
                    chosen,
                    max_results=_PAGE,
                    order_by=["attributes.start_time ASC"],
                    page_token=token,
                )
                runs += page
                token = page.token
                if not token:
                    return runs


def _read(run: Any) -> StoredRun:
    tags = {name.removeprefix(_PREFIX): value for name, value in run.data.tags.items() if name.startswith(_PREFIX)}
    return StoredRun(
        kind=tags["kind"],
        fingerprint=tags["fingerprint"],
        name=run.info.run_name or "",
        params=run.data.params,
        metrics=run.data.metrics,
        tags=tags,
        parent=run.data.tags.get(_PARENT, ""),
        run=run.info.run_id,
        created=run.info.start_time / 1000,
        location=run.info.artifact_uri,
    )


def _short(value: Any, kind: str) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST[kind] else text[: _LONGEST[kind] - 3] + "..."


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
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


@contextlib.contextmanager
def _told(what: str, own: bool = False) -> Iterator[None]:
    """MLflow's and the database's errors in words for the user."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        hint = (
            "Check the permissions of the workspace, or choose another one with --workspace."
            if own
            else "Check that the server of --tracking-uri runs and can be reached."
        )
        raise CacheError(f"{what}: {reason}", hint) from error
