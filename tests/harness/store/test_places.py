"""Stores that are moved, copied, shared, mounted read-only, or lie where the name of a folder is odd."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hcbench.errors import CacheError
from hcbench.harness.store.database import database_file, expanded_address, local_path, sqlite_address
from hcbench.harness.store.mlflow_store import CELL, StoredRun, Tracker
from hcbench.harness.store.store_access import open_store
from hcbench.harness.store.workspace import Workspace
from hcbench.harness.tuning.trials import TrialStore


def record(name, *files):
    return StoredRun(kind=CELL, fingerprint=name, name=name, params={}, metrics={}, tags={"status": "done"},
                     artifacts=files)  # fmt: skip


@pytest.fixture
def note(tmp_path):
    path = tmp_path / "note.txt"
    path.write_text("kept")
    return path


def started(root):
    place = Workspace(root)
    place.make()
    return Tracker(place)


def read(tracker, name, file="note.txt"):
    (found,) = tracker.records(CELL, name)
    path = tracker.artifact(found, file)
    return path.read_text() if path else None


def test_a_moved_workspace_keeps_its_files_and_takes_new_ones(tmp_path, note):
    old, new = tmp_path / "old" / "w", tmp_path / "new" / "w"
    started(old).write(record("before", note))
    new.parent.mkdir()
    old.rename(new)
    old.parent.rmdir()
    tracker = Tracker(Workspace(new))
    assert read(tracker, "before") == "kept"
    tracker.write(record("after", note))
    assert read(tracker, "after") == "kept"
    assert not old.parent.exists(), "nothing is made at the old place"
    again = Tracker(Workspace(new))
    assert {local_path(one.location).is_relative_to(new) for one in again.records(CELL)} == {True}


def test_a_copy_keeps_to_itself(tmp_path, note):
    started(tmp_path / "one").write(record("x", note))
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    copy = Tracker(Workspace(tmp_path / "two"))
    copy.write(record("y", note))
    shutil.rmtree(tmp_path / "one")
    assert (read(copy, "x"), read(copy, "y")) == ("kept", "kept")


def test_a_lost_file_is_named_and_never_had_ones_are_none(tmp_path, note):
    tracker = started(tmp_path / "w")
    tracker.write(record("x", note))
    assert read(tracker, "x", "figures") is None
    shutil.rmtree(tmp_path / "w" / "artifacts")
    with pytest.raises(CacheError, match=r"note.txt of 'x' \(x\) is lost") as error:
        read(tracker, "x")
    assert "artifacts" in error.value.message
    assert "--fresh" in error.value.hint


@pytest.mark.parametrize("odd", ["why?", "100%", "a%41b", "c#d", "e&f=g", "zwei Wörter", "é+;:@,"])
def test_folders_of_any_name(odd, tmp_path, note):
    root = tmp_path / odd / "w"
    started(root).write(record("x", note))
    assert read(Tracker(Workspace(root)), "x") == "kept"
    assert root.joinpath("mlflow.db").is_file()
    TrialStore(root / "tuning.db", "study")
    assert root.joinpath("tuning.db").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([odd, "note.txt"])
    assert database_file(sqlite_address(root / "mlflow.db")).samefile(root / "mlflow.db")


def test_a_shared_database_has_its_files_beside_it(tmp_path, note):
    uri = f"sqlite:///{tmp_path / 'shared' / 'all.db'}"
    Tracker(Workspace(tmp_path / "one"), uri).write(record("x", note))
    (tmp_path / "shared").rename(tmp_path / "moved")
    moved = Tracker(Workspace(tmp_path / "two"), f"sqlite:///{tmp_path / 'moved' / 'all.db'}")
    assert read(moved, "x") == "kept"
    moved.write(record("y", note))
    assert read(moved, "y") == "kept"
    assert not (tmp_path / "shared").exists()


def test_reading_makes_no_store(tmp_path):
    for uri in (None, f"sqlite:///{tmp_path / 'typo.db'}"):
        with pytest.raises(CacheError, match=r"holds no results|There is no .*typo.db"):
            open_store(tmp_path / "w", uri)
    assert list(tmp_path.iterdir()) == []


def test_many_processes_open_one_new_store_at_once(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from hcbench.harness.store.mlflow_store import Tracker\n"
        "from hcbench.harness.store.workspace import Workspace\n"
        "Tracker(Workspace(Path(sys.argv[1])), sys.argv[2])\n"
    )
    uri = f"sqlite:///{tmp_path / 'new' / 'shared.db'}"
    several = [
        subprocess.Popen([sys.executable, "-P", "-c", code, str(tmp_path / str(number)), uri], stderr=subprocess.PIPE)
        for number in range(3)
    ]
    for process in several:
        _, words = process.communicate(timeout=250)
        assert process.returncode == 0, words.decode()[-500:]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_only_be_read_is_read(tmp_path, note):
    started(tmp_path / "w").write(record("x", note))
    (tmp_path / "w").chmod(0o555)
    try:
        assert read(Tracker(Workspace(tmp_path / "w")), "x") == "kept"
    finally:
        (tmp_path / "w").chmod(0o755)


def test_home_in_addresses(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded_address("sqlite:///~/x.db") == f"sqlite:///{tmp_path}/x.db"
    assert expanded_address("http://host:5000/~x") == "http://host:5000/~x"
    assert Workspace(Path("~/runs")).root == tmp_path / "runs"
