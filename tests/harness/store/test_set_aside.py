"""A cell that cannot be stored stops no other, now or later, and is tried again by a run that asks for it."""

from __future__ import annotations

import json

import pytest

from hcbench.harness.jobs.cell_folder import (
    CHECKPOINT,
    DIAGNOSTICS,
    EVALUATIONS,
    IMPORTED,
    JOB,
    LEDGER,
    RECORD,
    SUMMARY,
)
from hcbench.harness.jobs.job import Job, write_status
from hcbench.harness.planning.card_facts import BenchmarkFacts, CardFacts
from hcbench.harness.running import run
from hcbench.harness.running.run import run_matrix
from hcbench.harness.store.import_cell import import_folder, waiting
from hcbench.harness.store.mlflow_store import CELL, EVALUATION, Tracker
from hcbench.harness.store.set_aside import REASON, bring_back
from hcbench.harness.store.workspace import Workspace

pytestmark = pytest.mark.usefixtures("plugins")


@pytest.fixture
def place(tmp_path):
    workspace = Workspace(tmp_path / "w")
    workspace.make()
    return workspace


@pytest.fixture
def finished(place, make_cell, make_matrix):
    """Makes the folder of a cell that has ended and waits for its import."""

    def make(name, ledger=None):
        cell = make_cell("dummy-plain", fingerprint=name)
        (one,) = make_matrix([cell]).evaluations[name]
        facts = CardFacts(benchmarks={one.benchmark: BenchmarkFacts(title="Score", metrics=())})
        folder = place.cell(name)
        folder.mkdir()
        Job(cell=cell, evaluations=(one,), folder=folder, cache=place.cache, facts=facts).write()
        (folder / CHECKPOINT).mkdir()
        (folder / LEDGER).write_text(json.dumps(ledger or {"wall_s": 1.5}))
        (folder / DIAGNOSTICS).write_text('{"values": {"rank@1": 2.0}, "warnings": []}')
        scored = folder / EVALUATIONS / one.fingerprint
        scored.mkdir(parents=True)
        (scored / SUMMARY).write_text('{"score@1": 0.5}')
        (scored / RECORD).write_text('{"record": {}, "chosen": {}}')
        write_status(scored, "done")
        write_status(folder, "done")
        return folder

    return make


def test_names_of_plugins_are_stored_and_shown(place, finished):
    tracker = Tracker(place)
    assert import_folder(finished("a"), tracker) == []
    assert tracker.records(CELL)[0].metrics["diagnostics.rank@1"] == 2.0
    assert tracker.records(EVALUATION)[0].metrics == {"score@1": 0.5}
    assert list(waiting(place)) == []


@pytest.mark.parametrize("how", ["number", "json", "missing"])
def test_a_cell_that_cannot_be_stored_is_set_aside_with_its_reason(how, place, finished):
    tracker = Tracker(place)
    folder = finished("bad", {"wall_s": [1]} if how == "number" else None)
    if how == "json":
        (folder / JOB).write_text('{"cell": ')
    if how == "missing":
        (folder / LEDGER).unlink()
    finished("good")
    told = [one for each in waiting(place) for one in import_folder(each, tracker)]
    assert [(one.cell, one.evaluation) for one in told] == [("bad", "")]
    assert {"number": "wall_s", "json": "JSONDecodeError", "missing": LEDGER}[how] in told[0].reason
    assert str(place.refused / "bad") in told[0].told
    assert json.loads((place.refused / "bad" / REASON).read_text())["reason"] == told[0].reason
    assert [one.fingerprint for one in tracker.records(CELL)] == ["good"]
    assert list(waiting(place)) == [], "later runs are not stopped either"


def test_an_evaluation_that_cannot_be_stored_leaves_its_cell(place, finished):
    tracker = Tracker(place)
    folder = finished("a")
    (scored,) = (folder / EVALUATIONS).iterdir()
    (scored / SUMMARY).write_text('{"score": "high"}')
    (aside,) = import_folder(folder, tracker)
    assert aside.evaluation == scored.name
    assert "'high', which is no number" in aside.reason
    assert (folder / IMPORTED).is_file()
    assert (place.refused / "a" / EVALUATIONS / scored.name / REASON).is_file()
    assert (len(tracker.records(CELL)), len(tracker.records(EVALUATION))) == (1, 0)
    assert not bring_back(place, "a"), "the cell itself is not set aside"


class Nothing:
    """An executor that ends at once."""

    def run(self, jobs):
        return (one for one in ())


def test_a_run_tries_again_what_was_set_aside_and_tells_what_is(place, finished, make_matrix, make_cell, monkeypatch):
    monkeypatch.setattr(run, "open_executor", lambda registry, name, settings: Nothing())
    monkeypatch.setattr(run, "prepare", lambda *args, **named: None)
    folder = finished("bad", {"wall_s": "long"})
    other = make_matrix([make_cell("dummy-control", fingerprint="other")])
    notes = []
    first = run_matrix(other, workspace=place.root, listener=notes.append)
    assert [one.cell for one in first.set_aside] == ["bad"]
    assert not first.ok
    assert any("refused/bad" in note.text for note in notes if hasattr(note, "text"))
    assert not run_matrix(other, workspace=place.root).set_aside, "a later run has nothing to set aside"

    (place.refused / "bad" / LEDGER).write_text('{"wall_s": 2}')
    cell = make_cell("dummy-plain", fingerprint="bad")
    again = run_matrix(make_matrix([cell]), workspace=place.root)
    assert again.cells["bad"].status == "done"
    assert again.cells["bad"].cached, "what was mended is imported, not trained again"
    assert again.ok
    assert not (place.refused / "bad").exists()
    assert (folder / IMPORTED).is_file()
