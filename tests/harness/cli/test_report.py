"""What a run prints and what a report prints of the same store: the same marks, whatever part is shown."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from hcbench.harness.cli.plan import show_plan
from hcbench.harness.cli.report import print_seed_spread, show_outcome, show_report
from hcbench.harness.planning.card_facts import benchmark_facts, method_facts
from hcbench.harness.planning.cell import Matrix
from hcbench.harness.planning.config import Override, resolve
from hcbench.harness.planning.machine import Machine
from hcbench.harness.planning.plan import make_plan
from hcbench.harness.planning.registry import load_registry
from hcbench.harness.running.run import Ending, RunOutcome
from hcbench.harness.store.import_cell import cell_params
from hcbench.harness.store.mlflow_store import CELL, EVALUATION, StoredRun, Tracker
from hcbench.harness.store.workspace import Workspace
from hcbench.reports.borrowed import read_spread

METHODS = "mae,simclr,solider"
LEVELS = {"mae": 0.30, "simclr": 0.40, "solider": 0.55, "random": 0.2, "pixels": 0.2, "histogram": 0.35}


def matrix_of(methods: str, seeds: str, **settings: str) -> Matrix:
    registry = load_registry(())
    options = {"methods": methods, "benchmarks": "reid", "seeds": seeds, **settings}
    resolved = resolve(registry, [Override(f"run.{name}", value, "test") for name, value in options.items()])
    return make_plan(resolved, registry, Machine(cuda=False, bf16=False, cores=2))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods and three controls at three seeds, one evaluation each, with made values."""
    root = tmp_path_factory.mktemp("workspace")
    place = Workspace(root)
    place.make()
    tracker, registry = Tracker(place), load_registry(())
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 0.01, 200)
    metric = next(metric for metric in benchmark_facts(registry, "reid").metrics if metric.main)
    for cell in matrix_of(METHODS, "0,1,2").cells:
        run = tracker.write(
            StoredRun(
                kind=CELL, fingerprint=cell.fingerprint, name=cell.title, params=cell_params(cell), metrics={},
                tags={**method_facts(registry, cell), "status": "done", "reason": "", "version": "1.0"},
            )
        )  # fmt: skip
        value = LEVELS[cell.method] + 0.002 * cell.seed * (cell.budget_images > 0)
        path = root / "replicates.parquet"
        pd.DataFrame({metric.name: value + shared + rng.normal(0, 0.003, 200)}).to_parquet(path)
        for one in matrix_of(METHODS, "0,1,2").evaluations[cell.fingerprint]:
            tags = {"status": "done", "reason": "", "cell": cell.fingerprint, "benchmark_title": "Person ReID"}
            tags |= {"config": json.dumps(one.settings), "metrics": json.dumps([asdict(metric)])}
            params = {"benchmark": one.benchmark, "version": one.version, "data": one.data_label}
            tracker.write(
                StoredRun(
                    kind=EVALUATION, fingerprint=one.fingerprint, name=one.benchmark, parent=run,
                    params={**params, "protocol": one.protocol_label, "split": "test"},
                    metrics={metric.name: value}, artifacts=[path], tags=tags,
                )
            )  # fmt: skip
    return root


def text_of(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def screen() -> Console:
    return Console(file=io.StringIO(), width=140, highlight=False, markup=False)


def after_a_run(store: Path, matrix: Matrix) -> str:
    console = screen()
    ended = RunOutcome(cells={cell.fingerprint: Ending(status="done", cached=True) for cell in matrix.cells})
    show_outcome(console, matrix, ended, store, None)
    return text_of(console)


def scores(text: str) -> dict[str, str]:
    """Line of each row of the first table, without room between its parts."""
    first = text[: text.index("Scores", text.index("Scores") + 1)] if text.count("Scores at") > 1 else text
    lines = [" ".join(line.split()) for line in first.splitlines()]
    return {line.split()[0]: line for line in lines if "±" in line and line[0].isupper() and "half-width" not in line}


def test_a_run_of_a_part_marks_its_rows_as_the_report_of_everything_does(store: Path) -> None:
    console = screen()
    show_report(console, store, None, ("terminal",), None, ())
    whole = scores(text_of(console))
    assert whole["SOLIDER"].endswith("★")
    for methods in ("mae", "solider", "mae,solider"):
        text = after_a_run(store, matrix_of(methods, "0,1,2"))
        part = scores(text)
        assert {name: whole[name] for name in part} == part
        assert set(part) == {{"mae": "MAE", "solider": "SOLIDER"}[m] for m in methods.split(",")} | {
            "Histogram", "Pixels", "Random",
        }  # fmt: skip
        hidden = 3 - len(methods.split(","))
        assert f"{hidden} more rows of the store compete for best and are not shown" in text
    assert "are not shown" not in after_a_run(store, matrix_of(METHODS, "0,1,2"))


def test_a_run_of_one_seed_is_judged_with_the_seeds_that_are_stored(store: Path) -> None:
    text = after_a_run(store, matrix_of(METHODS, "1"))
    assert scores(text)["SOLIDER"].endswith("★")
    assert "Mean over 3 seeds" in text


def test_plans_say_how_many_seeds_would_make_a_column_speak(store: Path, tmp_path: Path) -> None:
    def planned(workspace: Path, matrix: Matrix) -> str:
        console = screen()
        show_plan(console, matrix, workspace, None, 1)
        return text_of(console)

    advice = "One seed says nothing about methods: --seeds 0,1,2 for "
    assert f"{advice}two methods would make every column speak; the others may" in planned(
        tmp_path, matrix_of(METHODS, "0")
    )
    assert f"{advice}it would make every column speak. Three" in planned(tmp_path, matrix_of("mae", "0"))
    assert advice not in planned(tmp_path, matrix_of(METHODS, "0,1"))
    assert advice not in planned(store, matrix_of(METHODS, "7")), "three seeds are stored"
    two = matrix_of(METHODS, "0", budgets="0.1pct,1pct")
    assert planned(tmp_path, two).count(advice) == 1
    assert f"At 0.1pct: {advice}" in planned(store, two), "at 1pct they are"
    trials = replace(two, cells=tuple(replace(cell, tuning="trial 1") for cell in two.cells))
    assert advice not in planned(tmp_path, trials), "a search judges on validation, one seed each"


def test_the_seed_spread_of_a_store_becomes_a_file(store: Path, tmp_path: Path) -> None:
    console = screen()
    assert print_seed_spread(console, store) == 0
    (tmp_path / "cpu.yaml").write_text(text_of(console))
    found = read_spread(tmp_path / "cpu.yaml")
    ((key, pool),) = found.columns.items()
    assert (key[0], key[-1], pool.freedom) == ("reid", "1pct", 6.0)
    assert "MAE, SimCLR, SOLIDER, seeds 0, 1, 2, made by hcbench 1.0" in found.provenance
    console = screen()
    assert print_seed_spread(console, tmp_path / "nowhere") == 2
