"""The worker processes of executors: how many, the command and environment of one, and how one ended."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from hcbench.harness.jobs.events import CellFinished
from hcbench.harness.jobs.job import Job, read_status, write_status
from hcbench.harness.jobs.outcomes import classify_exit

logger = logging.getLogger(__name__)

MEMORY_PER_WORKER = 3_000_000_000
"""Bytes that a worker of the default profile may need: torch, features of the benchmark data, a batch's activations."""


def default_workers(jobs: int, cores: int, available_memory: int, gpus: int = 0) -> int:
    """As many workers as there are jobs, memory, and GPUs for; without a GPU, cores.

    >>> default_workers(jobs=9, cores=8, available_memory=7_000_000_000)
    2
    """
    return max(1, min(jobs, gpus or cores, available_memory // MEMORY_PER_WORKER))


def worker_environment(threads: int) -> dict[str, str]:
    """Environment of a worker: its threads, which sleep when they wait (spinning ones take ten times as long)."""
    count = str(threads)
    return {
        **os.environ,
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
        "PYTHONUNBUFFERED": "1",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # deterministic matrix products, where they are asked for
    }


def worker_command(job: Path) -> list[str]:
    """The command of a worker that brings a job to its end; `job` is what `Job.write` gives."""
    return [sys.executable, "-P", "-m", "hcbench.harness.running.worker", str(job)]


def finished(job: Job, code: int) -> CellFinished:
    """How a job ended whose process left with `code`; a process that left no word gets its status here."""
    status = read_status(job.folder)
    if status is None:
        logger.error("%s left no status (exit code %d); its log is %s", job.cell.title, code, job.log)
        name, reason = classify_exit(code)
        write_status(job.folder, name, reason)
        status = {"status": name, "reason": reason}
    return CellFinished(
        cell=job.cell.fingerprint,
        title=job.cell.title,
        status=status["status"],
        reason=status["reason"],
        seconds=status.get("seconds", 0.0),
        log=str(job.log),
    )
