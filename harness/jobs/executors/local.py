"""Jobs as processes of this machine, several side by side."""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from collections.abc import Generator, Sequence
from typing import IO

from hcbench.harness.jobs.cell_folder import STATUS
from hcbench.harness.jobs.events import CellFinished, Event, from_line
from hcbench.harness.jobs.executors.base import Executor, ExecutorSettings
from hcbench.harness.jobs.job import Job
from hcbench.harness.jobs.worker_process import finished, worker_command, worker_environment
from hcbench.harness.planning.executor_card import ExecutorCard

GRACE_S = 20.0
"""Seconds that a worker has to save its state before it is killed."""

CARD = ExecutorCard(
    name="local",
    summary="Processes of this machine, several side by side; with GPUs, one on each.",
    implementation="hcbench.harness.jobs.executors.local:LocalExecutor",
)


class LocalExecutor(Executor):
    """Jobs as processes of this machine; each is shown one of the GPUs, in turn."""

    def __init__(self, settings: ExecutorSettings) -> None:
        super().__init__(settings)
        self.environment = worker_environment(settings.threads)
        self._events: queue.Queue[tuple[Job, Event | None]] = queue.Queue()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._seats: dict[str, int] = {}

    def run(self, jobs: Sequence[Job]) -> Generator[Event, None, None]:
        """See `Executor`."""
        waiting = list(jobs)
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self.settings.workers:
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
                worker_command(path),
                stdin=subprocess.PIPE,  # its end tells the worker that we are gone
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment | self._seat(job),
                pass_fds=self.settings.inherit,
                start_new_session=True,  # Ctrl-C in the terminal reaches us alone
            )
        self._running[job.cell.fingerprint] = process
        threading.Thread(target=self._listen, args=(job, process.stdout), daemon=True).start()

    def _seat(self, job: Job) -> dict[str, str]:
        """Give the job the lowest free seat, and the GPU that belongs to it."""
        taken = {self._seats[name] for name in self._running}
        seat = next(number for number in range(self.settings.workers) if number not in taken)
        self._seats[job.cell.fingerprint] = seat
        gpus = self.settings.gpus
        return {"CUDA_VISIBLE_DEVICES": gpus[seat % len(gpus)]} if gpus else {}

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


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
