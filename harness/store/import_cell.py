"""From a finished cell's folder into the store.

The order makes a crash harmless: the cell's run is written whole, then the folder says so (`imported.json`), then each
evaluation is written whole and its sub-folder removed. What a crash leaves is imported again by the next run, and
replaces what was half there. What the store refuses, or cannot be read, is set aside (`set_aside.py`).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

import hcbench
from hcbench.harness.jobs.atomic_files import read_json, remove, write_json
from hcbench.harness.jobs.cell_folder import (
    CHECKPOINT,
    DIAGNOSTICS,
    EVALUATIONS,
    FIGURES,
    IMPORTED,
    JOB,
    LEDGER,
    LOG,
    LOSSES,
    PER_SAMPLE,
    RECORD,
    REPLICATES,
    STATUS,
    SUMMARY,
)
from hcbench.harness.jobs.job import Job, read_job, read_status, write_status
from hcbench.harness.planning.card_facts import BenchmarkFacts
from hcbench.harness.planning.cell import Cell, Evaluation
from hcbench.harness.store.mlflow_store import CELL, EVALUATION, StoredRun, Tracker
from hcbench.harness.store.set_aside import SetAside, reading, set_cell_aside, set_evaluation_aside
from hcbench.harness.store.troubles import RefusedError
from hcbench.harness.store.workspace import Workspace

CONTENT = "content."
"""Begins the tags of what stands for data on disk, by the data's name."""

OVERRIDE = "override."
"""Begins the tags of settings that the user changed."""

EVALUATION_FILES = (SUMMARY, RECORD, PER_SAMPLE, REPLICATES)


def waiting(workspace: Workspace) -> Iterator[Path]:
    """Folders of cells that ended but are not, or not wholly, in the store."""
    for path in sorted(workspace.cells.glob(f"*/{JOB}")):
        folder = path.parent
        ended = (folder / CHECKPOINT).is_dir() or (folder / STATUS).is_file()
        if ended and (not (folder / IMPORTED).is_file() or any(folder.glob(f"{EVALUATIONS}/*/{STATUS}"))):
            yield folder


def import_folder(folder: Path, tracker: Tracker, *, log_checkpoint: bool = False) -> list[SetAside]:
    """Import what a cell's folder holds; its checkpoint and log stay there.

    Returns:
        What could not be stored, and where it lies now.

    Raises:
        CacheError: The store takes nothing at all; the folder then waits as it is.
    """
    place = tracker.workspace
    try:
        with reading("Its folder"):
            job = read_job(folder / JOB)
            imported = folder / IMPORTED
            known = str(read_json(imported)["run"]) if imported.is_file() else ""
            record = None if known else cell_record(job, folder, log_checkpoint=log_checkpoint)
            _settle(job, folder)
        run = known if record is None else tracker.write(record)
    except RefusedError as error:
        return [set_cell_aside(place, folder, error)]
    if not known:
        write_json(imported, {"run": run})
    aside = []
    for evaluation in job.evaluations:
        source = folder / EVALUATIONS / evaluation.fingerprint
        if not (source / STATUS).is_file():
            continue
        try:
            _import_evaluation(job, evaluation, source, run, tracker)
        except RefusedError as error:
            aside.append(set_evaluation_aside(place, job.cell.fingerprint, source, error))
        else:
            remove(source)
    if (folder / CHECKPOINT).is_dir():
        for name in (EVALUATIONS, LOSSES):
            remove(folder / name)
    return aside


def _import_evaluation(job: Job, evaluation: Evaluation, source: Path, run: str, tracker: Tracker) -> None:
    with reading("Its folder"):
        record = evaluation_record(job, evaluation, source, run)
    tracker.write(record)
    if evaluation.fingerprint in job.facts.default_evaluations:
        # Validation numbers of a trial must not be read as results.
        place = "" if evaluation.split == "test" else f"{evaluation.split}."
        named = {f"{place}{evaluation.benchmark}.{name}": value for name, value in record.metrics.items()}
        tracker.add_metrics(run, named)


def settled(folder: Path) -> tuple[str, str]:
    """Status and reason of a cell: where its checkpoint stands it is done, whatever came after."""
    if (folder / CHECKPOINT).is_dir():
        return "done", ""
    status = read_status(folder) or {"status": "failed", "reason": "ended without a word"}
    return status["status"], status["reason"]


def _settle(job: Job, folder: Path) -> None:
    """Evaluations that the worker's end has cut off ended as it did."""
    ended = read_status(folder)
    if ended is None or ended["status"] == "done" or not (folder / CHECKPOINT).is_dir():
        return
    for evaluation in job.evaluations:
        target = folder / EVALUATIONS / evaluation.fingerprint
        if read_status(target) is None:
            write_status(target, ended["status"], ended["reason"])


def cell_record(job: Job, folder: Path, *, log_checkpoint: bool = False) -> StoredRun:
    """A cell as the store keeps it."""
    cell = job.cell
    status, reason = settled(folder)
    done = status == "done"
    ledger = read_json(folder / LEDGER) if done else {}
    diagnosis = read_json(folder / DIAGNOSTICS) if done else {"values": {}, "warnings": []}
    metrics = {f"ledger.{name}": value for name, value in ledger.items()}
    metrics |= {f"diagnostics.{name}": value for name, value in diagnosis["values"].items()}
    artifacts = [path for path in (folder / JOB, folder / LOG, folder / LOSSES) if path.is_file()]
    if (folder / FIGURES).is_dir():
        artifacts.append(folder / FIGURES)
    if log_checkpoint and done:
        artifacts.append(folder / CHECKPOINT)
    return StoredRun(
        kind=CELL,
        fingerprint=cell.fingerprint,
        name=cell.title,
        params=cell_params(cell),
        metrics=metrics,
        tags={
            **job.facts.method,
            "status": status,
            "reason": reason,
            **tuning_tag(cell),
            **override_tags(cell),
            **content_tags(cell.contents),
            "warnings": json.dumps(diagnosis["warnings"]),
            "seconds": str(ledger.get("wall_s", "")),
            **versions(),
        },
        series=_series(folder / LOSSES),
        artifacts=artifacts,
    )


def skipped_record(cell: Cell, facts: Mapping[str, Any]) -> StoredRun:
    """A cell that cannot run, and why."""
    tags = {name: str(value) for name, value in facts.items()}
    tags |= {"status": "skipped", "reason": cell.skip, **tuning_tag(cell), **override_tags(cell), **versions()}
    return StoredRun(
        kind=CELL, fingerprint=cell.fingerprint, name=cell.title, params=cell_params(cell), metrics={}, tags=tags
    )


def evaluation_record(job: Job, evaluation: Evaluation, source: Path, run: str) -> StoredRun:
    """An evaluation as the store keeps it, below the run of its cell."""
    status = read_status(source) or {}
    done = status["status"] == "done"
    chosen = read_json(source / RECORD)["chosen"] if done else {}
    facts = job.facts.benchmarks.get(evaluation.benchmark, BenchmarkFacts(title=evaluation.benchmark, metrics=()))
    metrics = facts.metrics_of(evaluation.scored_data, evaluation.split)
    return StoredRun(
        kind=EVALUATION,
        fingerprint=evaluation.fingerprint,
        name=f"{evaluation.title} {job.cell.title}",
        params={
            "benchmark": evaluation.benchmark,
            "version": evaluation.version,
            "data": evaluation.data_label,
            "protocol": evaluation.protocol_label,
            "split": evaluation.split,
            **{f"evaluate.{name}": value for name, value in evaluation.settings.items()},
        },
        metrics=read_json(source / SUMMARY) if done else {},
        tags={
            "status": status["status"],
            "reason": status["reason"],
            "cell": job.cell.fingerprint,
            **content_tags(evaluation.contents),
            "config": json.dumps(evaluation.settings, sort_keys=True),
            "readout": str(chosen.get("readout", "")),
            "benchmark_title": facts.title,
            "metrics": json.dumps([asdict(metric) for metric in metrics]),
            "seconds": str(status.get("seconds", "")),
        },
        artifacts=[source / name for name in EVALUATION_FILES if (source / name).is_file()],
        parent=run,
    )


def tuning_tag(cell: Cell) -> dict[str, str]:
    """The tag by which reports know the cells of a search (`stored.tables`)."""
    return {"tuning": cell.tuning} if cell.tuning else {}


def override_tags(cell: Cell) -> dict[str, str]:
    """A tag for each setting that the user changed, with what it would be otherwise (its value is a setting)."""
    return {f"{OVERRIDE}{key}": otherwise for key, otherwise in cell.overrides.items()}


def content_tags(contents: Mapping[str, str]) -> dict[str, str]:
    """A tag for each data set on disk, with what stands for its files; nothing for the embedded world."""
    return {f"{CONTENT}{name}": told for name, told in contents.items()}


def cell_params(cell: Cell) -> dict[str, Any]:
    """All settings of a cell, flat."""
    params: dict[str, Any] = {
        name: getattr(cell, name)
        for name in ("method", "budget", "budget_images", "images_seen", "seed", "backbone", "profile", "effort")
    }
    for group, values in (
        ("corpus", asdict(cell.corpus)),
        ("pretrain", asdict(cell.pretrain)),
        (cell.method, cell.method_config),
    ):
        params |= {f"{group}.{name}": value for name, value in values.items()}
    return params


def versions() -> dict[str, str]:
    """Version and, in a checkout, commit of hcbench."""
    found = {"version": hcbench.__version__}
    root = Path(hcbench.__file__).resolve().parent.parent
    if (root / ".git").exists():
        answer = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        )
        if answer.returncode == 0:
            found["commit"] = answer.stdout.strip()
    return found


def _series(path: Path) -> list[tuple[str, float, int]]:
    if not path.is_file():
        return []
    table = pd.read_parquet(path)
    return [
        (f"train.{name}", float(value), int(step))
        for name, value, step in zip(table["name"], table["value"], table["step"], strict=True)
    ]
