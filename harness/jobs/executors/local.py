"""Where cells run. `LocalExecutor`: processes of this machine, several side by side.

An executor is given jobs and gives events, one `CellFinished` for every job among them; what a job leaves lies in its
folder. That is all the rest of the harness knows of it.
"""

from __future__ import annotations

import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from typing import IO, Protocol

from hcbench.harness.jobs.cell_folder import STATUS
from hcbench.harness.jobs.events import CellFinished, Event, from_line
from hcbench.harness.jobs.job import Job, read_status, write_status
from hcbench.harness.jobs.outcomes import classify_exit

logger = logging.getLogger(__name__)

MEMORY_PER_WORKER = 3_000_000_000
"""Bytes that a worker of the default profile may need: torch, features of the benchmark data, a batch's activations."""
GRACE_S = 20.0
"""Seconds that a worker has to save its state before it is killed."""


class Executor(Protocol):
    """Runs jobs."""

    def run(self, jobs: Sequence[Job]) -> Generator[Event, None, None]:
        """Run all jobs; closing the iterator stops those that run, politely."""
        ...


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


class LocalExecutor:
    """Jobs as processes of this machine.

    Args:
        workers: Processes side by side.
        threads: Threads of each.
        inherit: File descriptors that the processes keep open (the workspace's lock).
        gpus: Names of GPUs; each process is shown one of them, in turn.
    """

    def __init__(self, workers: int, threads: int, *, inherit: Sequence[int] = (), gpus: Sequence[str] = ()) -> None:
        self.workers, self.inherit, self.gpus = workers, tuple(inherit), tuple(gpus)
        self.environment = worker_environment(threads)
        self._events: queue.Queue[tuple[Job, Event | None]] = queue.Queue()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._seats: dict[str, int] = {}

    def run(self, jobs: Sequence[Job]) -> Generator[Event, None, None]:
        """See `Executor`."""
        waiting = list(jobs)
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self.workers:
                    self._start(waiting.pop(0))
                job, event = self._events.get()
                if event is None:
                    yield self._end(job)
                elif not isinstance(event, CellFinished):  # told when the process is gone, not before
                    yield event
        finally:
            self._stop()

    def _start(self, job: Job) -> None:
        path = job.write()
        (job.folder / STATUS).unlink(missing_ok=True)
        with job.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "hcbench.harness.running.worker", str(path)],
                stdin=subprocess.PIPE,  # its end tells the worker that we are gone
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment | self._seat(job),
                pass_fds=self.inherit,
                start_new_session=True,  # Ctrl-C in the terminal reaches us alone
            )
        self._running[job.cell.fingerprint] = process
        threading.Thread(target=self._listen, args=(job, process.stdout), daemon=True).start()

    def _seat(self, job: Job) -> dict[str, str]:
        """Give the job the lowest free seat, and the GPU that belongs to it."""
        taken = {self._seats[name] for name in self._running}
        seat = next(number for number in range(self.workers) if number not in taken)
        self._seats[job.cell.fingerprint] = seat
        return {"CUDA_VISIBLE_DEVICES": self.gpus[seat % len(self.gpus)]} if self.gpus else {}

    def _listen(self, job: Job, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                if event := from_line(line.decode(errors="replace")):
                    self._events.put((job, event))
        self._events.put((job, None))

    def _end(self, job: Job) -> CellFinished:
        process = self._running.pop(job.cell.fingerprint)
        code = process.wait()
        _close(process)
        return finished(job, code)

    def _stop(self) -> None:
        """End what runs: first politely, then not; a second Ctrl-C shortens the first part."""
        for process in self._running.values():
            process.terminate()
        deadline = time.monotonic() + GRACE_S
        for process in self._running.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                deadline = 0.0
                process.kill()
                process.wait()
            _close(process)
        self._running.clear()


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


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
