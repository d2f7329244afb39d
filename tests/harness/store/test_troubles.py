"""Each trouble of a store has the one hint that fits; each is made here as it happens."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3

import pytest

from hcbench.errors import CacheError
from hcbench.harness.store.mlflow_store import CELL, StoredRun, Tracker
from hcbench.harness.store.troubles import RefusedError, told
from hcbench.harness.store.workspace import Workspace


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    place = Workspace(tmp_path_factory.mktemp("sound"))
    place.make()
    Tracker(place)
    return place


@pytest.fixture
def copied(sound, tmp_path):
    shutil.copytree(sound.root, tmp_path / "w")
    return Workspace(tmp_path / "w")


def refused(place, uri=None):
    with pytest.raises(CacheError) as error:
        Tracker(place, uri)
    return error.value


def revision(place, name):
    with sqlite3.connect(place.database) as link:
        link.execute("UPDATE alembic_version SET version_num = ?", (name,))


def test_a_newer_schema_is_not_called_old(copied):
    revision(copied, "fedcba987654")
    error = refused(copied)
    assert "newer MLflow" in error.message
    assert "upgrade mlflow" in error.hint


def test_a_newer_schema_with_fewer_tables_is_no_traceback(copied):
    revision(copied, "fedcba987654")
    with sqlite3.connect(copied.database) as link:
        link.execute("DROP TABLE webhooks")
    assert "newer MLflow" in refused(copied).message


def test_an_older_schema_can_be_brought_up_to_date(copied):
    revision(copied, "0a8213491aaa")
    error = refused(copied)
    assert "older MLflow" in error.message
    assert f"mlflow db upgrade '{copied.database}'" in error.hint or "mlflow db upgrade" in error.hint


def test_what_is_no_database_and_what_is_cut_short(copied):
    whole = copied.database.read_bytes()
    copied.database.write_bytes(b"<html>not found</html>" * 200)
    assert "not a database" in refused(copied).message
    copied.database.write_bytes(whole[: len(whole) // 3])
    error = refused(copied)
    assert "cut short or damaged" in error.message
    assert "permission" not in error.hint


def test_a_locked_database_says_that_nothing_is_lost():
    with pytest.raises(CacheError) as error, told("It cannot be written"):
        raise OSError("database is locked")
    assert "another program" in error.value.message
    assert "not lost" in error.value.hint


@pytest.mark.parametrize(
    ("number", "hint"), [(errno.ENOSPC, "Make room"), (errno.EACCES, "read and write"), (errno.EROFS, "read and write")]
)
def test_errors_of_the_system(number, hint):
    with pytest.raises(CacheError, match=os.strerror(number) if number != errno.ENOSPC else "disk is full") as error:  # noqa: SIM117
        with told("It cannot be written"):
            raise OSError(number, os.strerror(number))
    assert hint in error.value.hint


def test_an_address_that_is_none(tmp_path):
    error = refused(Workspace(tmp_path), "sqlite//x.db?")
    assert "--tracking-uri as" in error.hint or "tracking" in error.message


def test_one_thing_that_is_refused_is_no_trouble_of_the_store(copied):
    tracker = Tracker(copied)
    record = StoredRun(kind=CELL, fingerprint="f", name="n", params={}, metrics={"m": [1]}, tags={})
    with pytest.raises(RefusedError, match=r"'m' is '\[1\]', which is no number"):
        tracker.write(record)
