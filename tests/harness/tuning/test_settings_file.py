"""The files of a search: the best settings come back through them, with the trials that they stand on."""

from __future__ import annotations

import csv

import pytest

from hcbench.errors import ConfigError
from hcbench.harness.planning.plan import make_plan
from hcbench.harness.running.run import run_matrix
from hcbench.harness.store.mlflow_store import Tracker
from hcbench.harness.store.results import tables
from hcbench.harness.store.workspace import Workspace
from hcbench.harness.tuning.plan import plan_tuning
from hcbench.harness.tuning.settings_file import check_target, write_tuned


def test_the_best_settings_come_back_through_config(plan, go, settings, registry, tmp_path, workspace, machine):
    found = plan("tunable,simple", trials=4)
    tuned = go(found)
    path, trials = write_tuned(tmp_path / "best.yaml", tuned)
    assert trials.name == "best-trials.csv"
    resolved = settings("tunable,simple", config=path)
    for search in found.searches:
        best = search.trials[tuned.best(search.method)]
        assert resolved.methods[search.method][0] == best.cell.method_config
        cells = [cell for cell in make_plan(resolved, registry, machine).cells if cell.method == search.method]
        assert [cell.tuning_trials for cell in cells] == [4]

    rows = list(csv.DictReader(trials.open()))
    assert [(row["method"], row["trial"]) for row in rows] == [
        ("random", ""), *(("tunable", str(i)) for i in range(4)), *(("simple", str(i)) for i in range(4)),
    ]  # fmt: skip
    assert [row["best"] for row in rows].count("yes") == 2
    assert float(rows[2]["lr"]) == found.searches[0].trials[1].settings["lr"]
    assert float(rows[2]["level rate"]) == pytest.approx(tuned.tried["tunable"][1].scores["level"]["rate"], rel=1e-5)
    assert rows[2]["images_seen"] == "24"
    assert rows[2]["cell"] == found.searches[0].trials[1].cell.fingerprint
    assert rows[5]["weight"] == "", "what a method does not search stays empty"


def test_defaults_that_win_stay_defaults_and_the_ledger_says_what_they_stand_on(
    plan, go, settings, registry, tmp_path, workspace, machine
):
    plain = settings("simple", "run.controls=false", "pretrain.passes=0.5", "pretrain.min_images_seen=24")
    run_matrix(make_plan(plain, registry, machine), workspace=workspace, workers=1)
    tuned = go(plan("simple", trials=1))
    path, _ = write_tuned(tmp_path / "best.yaml", tuned)
    assert "lr: null  # the profile, 0.001" in path.read_text()
    again = settings("simple", "run.controls=false", "pretrain.passes=0.5", "pretrain.min_images_seen=24", config=path)
    outcome = run_matrix(make_plan(again, registry, machine), workspace=workspace, workers=1)
    assert [one.cached for one in outcome.cells.values()] == [True]
    (row,) = tables(Tracker(Workspace(workspace))).cells.to_dict("records")
    assert row["ledger.tuning_trials"] == 1


def test_trials_add_up_over_searches(settings, registry, go, tmp_path, machine):
    first = go(plan_tuning(settings("simple"), registry, machine, trials=2, share=0.5))
    path, _ = write_tuned(tmp_path / "first.yaml", first)
    start = settings("simple,tunable", config=path)
    second = go(plan_tuning(start, registry, machine, trials=1, share=0.5))
    path, _ = write_tuned(tmp_path / "second.yaml", second)
    assert 'tuning_trials: {"simple": 3, "tunable": 1}' in path.read_text()
    recipe, found = settings().run.tuning_trials, settings(config=path).run.tuning_trials
    assert found == {**recipe, "simple": 3, "tunable": 1}, "what the recipe's methods were searched by stays known"


def test_files_of_others_are_not_replaced(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("pretrain: {lr: 1}\n")
    with pytest.raises(ConfigError, match="has not written it"):
        check_target(own)
    with pytest.raises(ConfigError, match="no yaml file"):
        check_target(tmp_path / "best.json")
    check_target(tmp_path / "new.yaml")
