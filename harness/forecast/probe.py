"""`plan --measure`: a few steps of every kind of cell in throw-away folders, for an estimate of this machine's own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from hcbench.harness.forecast.estimate import Measured, cell_key
from hcbench.harness.jobs.atomic_files import read_json
from hcbench.harness.jobs.cell_folder import LEDGER
from hcbench.harness.jobs.events import CellFinished
from hcbench.harness.jobs.executors.base import DEFAULT_EXECUTOR, ExecutorSettings, open_executor
from hcbench.harness.jobs.job import Job
from hcbench.harness.planning.cell import Cell
from hcbench.harness.planning.machine import usable_cores, usable_gpus
from hcbench.harness.planning.registry import load_registry
from hcbench.harness.store.workspace import Workspace

STEPS: Final = 20
"""Optimiser steps of a probe."""
BATCHES_STORED: Final = 3
"""Batches that a probe's corpus holds; what is not there yet is rendered into the throw-away folder."""


def probe(cells: Iterable[Cell], *, workers: int, executor: str = DEFAULT_EXECUTOR) -> tuple[Measured, tuple[str, ...]]:
    """Train each kind of cell for STEPS steps, as many side by side as the run would; give speeds and memory.

    A kind is a method with its backbone, input size and precision. Nothing is kept: neither weights nor results.

    Args:
        cells: What is still to be trained; cells without training and skipped ones are passed over.
        workers: Processes side by side, each with its share of the cores.
        executor: Name of what runs them.

    Returns:
        What was measured, and for each probe that failed a sentence that says why.
    """
    kinds: dict[tuple[Any, ...], Cell] = {}
    for cell in cells:
        if cell.images_seen and not cell.skip:
            kinds.setdefault(cell_key(cell), cell)
    speeds: dict[tuple[Any, ...], float] = {}
    memory: dict[tuple[Any, ...], float] = {}
    with tempfile.TemporaryDirectory(prefix="hcbench-probe-") as folder:
        place = Workspace(Path(folder))
        place.make()
        jobs = [_job(cell, place, workers) for cell in kinds.values()]
        settings = ExecutorSettings(workers=workers, threads=max(1, usable_cores() // workers), gpus=usable_gpus())
        opened = open_executor(load_registry(), executor, settings)
        ends = [event for event in opened.run(jobs) if isinstance(event, CellFinished)]
        for key, job in zip(kinds, jobs, strict=True):
            if (job.folder / LEDGER).is_file():
                ledger = read_json(job.folder / LEDGER)
                speeds[key] = float(ledger["images_per_s"])
                memory[key] = float(ledger["peak_memory_bytes"])
    failures = tuple(f"{end.title}: {end.status}: {end.reason}" for end in ends if end.status != "done")
    return Measured(images_per_s=speeds, memory=memory), failures


def _job(cell: Cell, place: Workspace, workers: int) -> Job:
    """A cell cut down to STEPS steps over a few batches of its own corpus."""
    batch = cell.pretrain.groups_per_batch * cell.pretrain.images_per_group
    short = replace(
        cell,
        budget_images=min(cell.budget_images, BATCHES_STORED * batch),
        images_seen=min(cell.images_seen, STEPS * batch),
    )
    folder = place.cell(cell.fingerprint)
    folder.mkdir(parents=True)
    return Job(cell=short, evaluations=(), folder=folder, cache=place.cache, workers=workers)
