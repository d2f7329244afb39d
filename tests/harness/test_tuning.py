from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hcbench.errors import CacheError, ConfigError, HcbenchError
from hcbench.harness import benchmark_data, events, run, worker
from hcbench.harness.config import Override, resolve
from hcbench.harness.executors import finished
from hcbench.harness.machine import Machine
from hcbench.harness.objective import gain
from hcbench.harness.plan import make_plan
from hcbench.harness.registry import PLUGINS_VARIABLE, load_registry
from hcbench.harness.run import run_matrix
from hcbench.harness.settings import Evaluation
from hcbench.harness.stored import tables
from hcbench.harness.tracking import CELL, EVALUATION, Tracker
from hcbench.harness.tuned import check_target, write_tuned
from hcbench.harness.tuning import tune
from hcbench.harness.tuning_plan import plan_tuning
from hcbench.harness.workspace import Workspace

PLUGIN = Path(__file__).with_name("tunables.py")
MACHINE = Machine(cuda=False, bf16=False, cores=2)


@pytest.fixture(scope="session")
def registry():
    return load_registry([PLUGIN])


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """MLflow's tables without a row: making them takes seconds."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    from mlflow.tracking.client import MlflowClient

    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def make_workspace(tmp_path, empty_database):
    def make(name):
        (tmp_path / name).mkdir()
        shutil.copy(empty_database, tmp_path / name / "mlflow.db")
        return tmp_path / name

    return make


@pytest.fixture
def workspace(make_workspace):
    return make_workspace("runs")


class Inline:
    """Runs jobs in this process, with the worker's own code, and stops after `limit` of them as Ctrl-C would."""

    limit = 1000

    def __init__(self, workers, threads, *, inherit=(), gpus=()):
        self.told = []

    def run(self, jobs):
        for number, job in enumerate(jobs):
            if number == Inline.limit:
                raise KeyboardInterrupt
            worker.main(job.write())
            while self.told:
                event = self.told.pop(0)
                if not isinstance(event, events.CellFinished):
                    yield event
            yield finished(job, 0)


@pytest.fixture(autouse=True)
def _inline(monkeypatch):
    executors = []

    def make(*args, **named):
        executors.append(Inline(*args, **named))
        return executors[-1]

    monkeypatch.setattr(run, "LocalExecutor", make)
    monkeypatch.setattr(worker, "emit", lambda event: executors[-1].told.append(event))
    monkeypatch.setattr(worker.Stop, "install", lambda self: None)
    monkeypatch.setattr(Inline, "limit", 1000)
    monkeypatch.setenv(PLUGINS_VARIABLE, str(PLUGIN))


@pytest.fixture
def settings(registry, tmp_path):
    """Settings of a tiny comparison; `methods` by comma, further `key=value` texts."""

    def make(methods="tunable", *sets, **files):
        options = [
            Override("run.methods", methods, "test"),
            Override("run.budgets", "24", "test"),
            Override("run.benchmarks", "level", "test"),
            Override("run.backbones", "timm:test_vit", "test"),
            Override("run.data", {"guarded": str(tmp_path)}, "test"),
            Override("corpus.name", "guarded", "test"),
        ]
        sizes = {"height": 32, "width": 16, "groups_per_batch": 4, "images_per_group": 2, "min_images_seen": 48}
        options += [Override(f"pretrain.{name}", value, "test") for name, value in sizes.items()]
        options += [Override("pretrain.passes", 1, "test"), Override("pretrain.precision", "fp32", "test")]
        return resolve(registry, options, sets=sets, **files)

    return make


@pytest.fixture
def plan(settings, registry):
    def make(methods="tunable", *sets, trials=3, **named):
        return plan_tuning(settings(methods, *sets), registry, MACHINE, trials=trials, share=0.5, **named)

    return make


@pytest.fixture
def go(registry, workspace):
    return lambda plan, **named: tune(plan, registry, **{"workspace": workspace, "workers": 1, **named})


def stored(workspace, split="test"):
    return tables(Tracker(Workspace(workspace)), split)


def table(tuned):
    """Everything that may not depend on how trials were run."""
    return {
        method: [(one.status, one.objective, one.scores, one.images_seen) for one in several]
        for method, several in tuned.tried.items()
    }


# ---------------------------------------------------------------- the plan


def test_trials_are_short_cells_of_equal_number_and_conditions(plan, settings, registry):
    found = plan("tunable,simple", trials=4)
    assert {search.method: len(search.trials) for search in found.searches} == {"tunable": 4, "simple": 4}
    cells = [trial.cell for search in found.searches for trial in search.trials]
    assert len({cell.fingerprint for cell in cells}) == 8
    assert {(cell.images_seen, cell.budget_images, cell.seed) for cell in cells} == {(24, 24, 0)}
    assert found.full_images == 48
    assert [cell.tuning for cell in cells[:2]] == ["trial 0", "trial 1"]
    for search in found.searches:
        for trial in search.trials[1:]:
            assert {name: trial.cell.method_config[name] for name in trial.settings} == trial.settings
    # The first is the cell of a plain run of that length, and so shares its checkpoint.
    plain = settings("tunable", "pretrain.min_images_seen=24", "pretrain.passes=0.5")
    cell = next(one for one in make_plan(plain, registry, MACHINE).cells if one.method == "tunable")
    assert cells[0].fingerprint == cell.fingerprint
    assert cells[0].method_config["lr"] is None


def test_images_go_before_the_share(plan):
    assert plan(images=16).searches[0].trials[0].cell.images_seen == 16


def test_studies_are_named_by_what_their_numbers_stand_on(plan):
    (study,) = {plan().searches[0].study, plan(trials=5).searches[0].study}
    others = [
        plan("tunable", "pretrain.weight_decay=0.1"), plan("tunable", "evaluate.readout=cls"), plan(sampler_seed=1),
        plan(images=16), plan("tunable", "run.seeds=1"),
    ]  # fmt: skip
    assert len({study, *(one.searches[0].study for one in others)}) == 6


@pytest.mark.parametrize(
    ("methods", "sets", "named", "expected"),
    [
        ("tunabel", (), {}, "Did you mean 'tunable'?"),
        ("random", (), {}, "random is not trained"),
        ("fixed", (), {}, "fixed has nothing to search"),
        ("", (), {}, "No method was named"),
        ("tunable", ("run.seeds=0,1",), {}, "one of the seeds, found 0, 1"),
        ("tunable", ("run.budgets=8,24",), {}, "one of the budgets"),
        ("tunable", ("pretrain.lr=1e-3,1e-4",), {}, "pretrain.lr has 2 values"),
        ("tunable", ("tunable.weight=1,2",), {}, "tunable.weight has 2 values"),
        ("tunable", ("tunable.power=3",), {}, "power is 3, outside"),
        ("tunable", (), {"images": 4}, "fewer than one batch of 8"),
        ("tunable", (), {"images": 100}, "at most 1"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_tuned_is_explained(plan, methods, sets, named, expected):
    with pytest.raises(ConfigError) as found:
        plan(methods, *sets, **named)
    assert expected in f"{found.value.message} {found.value.hint}"


def test_a_sweep_of_a_method_that_takes_no_part_does_not_matter(plan):
    assert plan("simple", "tunable.weight=1,2").searches[0].method == "simple"


def test_a_method_that_the_corpus_cannot_serve_is_named(plan):
    with pytest.raises(ConfigError, match="plip cannot be tuned here: guarded does not know"):
        plan("tunable,plip")


# ---------------------------------------------------------------- test is out of reach


def test_no_trial_reads_the_test_split(plan, go):
    """The plugin's test images raise when they are touched."""
    tuned = go(plan())
    assert tuned.ok
    assert [one.status for one in tuned.tried["tunable"]] == ["done"] * 3


def test_the_guard_of_the_test_above_works(settings, registry, workspace):
    outcome = run_matrix(make_plan(settings("simple"), registry, MACHINE), workspace=workspace, workers=1)
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


def test_nothing_of_test_is_rendered_beforehand(settings, registry, tmp_path):
    from hcbench.harness.jobs import Job
    from hcbench.harness.prepare import missing_pieces

    resolved = resolve(registry, [Override("run.methods", "mae", "test"), Override("run.budgets", "600", "test")])
    found = plan_tuning(resolved, registry, MACHINE, trials=2)
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


def test_an_untrained_network_without_a_score_is_told_of(plan, go, monkeypatch):
    def broken(self, predictions, truth):
        raise ValueError("no score today")

    import sys

    from hcbench.harness.registry import implementation

    implementation(load_registry([PLUGIN]).benchmark("level"))
    monkeypatch.setattr(sys.modules["hcbench_plugin_tunables"].Level, "score", broken)
    with pytest.raises(HcbenchError, match=r"untrained network.*no score today"):
        go(plan(trials=1))


# ---------------------------------------------------------------- interruptions, again, more


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_an_interrupted_search_goes_on_with_the_same_numbers(plan, go, make_workspace, monkeypatch, limit):
    found = plan("tunable,simple", trials=2)
    monkeypatch.setattr(Inline, "limit", limit)
    broken = go(found)
    assert broken.interrupted
    assert not broken.complete
    done = [one for several in broken.tried.values() for one in several if one.counts]
    assert len(done) == max(0, limit - 1), "the first job is the untrained network"

    monkeypatch.setattr(Inline, "limit", 1000)
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


def test_a_trial_that_a_run_scores_too_is_a_result(settings, plan, go, registry, workspace, monkeypatch):
    found = plan(trials=2)
    go(found)
    import sys

    monkeypatch.setattr(sys.modules["hcbench_plugin_tunables"].Forbidden, "__getitem__", lambda self, index: np.zeros(
        (len(np.arange(12)[index]), 3, 32, 16), np.uint8))  # fmt: skip
    plain = settings("tunable", "pretrain.min_images_seen=24", "pretrain.passes=0.5", "run.controls=false")
    matrix = make_plan(plain, registry, MACHINE)
    outcome = run_matrix(matrix, workspace=workspace, workers=1)
    assert outcome.ok
    assert [one.cached for one in outcome.cells.values()] == [True], "the checkpoint of trial 0 serves"
    shown = stored(workspace)
    assert shown.cells["cell"].tolist() == [found.searches[0].trials[0].cell.fingerprint]
    assert len(shown.scores) == 2


# ---------------------------------------------------------------- the files


def test_the_best_settings_come_back_through_config(plan, go, settings, registry, tmp_path, workspace):
    found = plan("tunable,simple", trials=4)
    tuned = go(found)
    path, trials = write_tuned(tmp_path / "best.yaml", tuned)
    assert trials.name == "best-trials.csv"
    resolved = settings("tunable,simple", config=path)
    for search in found.searches:
        best = search.trials[tuned.best(search.method)]
        assert resolved.methods[search.method][0] == best.cell.method_config
        cells = [cell for cell in make_plan(resolved, registry, MACHINE).cells if cell.method == search.method]
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
    plan, go, settings, registry, tmp_path, workspace
):
    plain = settings("simple", "run.controls=false", "pretrain.passes=0.5", "pretrain.min_images_seen=24")
    run_matrix(make_plan(plain, registry, MACHINE), workspace=workspace, workers=1)
    tuned = go(plan("simple", trials=1))
    path, _ = write_tuned(tmp_path / "best.yaml", tuned)
    assert "lr: null  # the profile, 0.001" in path.read_text()
    again = settings("simple", "run.controls=false", "pretrain.passes=0.5", "pretrain.min_images_seen=24", config=path)
    outcome = run_matrix(make_plan(again, registry, MACHINE), workspace=workspace, workers=1)
    assert [one.cached for one in outcome.cells.values()] == [True]
    (row,) = stored(workspace).cells.to_dict("records")
    assert row["ledger.tuning_trials"] == 1


def test_trials_add_up_over_searches(settings, registry, go, tmp_path):
    first = go(plan_tuning(settings("simple"), registry, MACHINE, trials=2, share=0.5))
    path, _ = write_tuned(tmp_path / "first.yaml", first)
    start = settings("simple,tunable", config=path)
    second = go(plan_tuning(start, registry, MACHINE, trials=1, share=0.5))
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
