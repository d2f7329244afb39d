"""Equal compute (`--effort compute`): every method is given the same FLOPs instead of the same number of images.

The measure is what the reference method (`run.effort_reference`) spends where images seen are equal, at the same
budget, backbone, input size and recipe. Every other method sees as many images, in whole batches, as cost the same.
A named reference instead of, say, the cheapest method of the command line makes a cell's images seen, and so its
fingerprint, independent of what else is compared; the reference's own cell is that of the equal-images rule.

FLOPs per image are measured by the meter that fills the ledger (`harness/forecast/flops.py`), each stage weighing its
share, in a process of its own, and kept in the workspace's cache by fingerprint. No torch here.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hcbench.errors import ConfigError
from hcbench.harness.jobs.atomic_files import read_json, write_json
from hcbench.harness.jobs.cell_folder import FLOPS, LOG
from hcbench.harness.jobs.job import Job
from hcbench.harness.jobs.outcomes import classify_exit
from hcbench.harness.jobs.worker_process import worker_environment
from hcbench.harness.planning.cell import Cell, Matrix
from hcbench.harness.planning.config import Resolved
from hcbench.harness.planning.fingerprint import digest
from hcbench.harness.planning.machine import Machine, usable_cores
from hcbench.harness.planning.plan import make_plan
from hcbench.harness.planning.registry import Registry
from hcbench.harness.store.workspace import Workspace

logger = logging.getLogger(__name__)

COMPUTE = "compute"
CANONICAL_SEED = 0
"""Costs are measured with this seed alone, so that all seeds of a method see equally many images."""


@dataclass(frozen=True, slots=True)
class Cost:
    """FLOPs per image seen, mean over the stages by their shares; or why they are not known."""

    flops: float = 0.0
    reason: str = ""


def plan(
    resolved: Resolved,
    registry: Registry,
    machine: Machine,
    workspace: Path,
    notify: Callable[[str], None] = lambda text: None,
) -> Matrix:
    """The matrix of a configuration, whatever its effort; measures what equal compute needs to know.

    Args:
        resolved: The configuration.
        registry: Where its names come from.
        machine: What precision `auto` means.
        workspace: Where measured costs are kept; made only where something has to be measured.
        notify: Called with one line of text before anything is measured.

    Raises:
        HcbenchError: What `make_plan` raises, or the reference does not train, cannot run here or cannot be measured.
    """
    run = resolved.run
    if run.effort != COMPUTE or not run.methods:
        return make_plan(resolved, registry, machine)
    reference = _reference(registry, run.effort_reference)
    names = tuple(dict.fromkeys((*run.methods, reference)))
    # Controls cost nothing and evaluations do not matter here.
    sketch = replace(run, methods=names, controls=False, seeds=(CANONICAL_SEED,), effort="images")
    cells = [cell for cell in make_plan(replace(resolved, run=sketch), registry, machine).cells if cell.images_seen]
    for cell in cells:
        if cell.method == reference and cell.skip:  # known before anything is measured
            raise _unusable(reference, cell.skip)
    costs = measure(cells, Workspace(workspace), notify)
    equal = EqualCompute(cells, costs, reference)
    matrix = make_plan(resolved, registry, machine, effort=equal)
    planned = {cell.fingerprint: equal.flops(cell) for cell in matrix.cells if cell.images_seen and not cell.skip}
    return replace(matrix, flops=planned)


class EqualCompute:
    """Gives each cell the images seen that cost what the reference costs.

    Args:
        cells: One cell of every kind under the equal-images rule, the reference's among them.
        costs: Of each kind that is not skipped, see `kind`.
        reference: Name of the reference method.

    Raises:
        ConfigError: The reference cannot run in one of the groups that are compared, or was not measured.
    """

    def __init__(self, cells: Iterable[Cell], costs: Mapping[str, Cost], reference: str) -> None:
        self.costs = costs
        self.references: dict[str, Cell] = {}
        for cell in cells:
            if cell.method == reference:
                self.references.setdefault(comparison_group(cell), cell)
        for cell in self.references.values():
            reason = cell.skip or costs[kind(cell)].reason
            if reason:
                raise _unusable(reference, reason)

    def __call__(self, cell: Cell) -> Cell:
        """The cell with its own images seen; skipped where its cost is not known."""
        cell = replace(cell, effort=COMPUTE)
        if cell.skip:
            return cell
        cost, reference = self.costs[kind(cell)], self.references[comparison_group(cell)]
        if cost.reason:
            return replace(cell, skip=f"its FLOPs could not be measured: {cost.reason}")
        if kind(cell) == kind(reference):
            return cell
        batch = cell.pretrain.groups_per_batch * cell.pretrain.images_per_group
        batches = round(self.flops(reference) / cost.flops / batch)
        return replace(cell, images_seen=max(1, batches) * batch)

    def flops(self, cell: Cell) -> float:
        """What the training of a cell costs; images seen are drawn in whole groups."""
        group = cell.pretrain.images_per_group
        return self.costs[kind(cell)].flops * (cell.images_seen // group * group)


def kind(cell: Cell) -> str:
    """Cells of one kind cost the same per image: everything but the seed and the images seen decides."""
    settings = (cell.method, cell.method_config, cell.backbone, asdict(cell.corpus), cell.budget_images)
    return digest({"settings": settings, "pretrain": asdict(cell.pretrain)})


def comparison_group(cell: Cell) -> str:
    """Cells of one group are compared with each other: they share the budget and everything but method and layout."""
    settings = (cell.budget, cell.backbone, asdict(replace(cell.corpus, layout=None)))
    return digest({"settings": settings, "pretrain": asdict(cell.pretrain)})


def measure(cells: Iterable[Cell], place: Workspace, notify: Callable[[str], None]) -> dict[str, Cost]:
    """The cost of every cell that can run, by kind: from the workspace's cache, else measured in a process.

    What cannot be measured is not kept, and tried again by the next plan.
    """
    todo = {kind(cell): cell for cell in cells if not cell.skip}
    known = {name: file for name, cell in todo.items() if (file := _file(place, cell)).is_file()}
    costs = {name: Cost(float(read_json(file)["flops_per_image"])) for name, file in known.items()}
    missing = [cell for name, cell in todo.items() if name not in costs]
    if missing:
        methods = ", ".join(dict.fromkeys(cell.method for cell in missing))
        notify(f"Measuring FLOPs per image of {methods} (one step of each stage) ...")
        place.make()
        costs |= _measure(missing, place)
    return costs


def _measure(cells: list[Cell], place: Workspace) -> dict[str, Cost]:
    costs: dict[str, Cost] = {}
    with tempfile.TemporaryDirectory(prefix="hcbench-flops-") as folder:
        for cell in cells:
            job = Job(cell=cell, evaluations=(), folder=Path(folder) / cell.fingerprint, cache=place.cache)
            job.folder.mkdir()
            costs[kind(cell)] = cost = _measured(job)
            if cost.reason:
                logger.warning("%s: its FLOPs could not be measured: %s", cell.title, cost.reason)
            else:
                file = _file(place, cell)
                file.parent.mkdir(parents=True, exist_ok=True)
                write_json(file, {"flops_per_image": cost.flops, "method": cell.method, "budget": cell.budget})
    return costs


def _measured(job: Job) -> Cost:
    """Run the process of one cell: a method that breaks or crashes takes no other along."""
    with (job.folder / LOG).open("wb") as log:
        code = subprocess.run(
            [sys.executable, "-P", "-m", "hcbench.harness.forecast.flops", str(job.write())],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=worker_environment(usable_cores()), check=False,
        ).returncode  # fmt: skip
    answer = job.folder / FLOPS
    if not answer.is_file():
        return Cost(reason=classify_exit(code)[1])
    found = read_json(answer)
    return Cost(float(found["flops_per_image"]), str(found["reason"]))


def _file(place: Workspace, cell: Cell) -> Path:
    """Where a cost is kept; the fingerprint holds the code, so that a changed method is measured anew."""
    return place.cache / "flops" / f"{cell.fingerprint}.json"


def _unusable(reference: str, reason: str) -> ConfigError:
    return ConfigError(
        f"Equal compute is measured against {reference}, which cannot be measured here: {reason}.",
        "Name another method: --set run.effort_reference=mae",
    )


def _reference(registry: Registry, name: str) -> str:
    card = registry.method(name)
    if not card.trains:
        raise ConfigError(
            f"run.effort_reference is {card.name}, which does not train and so costs nothing.",
            "Name a method that trains, such as stablerep or mae.",
        )
    return card.name
