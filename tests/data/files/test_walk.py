"""Folders as people have them: what counts, what is left out, and what is said of it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcbench.data.files import walk as walking
from hcbench.data.files.left_out import AGAIN, CLOSED, ENCODING, ENDING, HIDDEN, NO_FILE, NOWHERE, SYSTEM, LeftOut
from hcbench.data.files.names import shown, some
from hcbench.data.files.walk import folders_in, is_hidden, stamp, walk
from hcbench.data.formats.listing import IMAGE_ENDINGS, list_files
from hcbench.errors import DataError

GBK = b"\xd0\xd0\xc8\xcb.jpg"


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def listed(root: Path, deep: bool = True) -> tuple[list[str], dict[str, int]]:
    found = walk(root, endings=(".jpg",), deep=deep)
    return sorted(name for name, _ in found.files), dict(found.left_out.counts)


@pytest.mark.parametrize(
    "name",
    [".ipynb_checkpoints", ".Trash-1000", ".git", "._x.jpg", ".DS_Store", "__MACOSX", "Thumbs.db", "thumbs.db",
     "@eaDir", "desktop.ini", "Desktop.ini", "$RECYCLE.BIN", "lost+found", "System Volume Information",
     ".nfs0001", "#recycle"],
)  # fmt: skip
def test_what_is_hidden_never_counts_whatever_lies_in_it(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "p1/0.jpg", f"{name}/1.jpg", f"p1/{name}/deep/2.jpg")
    files, left_out = listed(tmp_path)
    assert files == ["p1/0.jpg"]
    assert left_out in ({SYSTEM: 2}, {HIDDEN: 2})
    assert [path.name for path in folders_in(tmp_path)] == ["p1"]
    assert is_hidden(name)


def test_a_hidden_root_is_the_users_own_choice(tmp_path: Path) -> None:
    assert listed(touch(tmp_path / ".cache" / "set", "0.jpg")) == (["0.jpg"], {})


def test_linked_folders_count_once_under_their_own_path(tmp_path: Path) -> None:
    root = touch(tmp_path / "set", "z/0.jpg")
    touch(tmp_path / "elsewhere", "x/1.jpg", "2.jpg")
    (root / "a").symlink_to("z")
    (root / "b").symlink_to(tmp_path / "elsewhere")
    (root / "c").symlink_to(tmp_path / "elsewhere")
    (root / "d").symlink_to(tmp_path / "elsewhere/x")
    (root / "one.jpg").symlink_to(tmp_path / "elsewhere/2.jpg")
    files, left_out = listed(root)
    assert files == ["b/2.jpg", "b/x/1.jpg", "one.jpg", "z/0.jpg"]
    assert left_out == {AGAIN: 3}  # a, c and d
    assert [path.name for path in folders_in(root)] == ["b", "d", "z"]


@pytest.mark.parametrize("target", ["..", ".", "../..", "/"])
def test_links_to_a_folder_above_are_not_entered(tmp_path: Path, target: str) -> None:
    root = touch(tmp_path / "a/set", "in/0.jpg")
    touch(tmp_path / "a", "sister/9.jpg")
    (root / "in/up").symlink_to(target)
    assert listed(root) == (["in/0.jpg"], {AGAIN: 1})


def test_what_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = touch(tmp_path, "0.jpg", "closed/1.jpg", "notes.TXT", "raw.heic", "bare")
    (root / "gone.jpg").symlink_to("nowhere.jpg")
    (root / "circle").symlink_to("circle")
    os.mkfifo(root / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(root)  # paths of sockets are short
        server.bind("socket.jpg")
        scandir = os.scandir

        def refused(place: str) -> object:
            if str(place).endswith("closed"):
                raise PermissionError(13, "Permission denied", place)
            return scandir(place)

        monkeypatch.setattr(walking.os, "scandir", refused)
        files, left_out = listed(root)
        assert files == ["0.jpg"]
        assert left_out == {NOWHERE: 2, NO_FILE: 2, CLOSED: 1, ENDING: 3}
        told = walk(root, endings=(".jpg",)).left_out
        assert told.problems() == [
            "2 links lead nowhere: circle, gone.jpg",
            "1 folders or links may not be read (permissions): closed",
        ]
        assert told.notes() == [
            "2 sockets, pipes or devices were left out: pipe.jpg, socket.jpg",
            "3 files are not taken for their endings: 1 .heic, 1 .txt, 1 without an ending",
        ]
        assert told.notes(endings=False) == told.notes()[:1]
        monkeypatch.setattr(walking.os, "scandir", lambda place: refused("closed"))
        with pytest.raises(DataError, match="cannot be listed: Permission denied"):
            walk(root, endings=(".jpg",))


def test_names_in_other_encodings_are_refused_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "ok.jpg")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + GBK)).write_bytes(b"x")
    assert listed(tmp_path) == (["ok.jpg"], {ENCODING: 1})
    with pytest.raises(
        DataError, match=r"1 names of images in .* are not in UTF-8: \\xd0\\xd0\\xc8\\xcb\.jpg"
    ) as error:
        list_files(tmp_path)
    assert "convmv" in error.value.hint
    assert list_files(tmp_path, refuse=False).files == ("ok.jpg",)


def test_spellings_of_one_name_do_not_collide(tmp_path: Path) -> None:
    names = ["a.JPG", "a.jpg", "A.jpg", "a.jpeg", "a.Jpg"]
    assert set(list_files(touch(tmp_path, *names)).files) == set(names)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=40))
def test_any_name_is_listed_as_it_is_and_shown_on_one_line(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    root = tmp_path_factory.mktemp("any")
    touch(root, f"{name}.jpg")
    files, left_out = listed(root)
    assert files == ([] if is_hidden(f"{name}.jpg") else [f"{name}.jpg"])
    assert sum(left_out.values()) == 1 - len(files)
    assert len(some([name]).splitlines()) <= 1
    assert shown(name).isprintable()


@given(st.text(min_size=1, max_size=20))
def test_whatever_python_calls_a_name_can_be_printed(name: str) -> None:
    assert shown(name).encode().decode() == shown(name)


def test_what_was_left_out_is_added_up_and_kept(tmp_path: Path) -> None:
    one, other = LeftOut(), LeftOut()
    for number in range(9, 0, -1):
        one.add(HIDDEN, f".{number}")
    other.add(ENDING, "x/a.TAR.gz")
    both = one + other
    assert both.notes() == [
        "9 hidden files or folders were left out: .1, .2, .3, .4, .5 and 4 more",
        "1 files are not taken for their endings: 1 .gz",
    ]
    assert LeftOut.of_plain(both.plain()) == both
    assert both.remarks() == both.notes()[1:]


def test_a_stamp_changes_with_a_folder_and_with_a_link(tmp_path: Path) -> None:
    one, other = touch(tmp_path / "one", "a.jpg"), touch(tmp_path / "other", "a.jpg")
    os.utime(one, ns=(7, 7)), os.utime(other, ns=(7, 7))
    link = tmp_path / "link"
    link.symlink_to(one)
    before = stamp(link)
    link.unlink()
    assert stamp(link) == ""
    link.symlink_to(other)
    assert stamp(link) not in (before, "")


def test_endings_are_lower_case_and_each_once() -> None:
    assert len(set(IMAGE_ENDINGS)) == len(IMAGE_ENDINGS)
    assert all(ending == ending.lower() and ending.startswith(".") for ending in IMAGE_ENDINGS)
