"""A cell in its own process: `python -P -m hcbench.harness.running.worker JOB`.

The process never touches the store. It writes files into the cell's folder and events to standard output; the log
goes to standard error. It ends politely, its training saved, on SIGTERM or SIGINT, and when the process that
started it is gone (then standard input ends).
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from hcbench.harness.jobs.cell_folder import CHECKPOINT, EVALUATIONS
from hcbench.harness.jobs.events import (
    CellFinished,
    CellProgress,
    CellStarted,
    EvaluationFinished,
    Event,
    Note,
    to_line,
)
from hcbench.harness.jobs.job import Job, read_job, write_status
from hcbench.harness.jobs.outcomes import Interrupted, classify

logger = logging.getLogger("hcbench.worker")


class Stop:
    """Whether somebody asked to stop: polled by the training loop, raised everywhere else.

    Results of an evaluation appear at once, so it may be stopped anywhere; a training first saves its state.
    """

    def __init__(self) -> None:
        self.asked, self.polled = False, False

    def __call__(self) -> bool:
        """Whether it was asked for."""
        return self.asked

    def install(self) -> None:
        """Listen to signals and to the end of standard input."""
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)
        threading.Thread(target=self._watch_parent, daemon=True).start()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first, self.asked = not self.asked, True
        if first and not self.polled:
            raise Interrupted

    def _watch_parent(self) -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)


class Worker:
    """Brings one job to its end."""

    def __init__(self, job: Job, stop: Stop) -> None:
        self.job, self.stop, self.name = job, stop, job.cell.fingerprint
        self._last = 0.0

    def run(self) -> None:
        """Pre-train unless that is done, then score."""
        import torch

        from hcbench.harness.scoring.evaluate import evaluate
        from hcbench.harness.training.pretrain import pretrain

        job = self.job
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        checkpoint = job.folder / CHECKPOINT
        if not checkpoint.is_dir():
            self.stop.polled = True
            warnings = pretrain(
                job.cell, job.folder, cache=job.cache, device=device, workers=job.workers,
                report=self.report_training, stop=self.stop,
            )  # fmt: skip
            self.stop.polled = False
            for warning in warnings:
                emit(Note(text=f"{job.cell.title}: {warning}", level="warning", cell=self.name))
        if self.stop.asked:
            raise Interrupted
        ended = evaluate(
            checkpoint, job.evaluations, job.folder / EVALUATIONS, cache=job.cache, device=device,
            progress=self.report_evaluation,
        )  # fmt: skip
        for one in ended:
            for note in one.notes:
                emit(Note(text=note, level="warning"))  # of the data, so of no cell; a run shows each once
            emit(
                EvaluationFinished(
                    cell=self.name,
                    title=job.cell.title,
                    evaluation=one.evaluation.fingerprint,
                    benchmark=one.evaluation.title,
                    status=one.status,
                    reason=one.reason,
                    summary=one.summary or {},
                )
            )

    def report_training(self, done: int, total: int, rate: float, loss: float | None) -> None:
        """A `ProgressReport` of the training loop."""
        emit(CellProgress(cell=self.name, phase="train", done=done, total=total, images_per_s=rate, loss=loss))

    def report_evaluation(self, phase: str, done: int, total: int) -> None:
        """A `Progress` of the evaluation, at most twice a second."""
        now = time.monotonic()
        if done == 0 or now - self._last > 0.5:
            self._last = now
            emit(CellProgress(cell=self.name, phase=phase, done=done, total=total))


def emit(event: Event) -> None:
    """Tell the executor; if nobody listens any more, the work goes on to its next stop."""
    try:
        sys.stdout.write(to_line(event) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        logger.warning("nobody reads events any more")


def main(path: Path) -> int:
    """Run a job; the exit code is 0 whenever its status could be written."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    start = time.perf_counter()
    job = read_job(path)
    cell, stop = job.cell, Stop()
    status, reason = "done", ""
    emit(CellStarted(cell=cell.fingerprint, title=cell.title, images=cell.images_seen))
    try:
        stop.install()
        Worker(job, stop).run()
    except (Exception, Interrupted) as error:
        logger.exception("%s ended early", cell.title)
        status, reason = classify(error)
    seconds = time.perf_counter() - start
    write_status(job.folder, status, reason, seconds=seconds)
    emit(
        CellFinished(
            cell=cell.fingerprint, title=cell.title, status=status, reason=reason, seconds=seconds, log=str(job.log)
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
