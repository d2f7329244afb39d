from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hcbench.errors import CacheError
from hcbench.harness.cli.cell import find_cell, show_cell
from hcbench.harness.cli.plan import show_plan
from hcbench.harness.cli.progress import clock
from hcbench.harness.forecast.estimate import SECONDS_OF_FEATURES
from hcbench.harness.planning.cell import Matrix
from hcbench.harness.planning.config import Override, resolve
from hcbench.harness.planning.machine import Machine
from hcbench.harness.planning.plan import make_plan
from hcbench.harness.planning.registry import load_registry
from hcbench.harness.store.import_cell import cell_params
from hcbench.harness.store.mlflow_store import CELL, EVALUATION, StoredRun, Tracker
from hcbench.harness.store.store_access import open_store, store_address
from hcbench.harness.store.workspace import Workspace


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    registry = load_registry(())
    options = [Override("run.methods", "stablerep,mae", "test"), Override("run.benchmarks", "reid,pose", "test")]
    return make_plan(resolve(registry, options), registry, Machine(cuda=False, bf16=False, cores=2))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, matrix: Matrix) -> Path:
    """A workspace in which StableRep is wholly known, and MAE's checkpoint."""
    root = tmp_path_factory.mktemp("workspace")
    place = Workspace(root)
    place.make()
    tracker = Tracker(place)
    for cell in matrix.cells:
        if cell.method not in ("stablerep", "mae"):
            continue
        run = tracker.write(
            StoredRun(
                kind=CELL, fingerprint=cell.fingerprint, name=cell.title, params=cell_params(cell),
                metrics={"ledger.images_per_s": 100.0, "ledger.peak_memory_bytes": 2e9, "diagnostics.rank": 7.5},
                tags={"status": "done", "reason": "", "warnings": json.dumps(["[loss] is flat"])},
            )
        )  # fmt: skip
        if cell.method == "mae":
            continue
        folder = place.cell(cell.fingerprint)
        folder.mkdir(parents=True)
        (folder / "log.txt").write_text("\n".join(f"line {number}" for number in range(100)) + "\n" + "x" * 500 + "\n")
        record = folder / "record.json"
        record.write_text(json.dumps({"record": {}, "chosen": {"readout": "mean", "trials": [{"a": 1}, {"a": 2}]}}))
        for one in matrix.evaluations[cell.fingerprint]:
            params = {"benchmark": one.benchmark, "version": "1", "data": "people", "protocol": "frozen"}
            tracker.write(
                StoredRun(
                    kind=EVALUATION, fingerprint=one.fingerprint, name=one.benchmark, parent=run,
                    params={**params, **{f"evaluate.{key}": value for key, value in one.config.items()}},
                    metrics={"mAP": 0.25}, artifacts=[record],
                    tags={"status": "done", "reason": "", "cell": cell.fingerprint, "seconds": "60"},
                )
            )  # fmt: skip
    return root


def screen(call: Any, *args: Any, **named: Any) -> str:
    console = Console(file=io.StringIO(), width=140, markup=False)
    call(console, *args, **named)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def rows(text: str) -> dict[str, str]:
    return {line.split()[1]: line for line in text.splitlines() if len(line.split()) > 5}


def test_show_tells_everything_about_a_cell(store: Path) -> None:
    text = screen(show_cell, "stablerep", store, None)
    for part in (
        "stablerep 1pct seed 0", "done", "warning: [loss] is flat", "pretrain.lr", "stablerep.temperature",
        "images_per_s", "Diagnostics", "7.5", "reid 1 on people, frozen", "mAP 0.2500", "readout mean",
        "2 trials behind it", "checkpoint: not on this machine", "line 99",
    ):  # fmt: skip
        assert part in text, part
    assert "line 80" not in text, "the end of the log alone"
    assert "x" * 200 not in text, "long lines are cut"


def test_show_says_where_nothing_was_scored(store: Path) -> None:
    assert "No evaluation yet." in screen(show_cell, "mae", store, None)


def test_cells_are_found_by_what_names_them(store: Path, matrix: Matrix) -> None:
    cells = open_store(store, None).records(CELL)
    wanted = next(cell for cell in matrix.cells if cell.method == "mae").fingerprint
    for name in (wanted, wanted[:8], "mae", "mae 1pct seed 0"):
        assert find_cell(cells, name).fingerprint == wanted
    with pytest.raises(CacheError, match=r"(?s)2 cells are called '1pct'.*stablerep.*mae|mae.*stablerep"):
        find_cell(cells, "1pct")
    with pytest.raises(CacheError, match=r"(?s)No cell is called 'hap'.*There are:.*mae 1pct seed 0"):
        find_cell(cells, "hap")
    with pytest.raises(CacheError, match="store is empty"):
        find_cell([], "")


def test_plans_know_what_the_store_knows(store: Path, matrix: Matrix) -> None:
    text = screen(show_plan, matrix, store, None, 1)
    found = rows(text)
    assert "cached" in found["stablerep"]
    assert "to score" in found["mae"]
    assert "missing" in found["random"]
    assert "5 cells: 3 missing, 1 cached, 1 to score; 10 evaluations, 2 cached; fp32" in text
    told = clock(2 * 60 + 2 * SECONDS_OF_FEATURES)  # one evaluation of each regime
    assert told in found["mae"], "two evaluations as measured, and the features"
    assert "~" not in found["mae"]


def test_plans_tell_what_is_not_usual_about_evaluations(tmp_path: Path) -> None:
    registry = load_registry(())
    options = [Override("run.methods", "solider,plip", "test"), Override("run.benchmarks", "reid,text-reid", "test")]
    resolved = resolve(registry, options, sets=["evaluate.lambda=0,none"])
    text = screen(show_plan, make_plan(resolved, registry, Machine(cuda=False, bf16=False, cores=2)), tmp_path, None, 1)
    assert "solider is scored at lambda 0, 0.2 (reid, text-reid): one checkpoint" in text
    assert "plip is scored zero-shot on text-reid" in text
    assert "13 evaluations" in text, "two each, one more zero-shot, solider at two lambdas"
    resolved = resolve(registry, options, sets=["evaluate.lambda=0,1", "solider.semantic_loss=1,0"])
    text = screen(show_plan, make_plan(resolved, registry, Machine(cuda=False, bf16=False, cores=2)), tmp_path, None, 1)
    assert "solider is scored at lambda 0, 1 (reid, text-reid)" in text, "and once without it, where nothing taught it"


def test_show_names_knobs_and_figures(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    place.make()
    tracker = Tracker(place)
    registry = load_registry(())
    options = [Override("run.methods", "solider", "test"), Override("run.benchmarks", "reid", "test")]
    cell = make_plan(resolve(registry, options), registry, Machine(cuda=False, bf16=False, cores=2)).cells[-1]
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "parts.png").touch()
    run = tracker.write(
        StoredRun(
            kind=CELL, fingerprint=cell.fingerprint, name=cell.title, params=cell_params(cell), metrics={},
            tags={"status": "done"}, artifacts=[tmp_path / "figures"],
        )
    )  # fmt: skip
    params = {"benchmark": "reid", "version": "1", "data": "people", "protocol": "frozen"}
    params |= {"evaluate.scale": "1.0", "evaluate.lambda": "0.2"}
    tags = {"status": "done", "cell": cell.fingerprint}
    record = StoredRun(kind=EVALUATION, fingerprint="e", name="reid", parent=run, params=params, metrics={}, tags=tags)
    tracker.write(record)
    text = screen(show_cell, "solider", tmp_path, None)
    assert "reid 1 on people, frozen, lambda 0.2" in text
    assert text.count("parts.png") == 1


def test_fresh_forgets_for_the_plan(store: Path, matrix: Matrix) -> None:
    text = screen(show_plan, matrix, store, None, 1, fresh=True)
    assert "5 missing" in text
    seconds = 36_000 / 100 + 2 * 60 + 2 * SECONDS_OF_FEATURES
    assert clock(seconds) in rows(text)["mae"]


def test_a_missing_store_is_no_new_store(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="holds no results"):
        store_address(tmp_path / "ws")
    with pytest.raises(CacheError, match="holds no results"):
        open_store(tmp_path / "ws", None)
    assert list(tmp_path.iterdir()) == []
