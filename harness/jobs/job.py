"""What is handed to a worker process: one cell, its evaluations, and where everything lies. Plain JSON on disk."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hcbench.harness.jobs import cell_folder as names
from hcbench.harness.jobs.atomic_files import read_json, write_json
from hcbench.harness.planning.card_facts import CardFacts, read_facts
from hcbench.harness.planning.cell import Cell, Evaluation
from hcbench.harness.planning.settings import CorpusConfig, PretrainConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One cell to bring to its end.

    Attributes:
        cell: What to pre-train, unless its checkpoint is there.
        evaluations: What to score afterwards.
        folder: The cell's folder.
        cache: Rendered and decoded pixels.
        facts: What reports want to know of the method and the benchmarks, from their cards.
        workers: Processes beside each other.
    """

    cell: Cell
    evaluations: tuple[Evaluation, ...]
    folder: Path
    cache: Path
    facts: CardFacts = field(default_factory=CardFacts)
    workers: int = 1

    @property
    def log(self) -> Path:
        """Where the worker's standard error goes."""
        return self.folder / names.LOG

    def write(self) -> Path:
        """Put the job into its folder."""
        write_json(self.folder / names.JOB, asdict(self))
        return self.folder / names.JOB


def read_job(path: Path) -> Job:
    """Read a job back."""
    record = read_json(path)
    cell = record["cell"]
    cell["corpus"], cell["pretrain"] = CorpusConfig(**cell["corpus"]), PretrainConfig(**cell["pretrain"])
    return Job(
        cell=Cell(**cell),
        evaluations=tuple(Evaluation(**evaluation) for evaluation in record["evaluations"]),
        folder=path.parent,
        cache=Path(record["cache"]),
        facts=read_facts(record["facts"]),
        workers=record["workers"],
    )


def write_status(folder: Path, status: str, reason: str = "", **more: Any) -> None:
    """Say how a cell or an evaluation ended."""
    write_json(folder / names.STATUS, {"status": status, "reason": reason, **more})


def read_status(folder: Path) -> dict[str, Any] | None:
    """How a cell or an evaluation ended; None where it has not."""
    path = folder / names.STATUS
    return read_json(path) if path.is_file() else None
