"""What stands for data on disk: their contents, wherever they lie."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from hcbench.data.files import contents
from hcbench.data.files.contents import Contents, folder_contents, listed_contents, path_contents
from hcbench.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "set"
    (place / "train").mkdir(parents=True)
    for name in ("train/a.bmp", "train/b.bmp", "list.txt"):
        (place / name).write_bytes(name.encode() * 10)
    return place


def test_a_copy_is_the_same_wherever_it_lies(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere/copy"
    shutil.copytree(folder, copy, copy_function=shutil.copy)
    assert folder_contents(copy) == folder_contents(folder)
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in ("train", "list.txt"):
        (linked / name).symlink_to(folder / name)
    assert folder_contents(linked) == folder_contents(folder), "links stand for what they lead to"


@pytest.mark.parametrize("what", ["content", "name", "more", "less", "linked"])
def test_whatever_changes_is_noticed(what: str, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder / "train", other)
    (other / "a.bmp").write_bytes(b"z" * 110)
    shutil.move(folder / "train", tmp_path / "first")
    (folder / "train").symlink_to(tmp_path / "first")
    before = folder_contents(folder)
    image = folder / "train/a.bmp"
    if what == "content":
        times = image.stat()
        image.write_bytes(b"z" * times.st_size)
        os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    elif what == "name":
        image.rename(image.with_name("c.bmp"))
    elif what == "more":
        (folder / "train/deep").mkdir()
        (folder / "train/deep/c.bmp").touch()
    elif what == "less":
        image.unlink()
    else:
        (folder / "train").unlink()
        (folder / "train").symlink_to(other)
    assert folder_contents(folder).digest != before.digest


def test_what_is_hidden_or_leads_nowhere_does_not_count(folder: Path) -> None:
    before = folder_contents(folder)
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints/a.bmp").touch()
    for name in (".DS_Store", "Thumbs.db", "train/._a.bmp"):
        (folder / name).touch()
    (folder / "train/up").symlink_to(folder)
    (folder / "train/self").symlink_to(folder / "train/self")
    (folder / "gone").symlink_to(folder / "nothing")
    assert folder_contents(folder) == before


def test_only_the_folders_that_are_named_count(folder: Path) -> None:
    (folder / "unlabelled").mkdir()
    before = folder_contents(folder, [folder / "train"], [folder / "list.txt"])
    (folder / "unlabelled/x.bmp").touch()
    assert folder_contents(folder, [folder / "train"], [folder / "list.txt"]) == before
    assert before.files == 3
    (folder / "list.txt").write_text("other")
    assert folder_contents(folder, [folder / "train"], [folder / "list.txt"]) != before


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty/deep").mkdir(parents=True)
    with pytest.raises(DataError, match="empty holds no file"):
        folder_contents(tmp_path / "empty")


def test_of_too_many_files_names_sizes_and_a_sample_count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        (folder / f"train/{number}.bmp").write_bytes(bytes([number]) * 50)
    whole = folder_contents(folder)
    monkeypatch.setattr(contents, "MOST_FILES", 10)
    monkeypatch.setattr(contents, "SAMPLE", 4)
    sampled = folder_contents(folder, always=[folder / "list.txt"])
    assert (sampled.files, sampled.size, sampled.read) == (23, whole.size, 5)
    assert sampled.fingerprint.startswith("sample:")
    assert whole.fingerprint.startswith("contents:")
    assert "too many to read: names, sizes and the contents of 5)" in str(sampled)
    noticed = 0
    for path in sorted((folder / "train").iterdir()):
        held = path.read_bytes()
        path.write_bytes(b"!" * len(held))
        noticed += folder_contents(folder, always=[folder / "list.txt"]) != sampled
        path.write_bytes(held + b"!")
        assert folder_contents(folder, always=[folder / "list.txt"]) != sampled, "a size is always noticed"
        path.write_bytes(held)
    assert noticed == 4
    (folder / "list.txt").write_bytes(b"!" * 80)
    assert folder_contents(folder, always=[folder / "list.txt"]) != sampled


def test_of_a_huge_file_blocks_count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "MOST_BYTES", 1000)
    monkeypatch.setattr(contents, "_BLOCK", 10)
    monkeypatch.setattr(contents, "_BLOCKS", 5)
    (folder / "data.mdb").write_bytes(bytes(range(250)) * 8)
    before = folder_contents(folder)
    assert (before.files, before.read) == (4, 0), "each is larger than its blocks"
    held = bytearray((folder / "data.mdb").read_bytes())
    for place, noticed in ((0, True), (1999, True), (500, True), (100, False)):
        held[place] ^= 255
        (folder / "data.mdb").write_bytes(held)
        assert (folder_contents(folder) != before) is noticed, place
        held[place] ^= 255


def test_files_of_a_list_count_by_content_and_their_absence_does(folder: Path) -> None:
    names = ["train/b.bmp", "train/a.bmp", "train/b.bmp"]
    before = listed_contents(folder, names)
    assert (before.files, before.read) == (2, 2)
    assert listed_contents(folder, names[1:]) == before
    (folder / "train/a.bmp").unlink()
    gone = listed_contents(folder, names)
    assert gone != before
    (folder / "train/a.bmp").write_text("missing")
    assert listed_contents(folder, names) not in (gone, before)


def test_one_file_or_a_folder_of_them(folder: Path) -> None:
    assert path_contents(folder / "list.txt").files == 1
    assert path_contents(folder) == folder_contents(folder)
    with pytest.raises(DataError, match="nothing: No such file"):
        path_contents(folder / "nothing")


def test_words() -> None:
    assert str(Contents(digest="ab", files=1, size=2_340_000, read=1)) == "contents:ab (1 file, 2.3 MB)"
