"""The store of results: MLflow, and beside `troubles.py` (its errors) the only file that knows it.

A run per cell, and a nested run per evaluation. A run counts when its tag `hcbench.complete` is set, which happens
last; half-written runs are invisible here and replaced when the same thing is written again. There is at most one
complete run of a kind and fingerprint. Whatever names, numbers and lengths a record has, what is read is what was
written: `names.py` and `long_facts.py` see to that.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hcbench.errors import CacheError
from hcbench.harness.jobs.atomic_files import read_json, write_json
from hcbench.harness.store import database as files
from hcbench.harness.store import long_facts
from hcbench.harness.store.mlflow_client import EXPERIMENT, SCHEMA, SCHEMA_TAG, open_client, quiet
from hcbench.harness.store.names import real_name, shortened_names, stored_names
from hcbench.harness.store.stored_run import CELL as CELL
from hcbench.harness.store.stored_run import EVALUATION as EVALUATION
from hcbench.harness.store.stored_run import FILES, as_written, had, number
from hcbench.harness.store.stored_run import StoredRun as StoredRun
from hcbench.harness.store.troubles import told
from hcbench.harness.store.workspace import Workspace

_PREFIX = "hcbench."
_COMPLETE, _KIND, _FINGERPRINT = (_PREFIX + name for name in ("complete", "kind", "fingerprint"))
_FACTS = "facts"
"""Tag: some of the run's facts are whole only in a file of it."""
_PARENT = "mlflow.parentRunId"
_PAGE, _METRICS, _PARAMS, _TITLE = 1000, 1000, 50, 250
_ENDS = {"done": "FINISHED", "interrupted": "KILLED"}


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
    _address: str = field(init=False, repr=False)
    _database: Path | None = field(init=False, repr=False)
    _settled: bool = field(init=False, repr=False, default=False)

    def __post_init__(self) -> None:
        own = files.sqlite_address(self.workspace.database)
        self._address = own if self.uri is None else files.expanded_address(self.uri)
        self._database = files.database_file(self._address)
        shown = str(self.workspace.database) if self.uri is None else self._address
        with quiet(), told(f"The result store {shown} cannot be opened", shown), files.opening(self._database):
            self._client, experiment = open_client(self._address, self._database, self.workspace.artifacts)
        self._experiment = experiment.experiment_id
        found = int(experiment.tags.get(SCHEMA_TAG, SCHEMA))
        if found > SCHEMA:
            raise CacheError(
                f"The results in {shown} are of schema {found}; this hcbench knows schema {SCHEMA}.",
                "Install a newer hcbench, or choose another --workspace.",
            )
        if experiment.lifecycle_stage != "active":
            raise CacheError(
                f"The experiment {EXPERIMENT!r} in {shown} has been deleted.",
                "Restore it in the MLflow UI (or with `mlflow experiments restore`), or choose another --workspace.",
            )

    def records(self, kind: str, fingerprint: str | None = None) -> list[StoredRun]:
        """All complete runs of a kind, oldest first."""
        chosen = f"tags.`{_KIND}` = '{kind}' and tags.`{_COMPLETE}` = 'true'"
        return [self._read(run) for run in self._search(chosen, fingerprint)]

    def write(self, record: StoredRun) -> str:
        """Write a run and give its id; older runs of the same kind and fingerprint, whole or half, are replaced.

        Raises:
            RefusedError: This record cannot be stored as it is.
            CacheError: The store cannot be written.
        """
        from mlflow.entities import Metric, Param, RunTag

        self._settle()
        now = int(time.time() * 1000)
        old = self._search(f"tags.`{_KIND}` = '{record.kind}'", record.fingerprint)
        first = {_KIND: record.kind, _FINGERPRINT: record.fingerprint, SCHEMA_TAG: str(SCHEMA)}
        if record.parent:
            first[_PARENT] = record.parent
        names = stored_names([*record.metrics, *(name for name, _, _ in record.series)])
        metrics = [Metric(names[name], number(name, value), now, 0) for name, value in record.metrics.items()]
        metrics += [Metric(names[name], number(name, value), now, step) for name, value, step in record.series]
        stored = {FILES: ", ".join(path.name for path in record.artifacts)}
        params, tags = long_facts.fitted(record.params, "params"), long_facts.fitted(record.tags, "tags")
        keys, labels = stored_names(params.short), stored_names(tags.short)
        facts = {
            "params": params.whole, "tags": tags.whole,
            "names": shortened_names(names) | shortened_names(keys) | shortened_names(labels),
        }  # fmt: skip
        if any(facts.values()):
            stored[_FACTS] = long_facts.FILE
        with self._writing(record.name):
            # The run lasts as long as the work took, not as long as writing it down.
            begun = now - round(1000 * float(record.tags.get("seconds") or 0))
            title = long_facts.storable_text(record.name)[:_TITLE]
            run = self._client.create_run(self._experiment, begun, first, title).info.run_id
            settings = [Param(keys[name], text) for name, text in params.short.items()]
            labelled = {labels[name]: text for name, text in tags.short.items()} | stored
            told_of = [RunTag(_PREFIX + name, text) for name, text in labelled.items()]
            for start in range(0, len(metrics), _METRICS):
                self._client.log_batch(run, metrics=metrics[start : start + _METRICS])
            for start in range(0, max(len(settings), len(told_of)), _PARAMS):
                part = slice(start, start + _PARAMS)
                self._client.log_batch(run, params=settings[part], tags=told_of[part])
            for path in record.artifacts:
                if path.is_dir():
                    self._client.log_artifacts(run, str(path), path.name)
                else:
                    self._client.log_artifact(run, str(path))
            if _FACTS in stored:
                self._write_facts(run, facts)
            self._client.set_terminated(run, _ENDS.get(record.status, "FAILED"))
            self._client.set_tag(run, _COMPLETE, "true")
            for older in old:
                self._adopt(older.info.run_id, run)
                self._client.delete_run(older.info.run_id)
        return str(run)

    def add_metrics(self, run: str, metrics: Mapping[str, float]) -> None:
        """Add numbers to a run (the default evaluation's, on its cell)."""
        from mlflow.entities import Metric

        now, names = int(time.time() * 1000), stored_names(metrics)
        values = [Metric(names[name], number(name, value), now, 0) for name, value in metrics.items()]
        with self._writing(f"The numbers {', '.join(metrics)}"):
            self._client.log_batch(run, metrics=values)

    def set_tags(self, record: StoredRun, tags: Mapping[str, str]) -> None:
        """Say something of a stored run anew."""
        fitted = long_facts.fitted(tags, "tags")
        labels = stored_names(fitted.short)
        whole = fitted.whole
        with self._writing(record.name):
            if whole or _FACTS in record.tags:
                path = self._path(record.run, record.location, long_facts.FILE) if _FACTS in record.tags else None
                facts = {"params": {}, "tags": {}, "names": {}} | (read_json(path) if path else {})
                kept = {name: text for name, text in facts["tags"].items() if name not in tags}
                self._write_facts(record.run, {**facts, "tags": {**kept, **whole}})
                self._client.set_tag(record.run, _PREFIX + _FACTS, long_facts.FILE)
            for name, text in fitted.short.items():
                self._client.set_tag(record.run, _PREFIX + labels[name], text)

    def find(self, record: StoredRun, name: str) -> Path | None:
        """A file or folder of a run on this machine, fetched if it lies on a server; None where there is none (now)."""
        return self._path(record.run, record.location, name)

    def artifact(self, record: StoredRun, name: str) -> Path | None:
        """The same; None where it never had one.

        Raises:
            CacheError: It had one, which is gone.
        """
        path = self.find(record, name)
        if path is not None or not had(record, name):
            return path
        places = self._places(record.run, record.location)
        where = f"{places[0] / name}" if places else f"{record.location}/{name}"
        raise CacheError(
            f"{name} of {record.name!r} ({record.fingerprint[:8]}) is lost: there is no {where} any more.",
            f"Put the folder {files.ARTIFACTS}/ back that belongs to {self.shown}, or compute it again: "
            "the `hcbench run ...` that made it, with --fresh.",
        )

    @property
    def shown(self) -> str:
        """The store as the user knows it."""
        return str(self.workspace.database) if self.uri is None else self.uri

    def _path(self, run: str, location: str, name: str) -> Path | None:
        """A file or folder of a run, None where it is not there."""
        places = self._places(run, location)
        if places:
            return next((place / name for place in places if (place / name).exists()), None)
        with quiet(), told(f"{name} cannot be read from the result store {self.shown}", self.shown):
            if not any(item.path == name for item in self._client.list_artifacts(run)):
                return None
            return Path(self._client.download_artifacts(run, name))

    def _places(self, run: str, location: str) -> list[Path]:
        """Folders on this machine in which a run's artifacts may lie, the likeliest first; none for a server's.

        Stores are moved, copied and mounted elsewhere: what lies beside the database goes before what it says.
        """
        said = files.local_path(location)
        if said is None:
            return []
        beside = [] if self._database is None else [files.artifacts_beside(self._database.resolve())]
        return [*(place / run / "artifacts" for place in beside), said]

    def _settle(self) -> None:
        """Before the first run is written: artifacts go where the store lies now, not where it lay when it was made."""
        if not self._settled and self._database is not None:
            with told(f"The result store {self.shown} cannot be written", self.shown), files.opening(self._database):
                files.move_artifacts_here(self._database, EXPERIMENT, owned=self.uri is None)
        self._settled = True

    @contextlib.contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        with quiet(), told(f"The result store {self.shown} cannot be written", self.shown, writing=what):
            yield

    def _write_facts(self, run: str, facts: Mapping[str, Any]) -> None:
        with tempfile.TemporaryDirectory(prefix="hcbench-") as folder:
            path = Path(folder) / long_facts.FILE
            write_json(path, facts)
            self._client.log_artifact(run, str(path))

    def _adopt(self, old: str, new: str) -> None:
        """Hang evaluations below the new run of their cell."""
        for child in self._search(f"tags.`{_PARENT}` = '{old}'"):
            self._client.set_tag(child.info.run_id, _PARENT, new)

    def _search(self, chosen: str, fingerprint: str | None = None) -> list[Any]:
        if fingerprint is not None:
            chosen += f" and tags.`{_FINGERPRINT}` = '{fingerprint}'"
        runs: list[Any] = []
        token = None
        with quiet(), told(f"The result store {self.shown} cannot be read", self.shown):
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

    def _read(self, run: Any) -> StoredRun:
        tags = {name.removeprefix(_PREFIX): value for name, value in run.data.tags.items() if name.startswith(_PREFIX)}
        facts, damage = self._facts(run, tags)
        names = facts["names"]

        def find(name: str) -> Path | None:
            return self._path(run.info.run_id, run.info.artifact_uri, name)

        tags = {real_name(name, names): value for name, value in tags.items()}
        return StoredRun(
            kind=tags["kind"],
            fingerprint=tags["fingerprint"],
            name=run.info.run_name or "",
            params={real_name(name, names): value for name, value in run.data.params.items()} | facts["params"],
            metrics={real_name(name, names): as_written(value) for name, value in run.data.metrics.items()},
            tags=long_facts.restored(tags | facts["tags"], find),
            parent=run.data.tags.get(_PARENT, ""),
            run=run.info.run_id,
            created=run.info.start_time / 1000,
            location=run.info.artifact_uri,
            damage=damage,
        )

    def _facts(self, run: Any, tags: Mapping[str, str]) -> tuple[dict[str, dict[str, str]], str]:
        """Facts of a run that are whole only in a file of it, and why they cannot be read where they cannot."""
        facts: dict[str, dict[str, str]] = {"params": {}, "tags": {}, "names": {}}
        if _FACTS not in tags:
            return facts, ""
        path = self._path(run.info.run_id, run.info.artifact_uri, long_facts.FILE)
        if path is None:
            return facts, f"its {long_facts.FILE} is lost"
        try:
            found = read_json(path)
            return {kind: dict(found[kind]) for kind in facts}, ""
        except (OSError, ValueError, KeyError, TypeError) as error:
            return facts, f"its {long_facts.FILE} is damaged ({type(error).__name__}: {path})"
