"""What a matrix will cost: time, disk, memory; from what the workspace has measured, else from a table.

Estimates are for the eye: no result depends on one. A cell's cost is looked up by method, backbone, input size and
precision among the ledgers of the workspace; where there is none, `IMAGES_PER_S` is scaled by encoder cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from hcbench.benchmarks.card import FINETUNE
from hcbench.benchmarks.recipes import read_recipe
from hcbench.harness.planning.cell import Cell, Evaluation, Matrix
from hcbench.harness.scoring.benchmark_data import regime

if TYPE_CHECKING:
    from hcbench.harness.store.mlflow_store import StoredRun

# Measured with one thread on an AVX2 processor without bf16, with other work beside: vit-mini16, 128x64, fp32, the
# cpu recipe, per second of processor time. Only the order of magnitude carries over to another machine.
# dino to supervised were measured on another day, beside stablerep, and are scaled to its 75.
IMAGES_PER_S = {
    "genpoccl": 37.0, "hap": 60.0, "mae": 150.0, "simclr": 45.0, "stablerep": 75.0,
    "dino": 20.5, "solider": 17.0, "plip": 19.5, "gan-invariance": 11.0, "supervised": 75.0,
}  # fmt: skip
"""Images seen per second of training."""

OTHER_IMAGES_PER_S = 60.0
"""For methods that nobody has measured yet."""

SECONDS_PER_EVALUATION = {"attributes": 10.0, "parsing": 20.0, "pose": 25.0, "reid": 4.0, "text-reid": 35.0}
"""One benchmark on one cell at scale 1, without features."""

SECONDS_OF_FEATURES = 15.0
"""Features of the people benchmark, once per cell and regime (`harness/scoring/benchmark_data.py`)."""

RENDERED_PER_S = 275.0
"""Images of the people corpus that one core renders per second."""

TRAINING_IMAGES = 4_000
"""Images of the people benchmark's training split at scale 1."""

BENCHMARK_IMAGES = 7_900
"""Images of the people benchmark's three splits at scale 1, in one regime."""

MEMORY_PER_CELL = 1.7e9
"""Bytes of one training process at the cpu profile."""

BF16_SPEED_UP = 1.8
"""Of processors that multiply in bf16, and so reach it at all."""

RELATIVE_COST = {
    "vit-mini16": 1.0,
    "vit-mini16-hmlp": 1.1,
    "vit-mini16-stem": 1.6,
    "vit-mini16-res": 1.0,
    "vit-mini8": 1.3,
    "swin-mini": 2.0,
    "vit_tiny_patch16_224": 2.0,
    "vit_small_patch16_224": 7.7,
    "vit_base_patch16_224": 30.0,
    "resnet18": 4.5,
    "resnet50": 10.0,
}
"""Multiplications of an encoder at equal input size, in units of vit-mini16's."""

_PIXELS = 128 * 64
_BYTES_PER_PIXEL = 4
"""Three colours and the part mask."""
_CHECKPOINT_BYTES = 12e6
_CELL_KEY = ("method", "backbone", "pretrain.height", "pretrain.width", "pretrain.precision")
_EVALUATION_KEY = ("benchmark", "data", "protocol", "split", "evaluate.scale", "evaluate.epochs")


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a cell will take.

    Attributes:
        seconds: Seconds of one process for what is missing of it; None where nothing is known of the backbone.
        measured: Whether it rests on the workspace's own ledgers.
    """

    seconds: float | None
    measured: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class CostEstimate:
    """What a matrix will take.

    Attributes:
        cells: Forecasts by cell fingerprint.
        seconds: Wall seconds with `workers` processes; None where a cell's is not known.
        disk_bytes: Pixels and checkpoints to be written.
        memory_bytes: Of all processes together.
        workers: Processes side by side.
    """

    cells: Mapping[str, Forecast]
    seconds: float | None
    disk_bytes: float
    memory_bytes: float
    workers: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What the workspace's ledgers say: medians by kind of cell or evaluation."""

    images_per_s: Mapping[tuple[Any, ...], float] = field(default_factory=dict)
    memory: Mapping[tuple[Any, ...], float] = field(default_factory=dict)
    evaluation_s: Mapping[tuple[Any, ...], float] = field(default_factory=dict)

    def updated(self, other: Measured) -> Measured:
        """These numbers with `other`'s in their place where it has some."""
        return Measured(
            {**self.images_per_s, **other.images_per_s},
            {**self.memory, **other.memory},
            {**self.evaluation_s, **other.evaluation_s},
        )


def read_measured(cells: Iterable[StoredRun], evaluations: Iterable[StoredRun]) -> Measured:
    """Medians over what a store holds.

    Args:
        cells: Finished cells with their ledgers.
        evaluations: Finished evaluations.
    """
    speeds: dict[tuple[Any, ...], list[float]] = {}
    memory: dict[tuple[Any, ...], list[float]] = {}
    scores: dict[tuple[Any, ...], list[float]] = {}
    for record in cells:
        key = tuple(record.params.get(name, "") for name in _CELL_KEY)
        for table, name in ((speeds, "ledger.images_per_s"), (memory, "ledger.peak_memory_bytes")):
            if record.metrics.get(name, 0) > 0:
                table.setdefault(key, []).append(record.metrics[name])
    for record in evaluations:
        if seconds := record.tags.get("seconds", ""):
            params = {"split": "test", **record.params}  # older stores do not say it
            key = tuple(params.get(name, "") for name in _EVALUATION_KEY)
            scores.setdefault(key, []).append(float(seconds))
    return Measured(*({key: median(values) for key, values in table.items()} for table in (speeds, memory, scores)))


def estimate(
    matrix: Matrix, known: Iterable[str], measured: Measured, *, workers: int, height: int = 128, width: int = 64
) -> CostEstimate:
    """What is still to do of a matrix, and what it takes.

    Args:
        matrix: The plan.
        known: Fingerprints of cells and evaluations that are done.
        measured: What the workspace knows.
        workers: Processes side by side.
        height: Input height of the benchmarks' images, pixels.
        width: Input width, pixels.
    """
    done = frozenset(known)
    forecasts = {cell.fingerprint: _forecast(cell, matrix.evaluations[cell.fingerprint], done, measured)
                 for cell in matrix.cells if not cell.skip}  # fmt: skip
    todo = [cell for cell in matrix.cells if not cell.skip and cell.fingerprint not in done]
    seconds = [forecast.seconds for forecast in forecasts.values()]
    working = any(value is None or value > 0 for value in seconds)
    stored = {(cell.corpus, cell.seed): 0 for cell in todo}
    for cell in todo:  # budgets are nested: the largest one holds the others
        key = (cell.corpus, cell.seed)
        stored[key] = max(stored[key], cell.budget_images)
    scored = _regimes([one for several in matrix.evaluations.values() for one in several])
    images = sum(stored.values()) + (BENCHMARK_IMAGES * scored if working else 0)
    known_seconds = [value for value in seconds if value is not None]
    wall = None
    if len(known_seconds) == len(seconds):
        wall = max([sum(known_seconds) / workers, *known_seconds], default=0.0) + images / RENDERED_PER_S / workers
    peaks = sorted((_memory(cell, measured) for cell in todo), reverse=True)[:workers]
    return CostEstimate(
        cells=forecasts,
        seconds=wall if working else 0.0,
        disk_bytes=images * height * width * _BYTES_PER_PIXEL + _CHECKPOINT_BYTES * len(todo) if working else 0.0,
        memory_bytes=sum(peaks),
        workers=workers,
    )


def _forecast(cell: Cell, evaluations: Iterable[Evaluation], done: frozenset[str], measured: Measured) -> Forecast:
    seconds, from_ledger = 0.0, True
    if cell.fingerprint not in done and cell.images_seen:
        speed = measured.images_per_s.get(cell_key(cell))
        from_ledger = speed is not None
        speed = speed if speed is not None else _default_speed(cell)
        if speed is None:
            return Forecast(None, False)
        seconds += cell.images_seen / speed
    missing = [evaluation for evaluation in evaluations if evaluation.fingerprint not in done]
    for evaluation in missing:
        found = measured.evaluation_s.get(_evaluation_key(evaluation))
        from_ledger = from_ledger and found is not None
        seconds += _default_seconds(evaluation, cell) if found is None else found
    if missing:
        scale = max(float(evaluation.config["scale"]) for evaluation in missing)
        seconds += SECONDS_OF_FEATURES * _regimes(missing) * scale * (_relative_cost(cell) or 1.0)
    return Forecast(seconds, from_ledger)


def _regimes(evaluations: Sequence[Evaluation]) -> int:
    """How many sets of people the evaluations score: one per regime; at least one, whatever their data."""
    return max(1, len({regime(one.benchmark) for one in evaluations}))


def _default_seconds(evaluation: Evaluation, cell: Cell) -> float:
    """One benchmark on one cell that nobody has measured."""
    scale = float(evaluation.config["scale"])
    if evaluation.protocol != FINETUNE:
        return SECONDS_PER_EVALUATION.get(evaluation.benchmark, 20.0) * scale
    recipe = read_recipe(evaluation.benchmark, str(evaluation.config["recipe"]))
    images = recipe.epochs * len(recipe.lrs) * float(evaluation.config["epochs"]) * scale * TRAINING_IMAGES
    return images / IMAGES_PER_S["stablerep"] * (_relative_cost(cell) or 1.0)


def _default_speed(cell: Cell) -> float | None:
    cost = _relative_cost(cell)
    if cost is None:
        return None
    speed = IMAGES_PER_S.get(cell.method, OTHER_IMAGES_PER_S) / cost
    return speed * BF16_SPEED_UP if cell.pretrain.precision == "bf16" else speed


def _relative_cost(cell: Cell) -> float | None:
    cost = RELATIVE_COST.get(cell.backbone.removeprefix("timm:"))
    return None if cost is None else cost * cell.pretrain.height * cell.pretrain.width / _PIXELS


def _memory(cell: Cell, measured: Measured) -> float:
    found = measured.memory.get(cell_key(cell))
    if found:
        return found
    return MEMORY_PER_CELL * max(1.0, (_relative_cost(cell) or 1.0) / 4) if cell.images_seen else MEMORY_PER_CELL


def cell_key(cell: Cell) -> tuple[str, ...]:
    """The values of `_CELL_KEY`, as the store writes them."""
    pretrain = cell.pretrain
    return (cell.method, cell.backbone, str(pretrain.height), str(pretrain.width), pretrain.precision)


def _evaluation_key(evaluation: Evaluation) -> tuple[str, ...]:
    """The values of `_EVALUATION_KEY`, as the store writes them."""
    config = evaluation.config
    where = (evaluation.benchmark, evaluation.data_label, evaluation.protocol_label, evaluation.split)
    return (*where, str(config["scale"]), str(config["epochs"]))
