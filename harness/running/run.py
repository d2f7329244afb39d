"""A matrix from end to end: what is known? -> prepare images -> execute cells -> import into the store."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from hcbench.harness.jobs.atomic_files import remove, replacing, write_json
from hcbench.harness.jobs.cell_folder import CHECKPOINT, IMPORTED, STATUS
from hcbench.harness.jobs.events import (
    CellFinished,
    EvaluationFinished,
    Listener,
    Note,
    RunFinished,
    RunStarted,
    ignore,
)
from hcbench.harness.jobs.executors.base import DEFAULT_EXECUTOR, Executor, ExecutorSettings, open_executor
from hcbench.harness.jobs.job import Job, read_status
from hcbench.harness.jobs.worker_process import default_workers, worker_environment
from hcbench.harness.planning.card_facts import card_facts, method_facts
from hcbench.harness.planning.cell import Cell, Evaluation, Matrix
from hcbench.harness.planning.leaks import TAG
from hcbench.harness.planning.machine import usable_cores, usable_gpus
from hcbench.harness.planning.registry import Registry, load_registry
from hcbench.harness.store.import_cell import import_folder, settled, skipped_record, waiting
from hcbench.harness.store.mlflow_store import CELL, StoredRun, Tracker
from hcbench.harness.store.results import Known, finished
from hcbench.harness.store.set_aside import SetAside, bring_back
from hcbench.harness.store.troubles import RefusedError
from hcbench.harness.store.workspace import Workspace
from hcbench.harness.training.prepare import prepare

NO_FAILURE = ("done", "skipped")
"""Statuses that are no failure."""
TRIALS = "ledger.tuning_trials"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a cell or an evaluation stands after a run; `status` is one of `events.STATUSES`."""

    status: str
    reason: str = ""
    cached: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOutcome:
    """How a run ended: cells and evaluations of the matrix by fingerprint, and what the store did not take."""

    cells: Mapping[str, Ending] = field(default_factory=dict)
    evaluations: Mapping[str, Ending] = field(default_factory=dict)
    interrupted: bool = False
    set_aside: Sequence[SetAside] = ()

    @property
    def ok(self) -> bool:
        """Whether everything that could run is done (skipped is fine), and stored."""
        outcomes = [*self.cells.values(), *self.evaluations.values()]
        return not self.interrupted and not self.set_aside and all(outcome.status in NO_FAILURE for outcome in outcomes)


def run_matrix(
    matrix: Matrix,
    *,
    workspace: Path,
    tracking_uri: str | None = None,
    workers: int | None = None,
    fail_fast: bool = False,
    fresh: bool = False,
    log_checkpoints: bool = False,
    executor: str = DEFAULT_EXECUTOR,
    listener: Listener = ignore,
) -> RunOutcome:
    """Run what is not yet known of a matrix, and put it into the store.

    Args:
        matrix: Cells and evaluations with their fingerprints.
        workspace: Folder of the store, the caches and the work in progress; made where it does not exist.
        tracking_uri: An MLflow server or store; the workspace's own SQLite where None.
        workers: Cells side by side; None takes as many as there are cores (fewer where memory is short).
        fail_fast: Stop at the first cell that fails.
        fresh: Run everything again, known or not, and decode files on disk again.
        log_checkpoints: Also store checkpoints as MLflow artifacts; they always stay in the workspace.
        executor: Name of what runs the cells; it decides no number.
        listener: Gets the events of the run, in the thread that called.

    Raises:
        ConfigError: No executor has this name.
        CacheError: The workspace cannot be used: not writable, locked, of a newer schema; or the server is down.
    """
    registry = load_registry()
    registry.executor(executor)  # a wrong name is told of before anything is made
    place = Workspace(workspace)
    place.make()
    with place.lock() as lock:
        tracker = Tracker(place, tracking_uri)
        run = _Run(matrix, place, tracker, registry, listener, log_checkpoints, executor)
        run.import_waiting(fresh=fresh)
        return run.execute(workers=workers, fail_fast=fail_fast, fresh=fresh, lock=lock)


@dataclass
class _Run:
    """One run under the lock: collects how every cell and evaluation of the matrix ends."""

    matrix: Matrix
    place: Workspace
    tracker: Tracker
    registry: Registry
    listener: Listener
    log_checkpoints: bool
    executor: str
    cells: dict[str, Ending] = field(default_factory=dict)
    evaluations: dict[str, Ending] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    """Notes of no cell that were shown: every worker tells of the same data."""
    set_aside: list[SetAside] = field(default_factory=list)

    def import_waiting(self, *, fresh: bool) -> None:
        """Put into the store what an earlier run has left, and try again what it did not take of this matrix."""
        brought = set() if fresh else {one.fingerprint for one in self.matrix.cells if self._brought_back(one)}
        for folder in waiting(self.place):
            for one in import_folder(folder, self.tracker, log_checkpoint=self.log_checkpoints):
                if one.cell in brought:  # told of before, and computed again now
                    self.listener(Note(text=f"{one.told} It is computed again now.", level="warning", cell=one.cell))
                else:
                    self._tell_aside(one)

    def _brought_back(self, cell: Cell) -> bool:
        return not cell.skip and bring_back(self.place, cell.fingerprint)

    def _tell_aside(self, one: SetAside) -> None:
        self.set_aside.append(one)
        self.listener(Note(text=one.told, level="warning", cell=one.cell))

    def execute(self, *, workers: int | None, fail_fast: bool, fresh: bool, lock: int) -> RunOutcome:
        start = time.perf_counter()
        known = Known({}, {}) if fresh else finished(self.tracker)
        jobs = [job for cell in self.matrix.cells if (job := self._job(cell, known, fresh))]
        cores, gpus = usable_cores(), usable_gpus()
        count = workers or default_workers(len(jobs), cores, psutil.virtual_memory().available, len(gpus))
        jobs = [replace(job, workers=count) for job in jobs]
        threads = max(1, cores // count)
        self.listener(self._started(count, threads))
        self._tell_cached(known)
        interrupted = False
        try:
            prepare(
                jobs,
                self.place.cache,
                workers=workers or cores,
                environment=worker_environment(threads=1),
                inherit=(lock,),
                fresh=fresh,
                listener=self.listener,
            )
            settings = ExecutorSettings(workers=count, threads=threads, inherit=(lock,), gpus=gpus)
            self._work(open_executor(self.registry, self.executor, settings), jobs, fail_fast)
        except KeyboardInterrupt:
            interrupted = True
        self._close(jobs)
        outcome = RunOutcome(
            cells=self.cells, evaluations=self.evaluations, interrupted=interrupted, set_aside=self.set_aside
        )
        self.listener(
            RunFinished(
                cells=Counter(one.status for one in self.cells.values()),
                evaluations=Counter(one.status for one in self.evaluations.values()),
                seconds=time.perf_counter() - start,
                interrupted=interrupted,
            )
        )
        return outcome

    def _job(self, cell: Cell, known: Known, fresh: bool) -> Job | None:
        """What is left to do of a cell; None where there is nothing. Known outcomes are noted."""
        evaluations = self.matrix.evaluations.get(cell.fingerprint, ())
        if cell.skip:
            self._skip(cell, evaluations)
            return None
        settled = {**known.evaluations, **known.skipped}
        left = tuple(one for one in evaluations if one.fingerprint not in settled)
        for one in evaluations:
            if record := settled.get(one.fingerprint):
                self.evaluations[one.fingerprint] = Ending(
                    status=record.status, reason=record.tags.get("reason", ""), cached=True
                )
        if cell.fingerprint in known.cells:
            self.cells[cell.fingerprint] = Ending(status="done", cached=True)
            self._bring_up_to_date(cell, known.cells[cell.fingerprint])
            if not left:
                return None
        folder = self.place.cell(cell.fingerprint)
        if fresh:
            remove(folder)
        self._find_checkpoint(cell, folder, known)
        facts = card_facts(cell, evaluations, self.registry)
        return Job(cell=cell, evaluations=left, folder=folder, cache=self.place.cache, facts=facts)

    def _bring_up_to_date(self, cell: Cell, record: StoredRun) -> None:
        """Keep what is said of a known cell true, where it decides no number.

        A search may have chosen the settings that the cell had anyway; what weights have seen may be told later.
        """
        if not cell.tuning and cell.images_seen and record.metrics.get(TRIALS, 0) != cell.tuning_trials:
            self.tracker.add_metrics(record.run, {TRIALS: cell.tuning_trials})
        sources = cell.facts.get(TAG)
        if sources is not None and record.tags.get(TAG) != sources:
            self.tracker.set_tags(record, {TAG: sources})

    def _find_checkpoint(self, cell: Cell, folder: Path, known: Known) -> None:
        """Fetch a known cell's checkpoint if only the store has it; see that the cell gets into this store."""
        record = known.cells.get(cell.fingerprint)
        there = (folder / CHECKPOINT).is_dir()
        if record and not there:
            stored = self.tracker.find(record, CHECKPOINT)
            if stored is not None:
                with replacing(folder / CHECKPOINT) as temporary:
                    shutil.copytree(stored, temporary)
                write_json(folder / IMPORTED, {"run": record.run})
                return
            text = f"{cell.title}: its checkpoint is neither in the workspace nor in the store; it is trained again"
            self.listener(Note(text=text, level="warning", cell=cell.fingerprint))
            self.cells.pop(cell.fingerprint)
        remove(folder / STATUS)
        if not (record and there):
            remove(folder / IMPORTED)

    def _skip(self, cell: Cell, evaluations: Sequence[Evaluation]) -> None:
        self.cells[cell.fingerprint] = Ending(status="skipped", reason=cell.skip)
        for one in evaluations:
            self.evaluations[one.fingerprint] = Ending(status="skipped", reason=cell.skip)
        stored = self.tracker.records(CELL, cell.fingerprint)
        if not any(record.tags.get("reason") == cell.skip for record in stored):
            try:
                self.tracker.write(skipped_record(cell, method_facts(self.registry, cell)))
            except RefusedError as error:  # nothing was computed: it is told of, and there is nothing to set aside
                self.listener(Note(text=f"{cell.title}: {error.message}", level="warning", cell=cell.fingerprint))

    def _started(self, workers: int, threads: int) -> RunStarted:
        return RunStarted(
            cells=len(self.matrix.cells),
            cached_cells=sum(outcome.cached for outcome in self.cells.values()),
            evaluations=sum(len(several) for several in self.matrix.evaluations.values()),
            cached_evaluations=sum(outcome.cached for outcome in self.evaluations.values()),
            workers=workers,
            threads=threads,
        )

    def _tell_cached(self, known: Known) -> None:
        for cell in self.matrix.cells:
            for one in self.matrix.evaluations.get(cell.fingerprint, ()):
                if record := known.evaluations.get(one.fingerprint) or known.skipped.get(one.fingerprint):
                    self.listener(
                        EvaluationFinished(
                            cell=cell.fingerprint,
                            title=cell.title,
                            evaluation=one.fingerprint,
                            benchmark=one.title,
                            status=record.status,
                            reason=record.tags.get("reason", ""),
                            summary=dict(record.metrics),
                            cached=True,
                        )
                    )
            outcome = self.cells.get(cell.fingerprint)
            if outcome:
                self.listener(
                    CellFinished(
                        cell=cell.fingerprint,
                        title=cell.title,
                        status=outcome.status,
                        reason=outcome.reason,
                        cached=outcome.cached,
                    )
                )

    def _work(self, executor: Executor, jobs: Sequence[Job], fail_fast: bool) -> None:
        by_name = {job.cell.fingerprint: job for job in jobs}
        with contextlib.closing(executor.run(jobs)) as events:
            for event in events:
                if isinstance(event, EvaluationFinished):
                    self.evaluations[event.evaluation] = Ending(status=event.status, reason=event.reason)
                if isinstance(event, CellFinished):
                    event = self._ended(by_name[event.cell], event)
                if isinstance(event, Note) and not event.cell:
                    if event.text in self.told:
                        continue
                    self.told.add(event.text)
                self.listener(event)
                failed = isinstance(event, CellFinished | EvaluationFinished) and event.status not in NO_FAILURE
                if failed and fail_fast:
                    self.listener(Note(text="Stopping at the first failure (--fail-fast).", level="warning"))
                    return

    def _ended(self, job: Job, event: CellFinished) -> CellFinished:
        """Import a cell that ended; gives the event as the user is to see it."""
        status, reason = settled(job.folder)
        self.ended.add(job.cell.fingerprint)
        before = self.cells.get(job.cell.fingerprint)
        self.cells[job.cell.fingerprint] = Ending(status=status, reason=reason, cached=bool(before and before.cached))
        status, reason = self._store(job, status, reason)
        for one in job.evaluations:
            if one.fingerprint in self.evaluations:
                continue
            self.evaluations[one.fingerprint] = Ending(status=event.status, reason=event.reason)
            self.listener(
                EvaluationFinished(
                    cell=job.cell.fingerprint,
                    title=job.cell.title,
                    evaluation=one.fingerprint,
                    benchmark=one.title,
                    status=event.status,
                    reason=event.reason,
                )
            )
        return replace(event, status=status, reason=reason)

    def _store(self, job: Job, status: str, reason: str) -> tuple[str, str]:
        """Import a cell that ended; what cannot be stored has failed, and its evaluations with it."""
        for aside in import_folder(job.folder, self.tracker, log_checkpoint=self.log_checkpoints):
            self._tell_aside(aside)
            failed = Ending(status="failed", reason=f"not stored: {aside.reason}")
            lost = [aside.evaluation] if aside.evaluation else [one.fingerprint for one in job.evaluations]
            self.evaluations.update(dict.fromkeys(lost, failed))
            if not aside.evaluation:
                self.cells[job.cell.fingerprint] = failed
                status, reason = failed.status, failed.reason
        return status, reason

    def _close(self, jobs: Sequence[Job]) -> None:
        """Settle what an interruption has left open."""
        for job in jobs:
            name = job.cell.fingerprint
            if name in self.ended:
                continue
            if status := read_status(job.folder):
                event = CellFinished(cell=name, title=job.cell.title, status=status["status"], reason=status["reason"])
                self.listener(self._ended(job, event))
            else:
                self.cells.setdefault(name, Ending(status="interrupted", reason="not begun"))
                for one in job.evaluations:
                    self.evaluations.setdefault(one.fingerprint, Ending(status="interrupted", reason="not begun"))
