from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hcbench.harness.planning import code_hash as source
from hcbench.harness.planning.code_hash import analyse, closure

FILES = {
    "__init__.py": "",
    "method.py": '"""Doc."""\nfrom zoo.loss import loss\n\n\ndef run():\n    from zoo import lazy\n    return lazy.x\n',
    "loss.py": "from . import deep\n\n\ndef loss():\n    return deep.y  # why\n",
    "deep.py": "y = 1\n",
    "lazy.py": "import numpy\nx = 2\n",
    "other.py": "z = 3\n",
    "typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from zoo import other\nelse:\n    w = 1\n",
}


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An importable package whose files the tests edit."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    source._top_level.cache_clear()
    yield folder
    sys.modules.pop("zoo", None)
    source._top_level.cache_clear()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new) + "\n")


def test_imports_are_followed_into_functions_and_relative_ones(zoo: Path) -> None:
    found = closure(["zoo.method"])
    assert set(found.modules) == {"zoo", "zoo.method", "zoo.loss", "zoo.deep", "zoo.lazy"}
    assert "numpy" in found.foreign


def test_comments_docstrings_and_formatting_change_nothing(zoo: Path) -> None:
    before = closure(["zoo.method"])
    edit(zoo / "loss.py", "  # why", "    # because of that")
    edit(zoo / "loss.py", "def loss():\n", 'def loss():\n    """What it is."""\n')
    edit(zoo / "method.py", '"""Doc."""', '"""Another text."""\n\n"A bare remark."')
    edit(zoo / "deep.py", "y = 1", "y   =   (1)")
    assert closure(["zoo.method"]) == before


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("deep.py", "y = 1", "y = 2", "zoo.deep"),
        ("lazy.py", "x = 2", "x = 3", "zoo.lazy"),
        ("loss.py", "deep.y", "deep.y + 0", "zoo.loss"),
    ],
)
def test_code_changes_show_in_exactly_their_module(zoo: Path, file: str, old: str, new: str, changed: str) -> None:
    before = closure(["zoo.method"]).modules
    edit(zoo / file, old, new)
    after = closure(["zoo.method"]).modules
    assert {name for name in after if after[name] != before[name]} == {changed}


def test_what_is_not_imported_does_not_count(zoo: Path) -> None:
    before = closure(["zoo.method"])
    edit(zoo / "other.py", "z = 3", "z = 4")
    assert closure(["zoo.method"]) == before


def test_imports_for_the_type_checker_do_not_count(zoo: Path) -> None:
    assert set(closure(["zoo.typed"]).modules) == {"zoo", "zoo.typed"}


def test_a_root_without_source_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        closure(["hcbench.methods.nothing.here"])


@pytest.mark.parametrize(
    ("name", "is_package", "expected"), [("a.b.c", False, "a.b.x"), ("a.b.c", True, "a.b.c.x"), ("a", True, "a.x")]
)
def test_relative_imports(name: str, is_package: bool, expected: str) -> None:
    assert expected in analyse("from . import x", name, is_package=is_package).imports


def test_real_modules_are_found_without_importing_torch() -> None:
    found = closure(["hcbench.methods.base"])
    assert "hcbench.methods.card" in found.modules
    assert "hcbench.data.budget" not in found.modules
    assert "torch" in found.foreign
    assert "hcbench" not in found.modules, "a new version alone must not invalidate results"
