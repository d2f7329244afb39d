"""A data set of a plug-in works where a built-in one does: plans, workers, corpora, manifests, fingerprints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from image_tree import write_images
from typer.testing import CliRunner, Result

from hcbench.benchmarks.card import TaskCard
from hcbench.data import catalogue
from hcbench.data.catalogue import built_in_modules, dataset
from hcbench.harness.cli.main import app
from hcbench.harness.jobs.executors.local import worker_environment
from hcbench.harness.planning.config import Override, resolve
from hcbench.harness.planning.fingerprint import code
from hcbench.harness.planning.machine import look
from hcbench.harness.planning.plan import make_plan
from hcbench.harness.planning.registry import PLUGINS_VARIABLE, load_registry
from hcbench.harness.training.corpus_view import corpus_view
from hcbench.harness.training.prepare import missing_pieces, prepare

PAGE = (Path(__file__).parents[3] / "docs" / "add-a-dataset.md").read_text(encoding="utf-8")
CODE = PAGE.split("```python\n")[2].partition("```")[0]
CROPS = """    person_crops=lambda root, split, height, width, cache: load(
        root, split, height=height, width=width, cache=cache
    ),
    corpus_size=lambda root, height, width: len(names_of(root, "train")),
    benchmarks="""


@pytest.fixture(autouse=True)
def _own_catalogue(monkeypatch):
    for name in (PLUGINS_VARIABLE, "HCBENCH_WORKSPACE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(catalogue, "_registered", {})


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "my_data.py"
    path.write_text(CODE.replace("    benchmarks=", CROPS), encoding="utf-8")
    return path


@pytest.fixture
def staff(tmp_path):
    root = tmp_path / "staff"
    persons = {"train": range(1, 13), "val": range(13, 17), "test": range(17, 25)}
    write_images(root, [f"{split}/{one:04d}_{n % 2}_{n}.jpg" for split, all_ in persons.items() for one in all_
                        for n in range(4)])  # fmt: skip
    return root


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_benchmarks_that_it_names_know_it(plugin):
    registry = load_registry([plugin])
    assert "staff" in registry.benchmark("reid").data
    assert "staff" not in registry.benchmark("pose").data
    assert "staff" not in load_registry(()).benchmark("reid").data
    assert registry.origins["data:staff"] == str(plugin)


def planned(registry, root: Path, **run):
    options = {"methods": "simclr", "budgets": "24", "benchmarks": "reid:staff", "data": {"staff": str(root)}, **run}
    overrides = [Override(f"run.{name}", value, "test") for name, value in options.items()]
    sets = ("corpus.name=staff", "pretrain.groups_per_batch=4", "pretrain.images_per_group=2")
    return make_plan(resolve(registry, overrides, sets=sets), registry, look())


def test_a_plan_reads_its_content_and_counts_its_code(plugin, staff):
    registry = load_registry([plugin])

    def found():
        matrix = planned(registry, staff)
        (cell,) = (cell for cell in matrix.cells if cell.method == "simclr")
        assert not cell.skip, cell.skip
        return cell.fingerprint, matrix.evaluations[cell.fingerprint][0].fingerprint

    before = found()
    assert before == found()
    write_images(staff, ["test/0024_1_9.jpg"])
    assert before[1] != found()[1], "another photograph"


def test_its_code_is_in_fingerprints_of_what_uses_it(plugin):
    card: TaskCard = load_registry([plugin]).benchmark("reid")
    module = "hcbench_plugin_my_data"
    assert module in code(card.implementation, (), "staff", ())["modules"]
    assert module not in code(card.implementation, (), "market1501", ())["modules"]
    assert "hcbench.data.market1501" not in code(card.implementation, (), "staff", ())["modules"]


def test_a_file_that_holds_a_method_too_counts_whatever_data_are_in_use(plugin):
    load_registry([plugin])
    assert "hcbench_plugin_my_data" in code("hcbench_plugin_my_data:Method", (), "people", ())["modules"]


def test_workers_find_it_by_the_environment(plugin, staff, tmp_path):
    text = (
        "from pathlib import Path\n"
        "from hcbench.harness.scoring.benchmark_data import benchmark_splits\n"
        f"root, cache = {str(staff)!r}, Path({str(tmp_path)!r})\n"
        "found = benchmark_splits('staff', root, height=16, width=8, scale=1, cache=cache)\n"
        "assert [len(found[name]) for name in ('train', 'val', 'test')] == [48, 16, 32]\n"
    )
    subprocess.run([sys.executable, "-P", "-c", text], check=True, env={**os.environ, PLUGINS_VARIABLE: str(plugin)})


def test_pieces_of_it_are_made_by_processes_of_their_own(plugin, staff, tmp_path, monkeypatch):
    from hcbench.harness.jobs.events import Note
    from hcbench.harness.jobs.job import Job

    monkeypatch.setenv(PLUGINS_VARIABLE, str(plugin))
    matrix = planned(load_registry(), staff)
    (cell,) = (cell for cell in matrix.cells if cell.method == "simclr")
    job = Job(cell=cell, evaluations=matrix.evaluations[cell.fingerprint], folder=tmp_path / "cell",
              cache=tmp_path / "cache")  # fmt: skip
    pieces = missing_pieces([job], job.cache)
    assert [(piece.name, piece.task["call"]) for piece in pieces] == [
        ("staff/train", "person_crops"), ("staff/train", "load"), ("staff/val", "load"), ("staff/test", "load"),
    ]  # fmt: skip
    told: list[object] = []
    prepare([job], job.cache, workers=1, environment=worker_environment(1), listener=told.append)
    assert not [one for one in told if isinstance(one, Note)], told
    assert missing_pieces([job], job.cache) == []
    assert len(corpus_view(cell, job.cache)) == 24


def test_data_commands_take_it(plugin, staff, tmp_path):
    workspace = ("--workspace", tmp_path / "ws")
    listed = run("data", "list", "--plugin", plugin, *workspace)
    assert listed.exit_code == 0, listed.output
    assert "Staff" in listed.output
    explained = run("data", "explain", "staff", "--plugin", plugin)
    assert "For use in our group alone." in explained.output
    assert "hcbench run --data staff=ROOT ...   scores reid on it" in explained.output
    verified = run("data", "verify", "staff", staff, "--plugin", plugin, *workspace)
    assert verified.exit_code == 0, verified.output
    assert re.search("staff at .*exact", verified.output)
    shown = run("data", "preview", "staff", staff, "--plugin", plugin, "--out", tmp_path / "preview", *workspace)
    assert shown.exit_code == 0, shown.output
    assert (tmp_path / "preview" / "staff.png").is_file()
    out = tmp_path / "staff.parquet"
    made = run("data", "prepare", "staff", staff, "--plugin", plugin, "--pack", "--split", "train,val", "--out", out,
               *workspace)  # fmt: skip
    assert made.exit_code == 0, made.output
    assert "64 images of train, val" in made.output


def test_it_is_known_only_where_it_was_named(staff, tmp_path):
    answer = run("data", "verify", "staff", staff, "--workspace", tmp_path / "ws")
    assert answer.exit_code == 2
    assert "No data set is called 'staff'" in answer.output
    assert "staff" not in built_in_modules()


def test_renumbered_splits_are_kept_apart_in_a_manifest(tmp_path, staff):
    from hcbench.data.manifest.indexing import index_splits

    path = tmp_path / "my_data.py"
    text = CODE.replace("identity=numbers[:, 0]", "identity=np.unique(numbers[:, 0], return_inverse=True)[1]")
    path.write_text(text.replace("renumbered=()", 'renumbered=("train",)'), encoding="utf-8")
    load_registry([path])
    assert dataset("staff").renumbered == ("train",)
    rows = index_splits("staff", staff, ("train", "val"), pack=False, size=(16, 8), cache=tmp_path / "cache")
    persons = {int(one) for columns in rows for one in columns["identity"]}
    assert persons == set(range(16)), "12 of train, then 4 of val"


def test_a_package_registers_by_its_entry_point(monkeypatch, plugin):
    import importlib.metadata

    data_set = load_registry([plugin]).data["staff"]
    points = [importlib.metadata.EntryPoint("staff", "my_package.staff:DATASET", "hcbench.data"),
              importlib.metadata.EntryPoint("other", "my_package.other:DATASET", "hcbench.data")]  # fmt: skip
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load",
                        lambda self: data_set if self.name == "staff" else object())  # fmt: skip
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == "hcbench.data" else ())
    from hcbench.harness.planning.registry import _load

    _load.cache_clear()
    try:
        registry = load_registry(())
        assert registry.data == {"staff": data_set}
        assert "expected a Dataset" in registry.broken["data:other"]
        assert catalogue.dataset_modules()["staff"] == "my_package.staff"
    finally:
        _load.cache_clear()
