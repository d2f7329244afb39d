"""A search from its plan to its trials: what it reads, how it orders, what an interruption leaves."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from hcbench.errors import CacheError, HcbenchError
from hcbench.harness.jobs import events
from hcbench.harness.jobs.job import Job
from hcbench.harness.planning.cell import Evaluation
from hcbench.harness.planning.config import Override, resolve
from hcbench.harness.planning.plan import make_plan
from hcbench.harness.planning.registry import implementation
from hcbench.harness.running.run import run_matrix
from hcbench.harness.scoring import benchmark_data
from hcbench.harness.store.mlflow_store import CELL, EVALUATION, Tracker
from hcbench.harness.store.results import tables
from hcbench.harness.store.workspace import Workspace
from hcbench.harness.training.prepare import missing_pieces
from hcbench.harness.tuning.objective import gain
from hcbench.harness.tuning.plan import plan_tuning
from hcbench.harness.tuning.settings_file import write_tuned


def stored(workspace, split="test"):
    return tables(Tracker(Workspace(workspace)), split)


def table(tuned):
    """Everything that may not depend on how trials were run."""
    return {
        method: [(one.status, one.objective, one.scores, one.images_seen) for one in several]
        for method, several in tuned.tried.items()
    }


# ---------------------------------------------------------------- test is out of reach


def test_no_trial_reads_the_test_split(plan, go):
    """The plugin's test images raise when they are touched."""
    tuned = go(plan())
    assert tuned.ok
    assert [one.status for one in tuned.tried["tunable"]] == ["done"] * 3


def test_the_guard_of_the_test_above_works(settings, registry, workspace, machine):
    outcome = run_matrix(make_plan(settings("simple"), registry, machine), workspace=workspace, workers=1)
    assert {one.status for one in outcome.evaluations.values()} == {"failed"}
    assert {one.reason for one in outcome.evaluations.values()} == {"AssertionError: the test split was read"}


def test_validation_of_people_never_asks_for_test(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(benchmark_data, "benchmark_split", lambda split, **named: asked.append(split))
    evaluation = Evaluation(benchmark="reid", version="1", data="people", protocol="frozen", config={}, split="val")
    found = benchmark_data.benchmark_splits(
        "people", "", height=32, width=16, scale=1.0, cache=tmp_path, splits=evaluation.splits
    )
    assert asked == list(found) == ["train", "val"]
    assert replace(evaluation, split="test").splits == ("train", "val", "test")


def test_nothing_of_test_is_rendered_beforehand(settings, registry, tmp_path, machine):
    resolved = resolve(registry, [Override("run.methods", "mae", "test"), Override("run.budgets", "600", "test")])
    found = plan_tuning(resolved, registry, machine, trials=2)
    jobs = [
        Job(cell=cell, evaluations=found.matrix.evaluations[cell.fingerprint], folder=tmp_path / "x", cache=tmp_path)
        for cell in found.matrix.cells
    ]
    assert {piece.name for piece in missing_pieces(jobs, tmp_path)} == {
        "people/train", "people/val", "people/identities",
    }  # fmt: skip


# ---------------------------------------------------------------- objective and order


def test_objectives_are_gains_over_the_untrained_network_on_validation(plan, go, workspace):
    found = plan()
    tuned = go(found)
    chance = tuned.reference["level"]["rate"]
    for one in tuned.tried["tunable"]:
        assert set(one.scores["level"]) == {"rate"}, "main metrics alone"
        assert one.objective == gain(one.scores["level"]["rate"], chance)
    objectives = [one.objective for one in tuned.tried["tunable"]]
    assert len(set(objectives)) == 3, "settings matter"
    assert tuned.best("tunable") == int(np.argmax(objectives))

    tracker = Tracker(Workspace(workspace))
    runs = {record.fingerprint: record for record in tracker.records(CELL)}
    for trial, one in zip(found.searches[0].trials, tuned.tried["tunable"], strict=True):
        record = runs[trial.cell.fingerprint]
        assert record.tags["tuning"] == f"trial {trial.number}"
        assert record.name.endswith(f"trial {trial.number}")
        assert record.metrics["tuning.objective"] == one.objective
        assert record.metrics["val.level.rate"] == one.scores["level"]["rate"]
        assert "level.rate" not in record.metrics, "validation must not pass for a result"
    assert {record.params["split"] for record in tracker.records(EVALUATION)} == {"val"}


def test_trials_that_go_wrong_count_and_come_last(plan, go):
    weights = [trial.settings["weight"] for trial in plan(trials=5).searches[0].trials]
    assert weights[0] == 1.0
    bug, nan = sorted(weights)[-1], sorted(weights)[-2]
    sets = (f"tunable.fails_above={(bug + nan) / 2}", f"tunable.diverges_above={nan * 0.999}")
    found = plan("tunable", *sets, trials=5)
    tuned = go(found)
    assert tuned.complete
    assert tuned.ok
    one = dict(zip((t.settings["weight"] for t in found.searches[0].trials), tuned.tried["tunable"], strict=True))
    assert (one[bug].status, one[bug].reason) == ("failed", "ValueError: this weight is a bug")
    assert one[nan].status == "diverged"
    assert one[bug].objective is one[nan].objective is None
    assert found.searches[0].trials[tuned.best("tunable")].settings["weight"] < nan

    ran = []
    again = go(found, listener=ran.append)
    assert ran == [], "they have had their trial: nothing is run again"
    assert table(again) == table(tuned)


def test_without_any_scored_trial_there_is_no_best(plan, go, workspace):
    tuned = go(plan("tunable,simple", "tunable.fails_above=0", trials=2))
    assert tuned.complete
    assert not tuned.ok
    assert tuned.best("tunable") is None
    assert tuned.best("simple") is not None
    path, _ = write_tuned(workspace / "tuned.yaml", tuned)
    assert "# tunable: no trial could be scored." in path.read_text()
    assert 'tuning_trials: {"simple": 2}' in path.read_text()


def test_an_untrained_network_without_a_score_is_told_of(plan, go, registry, monkeypatch):
    def broken(self, predictions, truth):
        raise ValueError("no score today")

    implementation(registry.benchmark("level"))
    monkeypatch.setattr(sys.modules["hcbench_plugin_tunables"].Level, "score", broken)
    with pytest.raises(HcbenchError, match=r"untrained network.*no score today"):
        go(plan(trials=1))


# ---------------------------------------------------------------- interruptions, again, more


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_an_interrupted_search_goes_on_with_the_same_numbers(plan, go, make_workspace, monkeypatch, limit, inline):
    found = plan("tunable,simple", trials=2)
    monkeypatch.setattr(inline, "limit", limit)
    broken = go(found)
    assert broken.interrupted
    assert not broken.complete
    done = [one for several in broken.tried.values() for one in several if one.counts]
    assert len(done) == max(0, limit - 1), "the first job is the untrained network"

    monkeypatch.setattr(inline, "limit", 1000)
    started = []
    resumed = go(found, listener=started.append)
    assert resumed.ok
    assert not resumed.interrupted
    ended = [one for one in started if isinstance(one, events.CellFinished) and not one.cached]
    assert len(ended) == 5 - limit, "what was done is not done again"

    assert table(go(found, workspace=make_workspace("other"))) == table(resumed)


def test_a_search_whose_process_died_takes_up_what_its_cells_left(plan, go, workspace):
    """kill -9: nothing was written down as a trial, but cells are in the store."""
    found = plan(trials=2)
    whole = go(found)
    (workspace / "tuning.db").unlink()
    ran = []
    again = go(found, listener=ran.append)
    assert table(again) == table(whole)
    assert all(one.cached for one in ran if isinstance(one, events.CellFinished))


def test_more_trials_go_on_where_fewer_ended(plan, go):
    few = go(plan(trials=2))
    ran = []
    more = go(plan(trials=3), listener=ran.append)
    assert table(more)["tunable"][:2] == table(few)["tunable"]
    assert sum(isinstance(one, events.CellFinished) and not one.cached for one in ran) == 1


def test_a_broken_database_is_explained(plan, go, workspace):
    (workspace / "tuning.db").write_text("no database " * 20)
    with pytest.raises(CacheError, match=r"trials in .*tuning\.db cannot be used"):
        go(plan(trials=1))


# ---------------------------------------------------------------- reports and the ledger


def test_reports_leave_trials_out_unless_asked(plan, go, workspace):
    go(plan("tunable", "tunable.fails_above=1.5", trials=3))
    assert stored(workspace).cells.empty
    assert stored(workspace).scores.empty
    trials = stored(workspace, "val")
    assert sorted(trials.cells["method"]) == ["random", *["tunable"] * 3]
    assert trials.footer["scored on"] == "the split val"


def test_a_trial_that_a_run_scores_too_is_a_result(settings, plan, go, registry, workspace, monkeypatch, machine):
    found = plan(trials=2)
    go(found)
    monkeypatch.setattr(sys.modules["hcbench_plugin_tunables"].Forbidden, "__getitem__", lambda self, index: np.zeros(
        (len(np.arange(12)[index]), 3, 32, 16), np.uint8))  # fmt: skip
    plain = settings("tunable", "pretrain.min_images_seen=24", "pretrain.passes=0.5", "run.controls=false")
    matrix = make_plan(plain, registry, machine)
    outcome = run_matrix(matrix, workspace=workspace, workers=1)
    assert outcome.ok
    assert [one.cached for one in outcome.cells.values()] == [True], "the checkpoint of trial 0 serves"
    shown = stored(workspace)
    assert shown.cells["cell"].tolist() == [found.searches[0].trials[0].cell.fingerprint]
    assert len(shown.scores) == 2
