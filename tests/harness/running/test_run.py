from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hcbench.errors import CacheError
from hcbench.harness.jobs import events
from hcbench.harness.jobs.worker_process import finished
from hcbench.harness.planning.config import Override, resolve
from hcbench.harness.planning.machine import Machine
from hcbench.harness.planning.plan import make_plan
from hcbench.harness.running import run, worker
from hcbench.harness.running.run import Ending, run_matrix
from hcbench.harness.scoring import evaluate
from hcbench.harness.store.mlflow_store import CELL, EVALUATION, Tracker
from hcbench.harness.store.results import tables
from hcbench.harness.store.workspace import Workspace
from hcbench.reports.build import build_report
from hcbench.reports.results import Results

pytestmark = pytest.mark.usefixtures("plugins")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """MLflow's tables without a row: making them takes seconds."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    from mlflow.tracking.client import MlflowClient

    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def workspace(tmp_path, empty_database):
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_database, tmp_path / "runs" / "mlflow.db")
    return tmp_path / "runs"


class Inline:
    """Runs jobs in this process, with the worker's own code: importing torch for each takes seconds."""

    def __init__(self):
        self.told = []

    def run(self, jobs):
        for job in jobs:
            path = job.write()
            worker.main(path)
            while self.told:
                event = self.told.pop(0)
                if not isinstance(event, events.CellFinished):
                    yield event
            yield finished(job, 0)


@pytest.fixture
def inline(monkeypatch):
    executors = []

    def make(registry, name, settings):
        executors.append(Inline())
        return executors[-1]

    monkeypatch.setattr(run, "open_executor", make)
    monkeypatch.setattr(worker, "emit", lambda event: executors[-1].told.append(event))
    monkeypatch.setattr(worker.Stop, "install", lambda self: None)


@pytest.mark.usefixtures("inline")
def test_what_a_loader_left_out_is_said_once_in_a_run_and_kept_with_every_result(
    workspace, make_cell, make_matrix, monkeypatch
):
    monkeypatch.setattr(evaluate, "data_notes", lambda samples: ("noise: 3 persons are left out",))
    heard = []
    cells = [make_cell("dummy-control", seed=seed) for seed in range(2)]
    run_matrix(make_matrix(cells), workspace=workspace, listener=heard.append)
    notes = [event for event in heard if isinstance(event, events.Note)]
    assert [(note.text, note.level) for note in notes] == [("noise: 3 persons are left out", "warning")]
    tracker = Tracker(Workspace(workspace))
    for stored_run in tracker.records(EVALUATION):
        record = json.loads(tracker.artifact(stored_run, "record.json").read_text())["record"]
        assert record["data_notes"] == ["noise: 3 persons are left out"]


def stored(workspace):
    return tables(Tracker(Workspace(workspace)))


@pytest.mark.usefixtures("inline")
def test_a_matrix_from_end_to_end_and_again_from_the_store(workspace, make_cell, make_matrix):
    cells = [make_cell("dummy-control", 0), make_cell("dummy-gan")]
    matrix = make_matrix(cells)
    seen = []
    outcome = run_matrix(matrix, workspace=workspace, workers=2, listener=seen.append)
    assert outcome.ok
    assert {one.status for one in outcome.cells.values()} == {"done"}
    kinds = [type(event) for event in seen]
    assert kinds[0] is events.RunStarted
    assert kinds[-1] is events.RunFinished
    assert any(isinstance(e, events.CellProgress) and e.phase == "train" and e.done == 100 for e in seen)
    finished = next(e for e in seen if isinstance(e, events.EvaluationFinished) and e.cell == "dummy-gan-0")

    table = stored(workspace)
    gan = table.cells.set_index("cell").loc["dummy-gan-0"]
    assert (gan.method, gan.budget, gan.budget_images, gan.seed, gan.status) == ("dummy-gan", "36", 36, 0, "done")
    assert gan["ledger.images_seen"] == 100
    assert gan["ledger.images_stored"] == 36
    scores = table.scores.set_index(["cell", "metric"])
    assert scores.loc[("dummy-gan-0", "score"), "value"] == finished.summary["score"]
    assert np.isnan(scores.loc[("dummy-gan-0", "undefined"), "value"])
    assert scores.loc[("dummy-gan-0", "score"), ["main", "readout", "metric_title"]].tolist() == [True, "cls", "Score"]
    assert table.replicates["dummy-gan-0-dummy-score-10", "score"].shape == (10,)

    again = []
    outcome = run_matrix(matrix, workspace=workspace, listener=again.append)
    assert outcome.ok
    assert all(one.cached for one in (*outcome.cells.values(), *outcome.evaluations.values()))
    assert not any(isinstance(e, events.CellStarted) for e in again)
    pd.testing.assert_frame_equal(stored(workspace).scores, table.scores)


@pytest.mark.usefixtures("inline")
def test_a_new_evaluation_trains_nothing_again(workspace, make_cell, make_matrix):
    cell = make_cell("dummy-plain")
    run_matrix(make_matrix([cell]), workspace=workspace)
    checkpoint = workspace / "work" / cell.fingerprint / "checkpoint" / "encoder.safetensors"
    written = checkpoint.stat().st_mtime_ns
    seen = []
    outcome = run_matrix(make_matrix([cell], replicates=20), workspace=workspace, listener=seen.append)
    assert outcome.ok
    assert outcome.cells[cell.fingerprint].cached
    assert checkpoint.stat().st_mtime_ns == written
    assert not any(isinstance(e, events.CellProgress) and e.phase == "train" for e in seen)
    assert set(stored(workspace).scores.evaluation) == {f"{cell.fingerprint}-dummy-score-{b}" for b in (10, 20)}


@pytest.mark.usefixtures("inline")
def test_the_run_of_a_cell_holds_losses_settings_and_the_default_evaluation(workspace, make_cell, make_matrix):
    run_matrix(make_matrix([make_cell("dummy-plain", log_every=1)]), workspace=workspace)
    tracker = Tracker(Workspace(workspace))
    (cell,) = tracker.records(CELL)
    (evaluation,) = tracker.records(EVALUATION)
    assert cell.metrics["dummy-score.score"] == evaluation.metrics["score"]
    assert evaluation.parent == cell.run
    assert cell.params["pretrain.groups_per_batch"] == "4"
    history = tracker._client.get_metric_history(cell.run, "train.main.loss")
    assert [point.step for point in history] == list(range(1, 14))
    assert "diagnostics.effective_rank" in cell.metrics
    assert tracker.artifact(cell, "losses.parquet")
    record = json.loads(tracker.artifact(evaluation, "record.json").read_text())
    rule = "train: train; val: val; test: test"
    assert record == {
        "record": {"rule": "mean", "count": 18, "split_rule": rule, "data_notes": []},
        "chosen": {"readout": "cls"},
    }


@pytest.mark.slow
def test_failures_stop_nothing_else_and_are_tried_again(workspace, make_cell, make_matrix):
    names = ("raises", "diverges", "crashes", "killed", "memory", "plain")
    cells = [make_cell(f"dummy-{name}") for name in names] + [
        replace(make_cell("dummy-plain", seed=1), skip="it cannot work here")
    ]
    outcome = run_matrix(make_matrix(cells), workspace=workspace, workers=2)
    found = {name.removeprefix("dummy-"): one for name, one in outcome.cells.items()}
    assert found["raises-0"] == Ending(status="failed", reason="ValueError: a bug of the method")
    assert found["diverges-0"].status == "diverged"
    assert "loss is nan" in found["diverges-0"].reason
    assert found["crashes-0"] == Ending(status="failed", reason="its process ended with exit code 3")
    assert found["killed-0"].status == found["memory-0"].status == "out-of-memory"
    assert found["plain-0"] == Ending(status="done")
    assert found["plain-1"] == Ending(status="skipped", reason="it cannot work here")
    assert not outcome.ok
    log = (workspace / "work" / "dummy-raises-0" / "log.txt").read_text()
    assert 'raise ValueError("a bug of the method")' in log

    cells_table = stored(workspace).cells.set_index("cell")
    assert cells_table.status.to_dict() == {f"dummy-{name}": one.status for name, one in found.items()}
    assert cells_table.loc["dummy-raises-0", "reason"] == "ValueError: a bug of the method"

    seen = []
    run_matrix(make_matrix(cells[:1] + cells[-2:]), workspace=workspace, listener=seen.append)
    assert [e.cell for e in seen if isinstance(e, events.CellStarted)] == ["dummy-raises-0"]
    assert len(stored(workspace).cells) == len(cells), "a second try replaces the first"


@pytest.mark.slow
def test_a_failing_evaluation_stops_no_other_and_spoils_no_cell(workspace, make_cell, make_matrix):
    cell = make_cell("dummy-control", 0)
    outcome = run_matrix(make_matrix([cell], ("dummy-broken", "dummy-score", "dummy-deadly")), workspace=workspace)
    by_name = {name.split("-", 2)[2].removeprefix("0-dummy-"): one for name, one in outcome.evaluations.items()}
    assert by_name["broken-10"] == Ending(status="failed", reason="ValueError: a bug of the benchmark")
    assert by_name["score-10"] == Ending(status="done")
    assert by_name["deadly-10"] == Ending(status="failed", reason="its process ended with exit code 7")
    assert outcome.cells[cell.fingerprint].status == "done"
    scores = stored(workspace).scores
    assert scores[scores.status == "failed"].benchmark.tolist() == ["dummy-broken", "dummy-deadly"]
    again = run_matrix(make_matrix([cell], ("dummy-broken", "dummy-score")), workspace=workspace)
    assert again.cells[cell.fingerprint].cached
    assert again.evaluations[f"{cell.fingerprint}-dummy-score-10"].cached
    assert not again.evaluations[f"{cell.fingerprint}-dummy-broken-10"].cached


@pytest.mark.usefixtures("inline")
def test_fail_fast_stops_at_the_first_failure(workspace, make_cell, make_matrix):
    cells = [make_cell("dummy-raises"), make_cell("dummy-plain")]
    outcome = run_matrix(make_matrix(cells), workspace=workspace, workers=1, fail_fast=True)
    assert outcome.cells["dummy-raises-0"].status == "failed"
    assert outcome.cells["dummy-plain-0"] == Ending(status="interrupted", reason="not begun")


@pytest.mark.usefixtures("inline")
def test_fresh_runs_everything_again_and_leaves_no_duplicates(workspace, make_cell, make_matrix):
    matrix = make_matrix([make_cell("dummy-plain")])
    run_matrix(matrix, workspace=workspace)
    before = stored(workspace)
    outcome = run_matrix(matrix, workspace=workspace, fresh=True)
    assert outcome.ok
    assert not any(one.cached for one in outcome.cells.values())
    after = stored(workspace)
    assert after.cells.created[0] > before.cells.created[0]
    pd.testing.assert_frame_equal(after.scores, before.scores)


@pytest.mark.usefixtures("inline")
def test_a_lost_checkpoint_is_trained_again_with_the_same_numbers(workspace, make_cell, make_matrix):
    cell = make_cell("dummy-plain")
    run_matrix(make_matrix([cell]), workspace=workspace)
    shutil.rmtree(workspace / "work" / cell.fingerprint)
    seen = []
    run_matrix(make_matrix([cell], replicates=20), workspace=workspace, listener=seen.append)
    assert any(isinstance(e, events.Note) and "trained again" in e.text for e in seen)
    scores = stored(workspace).scores
    values = scores[scores.metric == "score"].value
    assert len(values) == 2
    assert values.nunique() == 1


@pytest.mark.usefixtures("inline")
def test_checkpoints_in_the_store_serve_another_workspace(workspace, make_cell, make_matrix, tmp_path):
    cell = make_cell("dummy-plain")
    uri = f"sqlite:///{tmp_path / 'shared.db'}"
    run_matrix(make_matrix([cell]), workspace=workspace, tracking_uri=uri, log_checkpoints=True)
    seen = []
    outcome = run_matrix(
        make_matrix([cell], replicates=20), workspace=tmp_path / "other", tracking_uri=uri, listener=seen.append
    )
    assert outcome.ok
    assert not any(isinstance(e, events.CellProgress) and e.phase == "train" for e in seen)
    assert (tmp_path / "other" / "work" / cell.fingerprint / "checkpoint" / "encoder.json").is_file()


@pytest.mark.usefixtures("inline")
def test_a_sweep_of_a_knob_scores_one_checkpoint(workspace, make_cell, make_matrix):
    """Six values, one training; what the card recommends stays the result of the cell itself."""
    cell = make_cell("dummy-knob")

    def matrix(*values):
        (usual,) = make_matrix([cell]).evaluations[cell.fingerprint]
        swept = tuple(replace(usual, knobs={"lambda": v}, fingerprint=f"{usual.fingerprint}-{v:g}") for v in values)
        return replace(make_matrix([cell]), evaluations={cell.fingerprint: swept})

    assert run_matrix(matrix(0.2), workspace=workspace).ok
    tracker = Tracker(Workspace(workspace))
    recommended = tracker.records(CELL)[0].metrics["dummy-score.score"]
    seen, lambdas = [], (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    assert run_matrix(matrix(*lambdas), workspace=workspace, listener=seen.append).ok
    assert not any(isinstance(e, events.CellProgress) and e.phase == "train" for e in seen)
    finished = [e.benchmark for e in seen if isinstance(e, events.EvaluationFinished) and not e.cached]
    assert finished == [f"dummy-score lambda={value:g}" for value in lambdas if value != 0.2]
    records = {float(one.params["evaluate.lambda"]): one.metrics["score"] for one in tracker.records(EVALUATION)}
    assert sorted(records) == sorted(lambdas)
    assert len({round(value, 12) for value in records.values()}) == 6
    (stored_cell,) = tracker.records(CELL)
    assert stored_cell.metrics["dummy-score.score"] == recommended == records[0.2]
    scores = stored(workspace).scores
    assert {json.loads(config)["lambda"] for config in scores.config} == set(lambdas)
    again = run_matrix(matrix(*lambdas), workspace=workspace)
    assert all(one.cached for one in again.evaluations.values())


@pytest.mark.usefixtures("inline")
def test_what_can_never_give_a_number_is_not_tried_again(workspace, make_cell, make_matrix, monkeypatch):
    cell = make_cell("dummy-control", 0)
    monkeypatch.setattr("hcbench.benchmarks.base.Task.skip_reason", lambda self, samples: "it cannot work here")
    first = run_matrix(make_matrix([cell]), workspace=workspace)
    assert first.ok
    again = run_matrix(make_matrix([cell]), workspace=workspace)
    expected = Ending(status="skipped", reason="it cannot work here", cached=True)
    assert list(again.evaluations.values()) == [expected]
    assert stored(workspace).scores.reason.tolist() == ["it cannot work here"]


SCRIPT = """
import pickle, sys
from pathlib import Path
from hcbench.harness.running.run import run_matrix
from hcbench.harness.jobs.events import to_line
matrix = pickle.loads(Path(sys.argv[1]).read_bytes())
outcome = run_matrix(matrix, workspace=Path(sys.argv[2]), workers=2, listener=lambda e: print(to_line(e), flush=True))
print("interrupted" if outcome.interrupted else "ended", flush=True)
"""


def start(matrix, workspace, tmp_path):
    import pickle

    path = tmp_path / "matrix.pickle"
    path.write_bytes(pickle.dumps(matrix))
    return subprocess.Popen(
        [sys.executable, "-P", "-c", SCRIPT, str(path), str(workspace)], stdout=subprocess.PIPE, text=True
    )


def until_training(process, images):
    for line in process.stdout:
        event = events.from_line(line)
        if isinstance(event, events.CellProgress) and event.phase == "train" and event.done >= images:
            return
    raise AssertionError("the run ended before it was to be disturbed")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_disturbed_run_goes_on_with_the_numbers_of_an_undisturbed_one(
    workspace, make_cell, make_matrix, tmp_path, how
):
    slow = [make_cell(name, 160, config={"pause_s": 0.15}) for name in ("dummy-gan", "dummy-plain")]
    cells = [make_cell("dummy-control", 0), *slow]
    matrix = make_matrix(cells)
    assert run_matrix(matrix, workspace=tmp_path / "undisturbed", workers=2).ok
    expected = stored(tmp_path / "undisturbed")

    process = start(matrix, workspace, tmp_path)
    until_training(process, 40)
    process.send_signal(how)
    rest = process.stdout.read()
    process.wait()
    if how is signal.SIGINT:
        assert "interrupted" in rest.splitlines()[-1]
        statuses = stored(workspace).cells.set_index("cell").status
        assert "interrupted" in statuses.tolist()
    seen = []
    assert run_matrix(matrix, workspace=workspace, workers=2, listener=seen.append).ok
    training = [e for e in seen if isinstance(e, events.CellProgress) and e.phase == "train"]
    begun = {e.cell: e.done for e in reversed(training)}
    assert max(begun.values()) > 40, "training went on where it stood"
    found = stored(workspace)
    order = ["cell", "evaluation", "metric"]
    pd.testing.assert_frame_equal(
        found.scores.sort_values(order, ignore_index=True), expected.scores.sort_values(order, ignore_index=True)
    )
    for column in ("ledger.images_seen", "ledger.steps", "ledger.flops", "ledger.encoder_pixels_forward"):
        assert found.cells.set_index("cell")[column].to_dict() == expected.cells.set_index("cell")[column].to_dict()


@pytest.mark.usefixtures("inline")
def test_a_half_written_import_is_done_again(workspace, make_cell, make_matrix, monkeypatch):
    matrix = make_matrix([make_cell("dummy-control", 0)])
    real = Tracker.write
    calls = []

    def dies(self, record):
        calls.append(record.kind)
        if record.kind == EVALUATION:
            # as a kill between the files and the mark that they are complete
            monkeypatch.setattr(self._client, "set_tag", lambda *args: (_ for _ in ()).throw(KeyError("killed")))
        return real(self, record)

    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "write", dies)
        with pytest.raises(KeyError, match="killed"):
            run_matrix(matrix, workspace=workspace)
    assert calls == [CELL, EVALUATION]
    assert stored(workspace).scores.empty
    outcome = run_matrix(matrix, workspace=workspace)
    assert all(one.cached for one in (*outcome.cells.values(), *outcome.evaluations.values()))
    table = stored(workspace)
    assert len(table.cells) == 1
    assert table.scores.metric.tolist() == ["score", "undefined"]


def test_a_worker_that_dies_is_told_of(workspace, make_cell, make_matrix):
    cell = make_cell("dummy-killed")
    outcome = run_matrix(make_matrix([cell]), workspace=workspace)
    assert outcome.cells[cell.fingerprint].status == "out-of-memory"
    assert "signal 9" in stored(workspace).cells.reason[0]


def test_a_workspace_serves_one_run_at_a_time(workspace, make_matrix):
    place = Workspace(workspace)
    place.make()
    with place.lock(), pytest.raises(CacheError, match=f"in use by process {os.getpid()} since"):
        run_matrix(make_matrix([]), workspace=workspace)
    assert run_matrix(make_matrix([]), workspace=workspace).ok


def test_a_run_waits_for_the_workers_of_a_killed_one(workspace, make_matrix):
    place = Workspace(workspace)
    place.make()
    with place.lock() as descriptor:
        orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1.5)"], pass_fds=[descriptor])
    (workspace / "lock").write_text(json.dumps({"pid": 2**22 + 1, "since": "long ago"}))
    start_time = time.monotonic()
    assert run_matrix(make_matrix([]), workspace=workspace).ok
    assert time.monotonic() - start_time > 0.5
    assert orphan.wait() == 0


def test_a_workspace_that_cannot_be_written_is_said_to_be_so(tmp_path, make_matrix):
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match="cannot be written") as error:
        run_matrix(make_matrix([]), workspace=tmp_path / "file" / "runs")
    assert "--workspace" in error.value.hint


@pytest.mark.usefixtures("inline")
def test_what_the_user_changed_is_said_in_the_report(workspace, registry, make_matrix):
    """From `--set` to the table: one method's own setting names its row, what all share is said once."""
    shared = {
        "pretrain.height": 32, "pretrain.width": 16, "pretrain.groups_per_batch": 4, "pretrain.images_per_group": 2,
        "pretrain.passes": 3, "pretrain.min_images_seen": 100,
    }  # fmt: skip
    options = {
        "methods": ("dummy-plain", "dummy-gan"), "controls": False, "budgets": ("35",), "benchmarks": ("reid",),
        "backbones": ("timm:test_vit",),
    }  # fmt: skip
    resolved = resolve(
        registry,
        [Override(f"run.{name}", value, "test") for name, value in options.items()],
        sets=[*(f"{key}={value}" for key, value in shared.items()), "dummy-plain.marker=mine"],
    )
    cells = make_plan(resolved, registry, Machine(cuda=False, bf16=False, cores=2)).cells
    assert run_matrix(make_matrix(cells), workspace=workspace).ok
    overrides = stored(workspace).cells.set_index("method")["overrides"].map(json.loads)
    same = {"pretrain.height": "32", "pretrain.width": "16", "pretrain.groups_per_batch": "4"}
    same |= {"pretrain.images_per_group": "2", "pretrain.min_images_seen": "100"}
    assert overrides["dummy-gan"] == same, "pretrain.passes is as the profile has it"
    assert overrides["dummy-plain"] == {**same, "dummy-plain.marker": "mine"}
    found = Results(**stored(workspace)._asdict())
    report = build_report(found, formats=("md",))
    assert "| dummy-plain · marker=mine |" in report.texts["md"]
    assert "| dummy-gan |" in report.texts["md"]
    (remark,) = [remark for remark in report.remarks if "differs from the defaults" in remark]
    assert remark == (
        "Every row differs from the defaults in pretrain.groups_per_batch=4, pretrain.height=32, "
        "pretrain.images_per_group=2, pretrain.min_images_seen=100, pretrain.width=16."
    )
    before = found.cells.drop(columns=["overrides", "supervision_order", "least_passes"])  # as older versions had them
    plain = build_report(replace(found, cells=before), formats=("md",))
    assert "marker" not in plain.texts["md"].split("##")[1]
