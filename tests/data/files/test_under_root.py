"""Names that come from a file stay under their root, for every reader of names."""

from __future__ import annotations

import os
from pathlib import Path
from posixpath import normpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcbench.data.files.under_root import ALLOW, OutsideError, UnderRoot, check_names, why_outside

OUTSIDE = ["../x.png", "a/../../x.png", "/x.png", "..", "a/..", "./../x.png", "..\\x.png", "a\\..\\..\\x.png",
           "C:\\x.png",
           "c:/x.png", "\\x.png", "\\\\server\\x.png", "//x.png", "", "a\0b.png", "\udcd0.png", "\ud800.png",
           "a/b/../../../x.png", "."]  # fmt: skip
INSIDE = ["x.png", "a/x.png", "a/../x.png", "./x.png", "...", "..x.png", "a..b/x..png", "a:1.png", "a b/é.png",
          "a\nb.png", "a\\b.png", "~/x.png", "a/./b/../c.png"]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_leads_out_as_written(name: str, tmp_path: Path) -> None:
    assert why_outside(name)
    with pytest.raises(OutsideError) as error:
        check_names(tmp_path, ["fine.png", name, name], lambda row: f"list.json: row {row} names")
    assert "list.json: row 1 names '" in error.value.message
    assert "1 names more are like that" in error.value.message
    assert f"Expected a path below {tmp_path.name}/" in error.value.hint
    assert ALLOW in error.value.hint
    error.value.message.encode()


@pytest.mark.parametrize("name", INSIDE)
def test_what_stays_below(name: str, tmp_path: Path) -> None:
    assert why_outside(name) == ""
    check_names(tmp_path, [name], str)


@given(st.lists(st.sampled_from(["..", ".", "a", "b.png", "", "a\\..", "..\\..", "C:", "/"]), min_size=1, max_size=6))
def test_no_name_that_passes_climbs(parts: list[str]) -> None:
    name = "/".join(parts)
    if why_outside(name):
        return
    for written in (name, name.replace("\\", "/")):
        assert normpath(f"/set/{written}").startswith("/set/")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    (tmp_path / "elsewhere/x.png").write_bytes(b"x")
    (tmp_path / "elsewhere/deep/y.png").write_bytes(b"y")
    (tmp_path / "set/sub").mkdir(parents=True)
    (tmp_path / "set/sub/z.png").write_bytes(b"z")
    return tmp_path / "set"


def test_links_that_the_user_made_and_others(root: Path) -> None:
    elsewhere = root.parent / "elsewhere"
    (root / "linked").symlink_to(elsewhere)
    (root / "one.png").symlink_to(elsewhere / "x.png")
    (root / "own.png").symlink_to("sub/z.png")
    (root / "sub/further").symlink_to(elsewhere)
    (root / "above").symlink_to(root.parent)
    (elsewhere / "back.png").symlink_to(root.parent / "secret.png")
    (root.parent / "secret.png").write_bytes(b"s")
    inside = UnderRoot(root)
    for name in ("linked/x.png", "linked/deep/y.png", "own.png", "sub/z.png", "not/there.png", "linked/gone.png"):
        assert inside.why(name) == "", name
    for name in ("one.png", "sub/further/x.png", "above/secret.png", "linked/back.png"):
        assert "link that leads out" in inside.why(name), name
    again = root.parent / "alias"
    again.symlink_to(root)  # the root itself may be a link
    assert UnderRoot(again).why("sub/z.png") == ""
    assert UnderRoot(root, links=True).why("one.png") == ""
    assert UnderRoot(root, links=True).why("../one.png") != ""


def test_pipes_are_not_opened(root: Path) -> None:
    os.mkfifo(root / "pipe.png")
    (root / "to_pipe.png").symlink_to("pipe.png")
    assert UnderRoot(root).why("pipe.png") == UnderRoot(root).why("to_pipe.png") == "is a pipe, a socket or a device"


@pytest.mark.parametrize(("value", "allowed"), [("1", True), ("0", False), ("", False)])
def test_the_user_may_allow_it(root: Path, monkeypatch: pytest.MonkeyPatch, value: str, allowed: bool) -> None:
    monkeypatch.setenv(ALLOW, value)
    assert (UnderRoot(root).why("../elsewhere/x.png") == "") is allowed
    assert UnderRoot(root).why("a\0b") != ""
