from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from hcbench.harness.jobs import events
from hcbench.harness.jobs.job import Job
from hcbench.harness.jobs.worker_process import worker_environment
from hcbench.harness.planning.cell import Evaluation
from hcbench.harness.planning.settings import CorpusConfig
from hcbench.harness.training import prepare as module
from hcbench.harness.training.prepare import Piece, _run, missing_pieces, prepare, rendering_seconds


@pytest.fixture
def job(make_cell, tmp_path):
    cell = replace(make_cell(), corpus=CorpusConfig(layout="poses"), budget_images=15)
    config = {"scale": 0.01, "readout": "auto", "replicates": 5, "epochs": 1.0, "batch_size": 9, "head_seed": 0}
    evaluation = Evaluation(benchmark="reid", version="1", data="people", protocol="frozen", config=config)
    return Job(cell=cell, evaluations=(evaluation,), folder=tmp_path / "cell", cache=tmp_path / "cache")


def test_what_jobs_share_is_made_once_and_controls_need_no_view(job, tmp_path):
    pieces = missing_pieces([job, job], job.cache)
    assert {piece.name for piece in pieces} == {"people/poses", "people/train", "people/val", "people/test"}
    assert sum(piece.images for piece in pieces) == 15 + 40 + 48 + 48 + 8
    control = replace(job, cell=replace(job.cell, budget_images=0))
    assert "people/poses" not in {piece.name for piece in missing_pieces([control], job.cache)}
    (job.folder / "checkpoint").mkdir(parents=True)
    assert "people/poses" not in {piece.name for piece in missing_pieces([job], job.cache)}


def test_images_are_made_in_processes_and_found_the_next_time(job):
    job = replace(job, evaluations=())
    seen = []
    prepare([job], job.cache, workers=2, environment=worker_environment(1), listener=seen.append)
    assert isinstance(seen[-1], events.Prepared)
    assert seen[-1].images == 15
    assert rendering_seconds(job.cell, job.cache) > 0
    seen.clear()
    prepare([job], job.cache, workers=2, environment=worker_environment(1), listener=seen.append)
    assert seen == []


@pytest.fixture
def broken(tmp_path):
    (tmp_path / "cache").mkdir()
    call = {"kind": "coco", "call": "load", "root": str(tmp_path / "no"), "split": "val2017", "height": 32, "width": 16}
    return Piece(name="coco/val2017", key="bad", images=0, task=call)


def test_a_piece_that_cannot_be_made_is_told_of_and_the_others_are_made(job, broken, monkeypatch):
    pieces = [broken, *missing_pieces([replace(job, evaluations=())], job.cache)]
    monkeypatch.setattr(module, "missing_pieces", lambda *args, fresh: pieces)
    seen = []
    prepare([job], job.cache, workers=1, environment=worker_environment(1), listener=seen.append)
    (note,) = [event for event in seen if isinstance(event, events.Note)]
    assert note.text.startswith("preparing coco/val2017 failed: ")
    assert note.level == "warning"
    assert seen[-1].images == 15
    assert "Traceback" in (job.cache / "prepare.log").read_text()


def test_a_process_that_dies_is_told_of(broken, tmp_path):
    environment = worker_environment(1) | {"PYTHONHOME": "/nowhere"}
    (made,) = _run([broken], tmp_path / "cache", 1, environment, (), fresh=False)
    assert made.error == "its process ended with exit code 1"


def test_fresh_takes_nothing_from_the_cache(tmp_path, monkeypatch):
    read = []

    def load(root, split, *, height, width, cache):
        path = cache / "crops-a.npy"
        if not path.exists():
            read.append(split)
            path.write_text("new")
        (cache / "deep").mkdir(exist_ok=True)
        (cache / "deep" / "list.txt").touch()
        return range(3)

    monkeypatch.setattr(module, "dataset", lambda name: SimpleNamespace(name=name, load=load, load_detected=None,
                                                                        person_crops=None))  # fmt: skip
    (tmp_path / "crops-a.npy").write_text("old")
    task = {"kind": "some", "call": "load", "root": "/", "split": "train", "height": 4, "width": 2}
    assert module._make(task, "some.done", tmp_path, fresh=False) == 3
    assert (read, (tmp_path / "crops-a.npy").read_text()) == ([], "old")
    assert module._make(task, "some.done", tmp_path, fresh=True) == 3
    assert (read, (tmp_path / "crops-a.npy").read_text()) == (["train"], "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crops-a.npy", "deep", "some.done"]
    piece = Piece(name="some", key="some.done", images=0, task=task)
    assert piece.on_disk
