"""Hashes of files: read once, and again as soon as anything about a file changed."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from hcbench.data.files import hash_index
from hcbench.data.files.hash_index import file_hashes, forget, index_folder
from hcbench.errors import DataError

OLD_NS = 1_600_000_000_000_000_000


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(hash_index.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three files, of which nobody expects that they change within the clock's grain."""
    monkeypatch.setattr(hash_index, "_UNSETTLED_NS", -(10**9))
    place = tmp_path / "set"
    (place / "deep").mkdir(parents=True)
    for name in ("a", "b", "deep/c"):
        (place / name).write_text(f"this is {name}")
    return place


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files that were read."""
    found: list[str] = []
    read = hash_index._digest

    def counted(path: Path) -> bytes | str:
        found.append(path.name)
        return read(path)

    monkeypatch.setattr(hash_index, "_digest", counted)
    return found


def test_hashes_are_those_of_the_content(folder: Path) -> None:
    (folder / "large").write_bytes(b"x" * (2**20 + 5))
    (folder / "even").write_bytes(b"y" * 2**20)
    found = file_hashes(folder, ["a", "deep/c", "large", "even"])
    assert found == {name: hashlib.sha256((folder / name).read_bytes()).digest() for name in found}


def test_what_did_not_change_is_not_read_again(folder: Path, reads: list[str]) -> None:
    first = file_hashes(folder, ["a", "b"])
    assert file_hashes(folder, ["b", "a"]) == first
    assert reads == ["a", "b"]
    file_hashes(folder, ["a", "deep/c"])
    assert reads == ["a", "b", "c"]


def test_the_index_of_a_folder_serves_those_below_it(folder: Path, reads: list[str], cache: Path) -> None:
    whole = file_hashes(folder, ["a", "deep/c"])
    assert file_hashes(folder / "deep", ["c"])["c"] == whole["deep/c"]
    (folder / "deep/d").write_text("new")
    file_hashes(folder / "deep", ["d"])
    assert file_hashes(folder, ["deep/d"])
    assert reads == ["a", "c", "d"]
    assert len(list(cache.rglob("*.npz"))) == 1


def test_a_file_of_the_same_size_and_time_is_read_again(folder: Path) -> None:
    os.utime(folder / "a", ns=(OLD_NS, OLD_NS))
    before = file_hashes(folder, ["a"])
    (folder / "a").write_text("that is a")
    os.utime(folder / "a", ns=(OLD_NS, OLD_NS))
    assert file_hashes(folder, ["a"]) != before


def test_a_link_that_leads_elsewhere_is_another_file(folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(f"in {name}")
        os.utime(tmp_path / name / "x", ns=(OLD_NS, OLD_NS))
    (folder / "linked").symlink_to(tmp_path / "one")
    before = file_hashes(folder, ["linked/x"])
    (folder / "linked").unlink()
    (folder / "linked").symlink_to(tmp_path / "two")
    assert file_hashes(folder, ["linked/x"]) != before


def test_a_file_that_was_just_written_is_read_again(folder: Path, reads: list[str], monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(hash_index, "_UNSETTLED_NS", 10**12)
    file_hashes(folder, ["a"])
    file_hashes(folder, ["a"])
    assert reads == ["a", "a"]


def test_forgotten_files_are_read_again_and_others_are_not_lost(folder: Path, reads: list[str]) -> None:
    file_hashes(folder, ["a"])
    file_hashes(folder.parent, ["set/b"])
    forget(folder)
    file_hashes(folder, ["a", "b"])
    assert reads == ["a", "b", "a", "b"]
    forget(folder / "a")
    file_hashes(folder, ["a"])
    assert reads[4:] == ["a"]


def test_names_that_are_no_utf8_have_hashes(folder: Path, reads: list[str]) -> None:
    name = os.fsdecode("图".encode("gbk"))
    (folder / name).write_text("x")
    assert file_hashes(folder, [name]) == file_hashes(folder, [name])
    assert len(reads) == 1


def test_a_damaged_index_is_made_again(folder: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = file_hashes(folder, ["a"])
    (path,) = cache.rglob("*.npz")
    for content in (b"rubbish", path.read_bytes()[:100], b""):
        path.write_bytes(content)
        with caplog.at_level(logging.WARNING, "hcbench"):
            assert file_hashes(folder, ["a"]) == before
        assert "is damaged" in caplog.text
        caplog.clear()
    np.savez(path, names=np.zeros(3, np.uint8), states=np.zeros((1, 4)), digests=np.zeros((2, 32), np.uint8))
    assert file_hashes(folder, ["a"]) == before


def test_without_a_place_for_it_files_are_read_each_time(folder: Path, reads: list[str], monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv(hash_index.VARIABLE, "/proc/nowhere")
    assert file_hashes(folder, ["a"]) == file_hashes(folder, ["a"])
    assert reads == ["a", "a"]
    forget(folder)


def test_the_place_follows_the_conventions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(hash_index.VARIABLE)
    monkeypatch.setenv("HOME", "/people/somebody")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert index_folder() == Path("/people/somebody/.cache/hcbench/contents")
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch")
    assert index_folder() == Path("/scratch/hcbench/contents")


def test_files_that_cannot_be_read_are_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"4 of 5 files of .*: gone: No such file or directory; .* \(and 1 more\)"):
        file_hashes(folder, ["a", "gone", "gone2", "gone3", "gone4"])
    with pytest.raises(DataError, match=r"1 of 2 files of .*: deep: Is a directory"):
        file_hashes(folder, ["a", "deep"])
