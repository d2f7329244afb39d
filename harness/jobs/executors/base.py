"""What an executor promises: it is given jobs and gives events; what a job leaves lies in the job's folder.

That is all the rest of the harness knows of it. `local.py` is one; others are plug-ins (docs/add-an-executor.md).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from hcbench.errors import HcbenchError
from hcbench.harness.jobs.events import Event
from hcbench.harness.jobs.job import Job
from hcbench.harness.planning.registry import Registry, implementation

DEFAULT_EXECUTOR = "local"
"""The executor where nobody names one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutorSettings:
    """What a run asks of its executor.

    Attributes:
        workers: Jobs side by side.
        threads: Threads of each.
        inherit: File descriptors that local processes keep open (the workspace's lock).
        gpus: Names of the GPUs of this machine, as `CUDA_VISIBLE_DEVICES` writes them.
    """

    workers: int
    threads: int
    inherit: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()


class Executor(ABC):
    """Runs jobs, each by the command `worker_process.worker_command`, on this machine or another."""

    def __init__(self, settings: ExecutorSettings) -> None:
        self.settings = settings

    @abstractmethod
    def run(self, jobs: Sequence[Job]) -> Generator[Event, None, None]:
        """Run all jobs, in whatever order, and give the events of their workers as they come.

        One `CellFinished` is given for every job, when its worker is gone and its status is written
        (`worker_process.finished` makes both of an exit code). A job that fails ends no other. Closing the generator
        stops what runs, politely first: a worker that is told to end (SIGTERM) saves its state.
        """


def open_executor(registry: Registry, name: str, settings: ExecutorSettings) -> Executor:
    """The executor of a name.

    Raises:
        ConfigError: No executor has this name.
        HcbenchError: Its class cannot be imported, or is no `Executor`.
    """
    card = registry.executor(name)
    made = implementation(card)
    if not issubclass(made, Executor):
        raise HcbenchError(
            f"The executor {card.name!r} is implemented by {made.__name__}, which is no Executor.",
            "Derive it from hcbench.harness.jobs.executors.base.Executor.",
        )
    if missing := sorted(made.__abstractmethods__):
        raise HcbenchError(
            f"{made.__name__}, which implements the executor {card.name!r}, lacks the abstract method {missing[0]!r}.",
            "See hcbench.harness.jobs.executors.base.Executor.",
        )
    executor: Executor = made(settings)
    return executor
