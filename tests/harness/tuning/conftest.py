"""A tiny search that runs in this process: settings, plans, workspaces."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hcbench.harness.jobs import events
from hcbench.harness.jobs.worker_process import finished
from hcbench.harness.planning.config import Override, resolve
from hcbench.harness.planning.machine import Machine
from hcbench.harness.planning.registry import PLUGINS_VARIABLE, load_registry
from hcbench.harness.running import run, worker
from hcbench.harness.tuning.plan import plan_tuning
from hcbench.harness.tuning.search_run import tune

PLUGIN = Path(__file__).with_name("tunables.py")


@pytest.fixture(scope="session")
def machine():
    return Machine(cuda=False, bf16=False, cores=2)


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

    def __init__(self):
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
def inline(monkeypatch):
    """The executor's class, to set its limit."""
    executors = []

    def make(registry, name, settings):
        executors.append(Inline())
        return executors[-1]

    monkeypatch.setattr(run, "open_executor", make)
    monkeypatch.setattr(worker, "emit", lambda event: executors[-1].told.append(event))
    monkeypatch.setattr(worker.Stop, "install", lambda self: None)
    monkeypatch.setattr(Inline, "limit", 1000)
    monkeypatch.setenv(PLUGINS_VARIABLE, str(PLUGIN))
    return Inline


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
def plan(settings, registry, machine):
    def make(methods="tunable", *sets, trials=3, **named):
        return plan_tuning(settings(methods, *sets), registry, machine, trials=trials, share=0.5, **named)

    return make


@pytest.fixture
def go(registry, workspace):
    return lambda plan, **named: tune(plan, registry, **{"workspace": workspace, "workers": 1, **named})
