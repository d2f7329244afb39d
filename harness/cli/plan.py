"""The screen of a plan: cells, what is known of them, and what the rest will take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
from rich.console import Console
from rich.text import Text

from hcbench.benchmarks.card import FINETUNE, ZERO_SHOT
from hcbench.harness.cli.progress import clock
from hcbench.harness.cli.tables import plain_table
from hcbench.harness.forecast.estimate import CostEstimate, Forecast, Measured, estimate, read_measured
from hcbench.harness.jobs.executors.base import DEFAULT_EXECUTOR
from hcbench.harness.jobs.worker_process import default_workers
from hcbench.harness.planning.cell import Cell, Matrix
from hcbench.harness.planning.machine import usable_cores
from hcbench.harness.store.workspace import Workspace
from hcbench.reports.statistics.advice import seed_advice

Seeds = dict[tuple[str, str, str], set[int]]
"""Seeds of stored cells by method, budget and backbone."""

_MOST_ROWS = 60
_TODO = {"missing": "", "cached": "cyan", "to score": "", "skipped": "yellow"}


def show_plan(
    console: Console,
    matrix: Matrix,
    workspace: Path,
    tracking_uri: str | None,
    workers: int | None,
    *,
    fresh: bool = False,
    measure: bool = False,
    executor: str = DEFAULT_EXECUTOR,
) -> None:
    """The cells of a matrix, what is known of them, and what the rest will take; `measure` trains probes first."""
    known, measured, seeds = _known(workspace, tracking_uri)
    done = set() if fresh else known
    missing = [cell for cell in matrix.cells if _state(cell, matrix, done) in ("missing", "to score")]
    count = workers or default_workers(max(1, len(missing)), usable_cores(), psutil.virtual_memory().available)
    if measure:
        untrained = [cell for cell in missing if _state(cell, matrix, done) == "missing" and cell.images_seen]
        measured = measured.updated(_probed(console, untrained, count, executor)) if untrained else measured
    cost = estimate(matrix, done, measured, workers=count)
    _print_cells(console, matrix, done, cost)
    _print_cost(console, matrix, done, cost)
    _print_seed_advice(console, matrix, seeds)


def advise_on_seeds(console: Console, matrix: Matrix, workspace: Path, tracking_uri: str | None) -> None:
    """Say before a run how many seeds would make its columns speak; nothing where they will."""
    if next(_seed_advice(matrix, {}), None) is not None:  # the store may have further seeds
        _print_seed_advice(console, matrix, _known(workspace, tracking_uri)[2])


def _print_seed_advice(console: Console, matrix: Matrix, stored: Seeds) -> None:
    for advice in _seed_advice(matrix, stored):
        console.print(Text(advice, style="yellow"), soft_wrap=True)


def _known(workspace: Path, tracking_uri: str | None) -> tuple[set[str], Measured, Seeds]:
    """Fingerprints of what is done, what it cost, and which seeds there are; nothing where there is no store yet."""
    place = Workspace(workspace)
    if tracking_uri is None and not place.database.is_file():
        return set(), Measured(), {}
    from hcbench.harness.store.mlflow_store import Tracker
    from hcbench.harness.store.results import finished

    known = finished(Tracker(place, tracking_uri))
    settled = {*known.cells, *known.evaluations, *known.skipped}
    seeds: Seeds = {}
    for record in known.cells.values():
        if "tuning" not in record.tags:
            row = (record.params["method"], record.params["budget"], record.params["backbone"])
            seeds.setdefault(row, set()).add(int(record.params["seed"]))
    return settled, read_measured(known.cells.values(), known.evaluations.values()), seeds


def _seed_advice(matrix: Matrix, stored: Seeds) -> Iterator[str]:
    """For each budget at which no trained method would have two seeds, how many would make its columns speak."""
    rows: dict[str, dict[tuple[str, ...], set[int]]] = {}
    for cell in matrix.cells:
        if cell.budget_images and not cell.skip and not cell.tuning:
            seeds = rows.setdefault(cell.budget, {}).setdefault(_row(cell), set())
            seeds |= {cell.seed} | stored.get((cell.method, cell.budget, cell.backbone), set())
    advice = {budget: seed_advice([len(seeds) for seeds in found.values()]) for budget, found in rows.items()}
    silent = [budget for budget, text in advice.items() if text]
    if silent and len(silent) == len(rows):
        yield advice[silent[0]]
    else:
        yield from (f"At {budget}: {advice[budget]}" for budget in silent)


def _row(cell: Cell) -> tuple[str, ...]:
    """What cells of one row of a table share: everything but the seed."""
    return cell.method, cell.backbone, str(cell.corpus), str(cell.pretrain), str(cell.method_config)


def _probed(console: Console, cells: list[Cell], workers: int, executor: str) -> Measured:
    """What a few steps of each kind of cell tell; failures are shown, since the run would meet them too."""
    from hcbench.harness.forecast.probe import STEPS, probe

    console.print(f"Measuring {STEPS} steps of each kind of cell ...")
    measured, failures = probe(cells, workers=workers, executor=executor)
    for failure in failures:
        console.print(failure, style="yellow", soft_wrap=True)
    return measured


def _state(cell: Cell, matrix: Matrix, done: set[str]) -> str:
    if cell.skip:
        return "skipped"
    scored = all(one.fingerprint in done for one in matrix.evaluations[cell.fingerprint])
    if cell.fingerprint in done:
        return "cached" if scored else "to score"
    return "missing"


def _print_cells(console: Console, matrix: Matrix, done: set[str], cost: CostEstimate) -> None:
    costs = ("FLOPs",) if matrix.flops else ()
    columns = ("cell", "method", "budget", "stored", "seen", *costs, "seed", "backbone", "state", "time")
    table = plain_table(*columns, right=("stored", "seen", *costs, "seed", "time"), unbroken=columns)
    for cell in matrix.cells[:_MOST_ROWS]:
        state = _state(cell, matrix, done)
        left = "" if state in ("cached", "skipped") else _time(cost.cells.get(cell.fingerprint))
        images = [f"{number:,}" if number else "-" for number in (cell.budget_images, cell.images_seen)]
        images += [_flops(matrix.flops.get(cell.fingerprint))] if costs else []
        names = [cell.fingerprint[:8], cell.method, cell.budget, *images, str(cell.seed), cell.backbone]
        table.add_row(*names, Text(state, style=_TODO[state]), left)
    console.print(table)
    if len(matrix.cells) > _MOST_ROWS:
        console.print(f"... and {len(matrix.cells) - _MOST_ROWS} more cells")
    for words in _special(matrix):
        console.print(Text(words, style="dim"), soft_wrap=True)
    for reason in dict.fromkeys(f"{cell.method} is skipped: {cell.skip}" for cell in matrix.cells if cell.skip):
        console.print(Text(reason, style="yellow"), soft_wrap=True)
    for cell in matrix.cells:
        if cell.compute_limited and not cell.tuning:  # trials are short by design
            words = f"{cell.title} is compute-limited ({cell.images_seen / cell.budget_images:.1f} passes)"
            console.print(f"{words}; it stays out of budget curves", style="yellow", soft_wrap=True)


def _special(matrix: Matrix) -> Iterator[str]:
    """What is not usual about the evaluations of a method: knobs of its encoder, and protocols without a head."""
    for method in dict.fromkeys(cell.method for cell in matrix.cells):
        cells = [cell.fingerprint for cell in matrix.cells if cell.method == method]
        several = [one for name in cells for one in matrix.evaluations[name]]
        for knob in dict.fromkeys(name for one in several for name in one.knobs):
            values: dict[str, set[float]] = {}
            for one in several:
                if knob in one.knobs:  # a variant of the method may have no such knob
                    values.setdefault(one.benchmark, set()).add(one.knobs[knob])
            at: dict[str, list[str]] = {}
            for benchmark, found in values.items():
                at.setdefault(", ".join(f"{value:g}" for value in sorted(found)), []).append(benchmark)
            listing = "; ".join(f"{points} ({', '.join(names)})" for points, names in at.items())
            yield f"{method} is scored at {knob} {listing}: one checkpoint, features anew for each value"
        zero_shot = dict.fromkeys(one.benchmark for one in several if one.protocol == ZERO_SHOT)
        if zero_shot:
            yield f"{method} is scored zero-shot on {', '.join(zero_shot)}"
    everything = [one for several in matrix.evaluations.values() for one in several]
    across = dict.fromkeys(f"{one.benchmark} ({one.data_label})" for one in everything if one.test_on)
    if across:
        yield f"heads are scored on other data than their own: {', '.join(across)}"
    changed = dict.fromkeys(
        f"{one.benchmark} {one.protocol_label}"
        for one in everything
        if one.protocol_label not in (one.protocol, f"{one.protocol}, {one.config.get('recipe')} recipe")
    )
    if changed:
        yield f"columns of their own: {'; '.join(changed)}"
    tuned = [(one.benchmark, str(one.config["recipe"])) for one in everything if one.protocol == FINETUNE]
    if tuned:
        names, recipes = (", ".join(dict.fromkeys(words)) for words in zip(*tuned, strict=True))
        yield f"every encoder is fine-tuned for {names} (recipe {recipes}), which costs far more than a frozen head"


def _flops(value: float | None) -> str:
    """Operations of a training in tera, three digits or more."""
    return "-" if value is None else f"{value / 1e12:.4g} T"


def _print_cost(console: Console, matrix: Matrix, done: set[str], cost: CostEstimate) -> None:
    states = Counter(_state(cell, matrix, done) for cell in matrix.cells)
    evaluations = [one.fingerprint for several in matrix.evaluations.values() for one in several]
    known = sum(name in done for name in evaluations)
    precision = ", ".join(sorted({cell.pretrain.precision for cell in matrix.cells}))
    console.print(
        f"{len(matrix.cells)} cells: {counted(states)}; {len(evaluations)} evaluations, {known} cached; {precision}"
    )
    if cost.seconds == 0:
        console.print("Everything is known: nothing would be computed.")
        return
    basis = "measured here" if _all_measured(cost.cells.values()) else "a rough guess from another machine's throughput"
    time = "unknown for a backbone that was never run" if cost.seconds is None else f"about {clock(cost.seconds)}"
    console.print(
        f"Time: {time} with {cost.workers} workers ({basis}); "
        f"disk: {cost.disk_bytes / 1e9:.2f} GB; memory: {cost.memory_bytes / 1e9:.1f} GB",
        soft_wrap=True,
    )


def _all_measured(forecasts: Iterable[Forecast]) -> bool:
    return all(forecast.measured for forecast in forecasts if forecast.seconds != 0)


def _time(forecast: Forecast | None) -> str:
    if forecast is None or forecast.seconds is None:
        return "?"
    return clock(forecast.seconds) if forecast.measured else f"~{clock(forecast.seconds)}"


def counted(counts: Counter[str]) -> str:
    """Numbers with their names."""
    return ", ".join(f"{number} {name}" for name, number in counts.items())
