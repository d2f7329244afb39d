"""Executors by name: the page docs/add-an-executor.md, run; and what is said where one does not fit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hcbench.errors import ConfigError, HcbenchError
from hcbench.harness.cli.main import app
from hcbench.harness.jobs.events import CellFinished, CellProgress, CellStarted
from hcbench.harness.jobs.executors.base import DEFAULT_EXECUTOR, ExecutorSettings, open_executor
from hcbench.harness.jobs.executors.local import LocalExecutor
from hcbench.harness.planning.registry import load_registry
from hcbench.harness.running.run import run_matrix

PAGE = (Path(__file__).parents[4] / "docs" / "add-an-executor.md").read_text(encoding="utf-8")
POLITE = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]  # type: ignore[index]
DUMMIES = Path(__file__).parents[2] / "dummies.py"
SETTINGS = ExecutorSettings(workers=1, threads=1)


@pytest.fixture
def polite(tmp_path, monkeypatch, registry):
    """The page's file beside the plugins that are there, as `--plugin` hands them to workers."""
    path = tmp_path / "polite.py"
    path.write_text(POLITE)
    monkeypatch.setenv("HCBENCH_PLUGINS", f"{DUMMIES}:{path}")
    return path


def test_the_default_is_registered_and_local():
    registry = load_registry(())
    assert list(registry.executors) == [DEFAULT_EXECUTOR]
    executor = open_executor(registry, DEFAULT_EXECUTOR, SETTINGS)
    assert isinstance(executor, LocalExecutor)
    assert executor.settings is SETTINGS


def test_the_executor_of_the_page_runs_a_matrix(polite, tmp_path, make_cell, make_matrix):
    seen = []
    matrix = make_matrix([make_cell("dummy-plain"), make_cell("dummy-plain", seed=1)])
    outcome = run_matrix(matrix, workspace=tmp_path / "ws", executor="polite", workers=2, listener=seen.append)
    assert outcome.ok
    order = [(type(event), event.cell) for event in seen if isinstance(event, CellStarted | CellFinished)]
    first, second = (cell.fingerprint for cell in matrix.cells)
    assert order == [(CellStarted, first), (CellFinished, first), (CellStarted, second), (CellFinished, second)]
    assert any(isinstance(event, CellProgress) for event in seen)
    again = run_matrix(matrix, workspace=tmp_path / "ws", listener=seen.append)
    assert all(cell.cached for cell in again.cells.values()), "what runs a cell is no part of its fingerprint"


def test_a_worker_that_dies_is_a_failed_cell_and_stops_no_other(polite, tmp_path, make_cell, make_matrix):
    matrix = make_matrix([make_cell("dummy-plain"), make_cell("dummy-plain", seed=1)], ("dummy-deadly",))
    outcome = run_matrix(matrix, workspace=tmp_path / "ws", executor="polite")
    assert {one.status for one in outcome.evaluations.values()} == {"failed"}
    assert len(outcome.evaluations) == 2


def test_an_unknown_name_is_told_before_anything_is_made(tmp_path, make_matrix):
    with pytest.raises(ConfigError, match="No executor is called 'locl'") as caught:
        run_matrix(make_matrix([]), workspace=tmp_path / "ws", executor="locl")
    assert "Did you mean 'local'" in caught.value.hint
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("class Polite(Executor):", "class Polite:", "is implemented by Polite, which is no Executor"),
        ('implementation="polite:Polite"', 'implementation="polite:Polit"', "which cannot be imported"),
        ("def run(self", "def start(self", "abstract method 'run'"),
    ],
)
def test_a_class_that_is_no_executor_is_explained(tmp_path, before, after, message):
    path = tmp_path / "polite.py"
    path.write_text(POLITE.replace(before, after))
    with pytest.raises(HcbenchError, match=message):
        open_executor(load_registry([path]), "polite", SETTINGS)


def test_the_command_line_lists_and_takes_it(polite, tmp_path):
    runner = CliRunner()
    listed = runner.invoke(app, ["list", "executors", "--plugin", str(polite)])
    assert "polite" in listed.output
    assert "Processes of this machine" in listed.output
    for command in ("run", "plan", "evaluate", "tune"):
        assert "--executor" in runner.invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output, command
