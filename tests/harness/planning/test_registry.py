from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from hcbench.errors import ConfigError, HcbenchError
from hcbench.harness.planning import registry as module
from hcbench.harness.planning.registry import PLUGINS_VARIABLE, implementation, load_registry
from hcbench.methods.card import MethodCard

PLUGIN = '''
from dataclasses import dataclass
from hcbench.methods.card import MethodCard

@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """No settings."""

class Mine:
    """Stands for a method."""

CARD = MethodCard(name="NAME", title="Mine", summary="A test.", needs=frozenset({"images"}), layout="identities",
                  supervision="images", config=Config, implementation="anything:Mine")
'''


@pytest.fixture(autouse=True)
def _fresh_cache() -> None:
    module._load.cache_clear()


def plugin(folder: Path, name: str, file: str = "mine.py") -> Path:
    path = folder / file
    path.write_text(PLUGIN.replace("NAME", name))
    return path


def test_built_ins_are_found_by_folder() -> None:
    found = load_registry(())
    for kind in ("methods", "benchmarks"):
        root = Path(module.__file__).resolve().parents[2] / kind
        folders = {path.parent.name for path in root.glob("*/card.py")}
        origins = {origin.rpartition(".")[2] for key, origin in found.origins.items() if key.startswith(kind)}
        assert origins == folders
    assert found.controls() == ("histogram", "pixels", "random")
    assert list(found.methods)[-3:] == ["histogram", "pixels", "random"]


def test_cards_are_read_without_torch() -> None:
    load = "from hcbench.harness.planning import registry; registry.load_registry(())"
    code = f"import sys; {load}; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_published_names_are_understood() -> None:
    found = load_registry(())
    assert found.benchmark("par").name == "attributes"
    assert found.benchmark("t2i_reid").name == "text-reid"
    assert found.benchmark("text_reid").name == "text-reid"
    assert found.method("StableRep").name == "stablerep"


def test_misspelt_names_are_explained() -> None:
    with pytest.raises(ConfigError, match=r"(?s)No method is called 'stablrep'.*Did you mean 'stablerep'"):
        load_registry(()).method("stablrep")
    with pytest.raises(ConfigError, match=r"(?s)No benchmark is called 'poes'.*Did you mean 'pose'"):
        load_registry(()).benchmark("poes")


def test_a_plugin_file_registers_and_its_class_is_found(tmp_path: Path) -> None:
    path = plugin(tmp_path, "mine")
    found = load_registry([path])
    assert found.origins["methods:mine"] == str(path)
    assert implementation(found.method("mine")).__name__ == "Mine"


def test_workers_find_plugins_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLUGINS_VARIABLE, str(plugin(tmp_path, "mine")))
    assert "mine" in load_registry().methods
    assert "mine" not in load_registry(()).methods


def test_two_entries_cannot_share_a_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'stablerep' is taken twice in methods.*stablerep.*mine\.py"):
        load_registry([plugin(tmp_path, "stablerep")])
    with pytest.raises(ConfigError, match="another name of 'gan-invariance'"):
        load_registry([plugin(tmp_path, "gcl", "other.py")])


def test_two_plugin_files_cannot_share_a_name(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(ConfigError, match=r"Two plugin files are called mine\.py"):
        load_registry([plugin(tmp_path, "one"), plugin(tmp_path / "a", "two")])


@pytest.mark.parametrize(
    ("text", "words"),
    [("x = 1", "holds no card"), ("import nothing_like_this", "ModuleNotFoundError"), ("x =", "SyntaxError")],
)
def test_broken_plugins_are_explained(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_registry([path])
    assert words in caught.value.message
    assert str(path) in caught.value.message


def test_a_missing_plugin_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no plugin file"):
        load_registry([tmp_path / "absent.py"])


def test_a_broken_package_stops_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("theirs", "no_such_package:CARD", "hcbench.methods")
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: (point,) if group == "hcbench.methods" else ()
    )
    found = load_registry(())
    assert "stablerep" in found.methods
    with pytest.raises(ConfigError, match=r"'theirs' is installed but cannot be loaded.*No module named"):
        found.method("theirs")


def test_entry_points_register(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("theirs", "hcbench_test_plugin_package:CARD", "hcbench.methods")
    card = MethodCard(
        name="theirs", title="T", summary="S", needs=frozenset(), layout="poses", supervision="images",
        config=object, implementation="a:B",
    )  # fmt: skip
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", lambda self: card)
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: (point,) if group == "hcbench.methods" else ()
    )
    assert load_registry(()).method("theirs") is card


def test_an_implementation_that_is_not_there_is_explained() -> None:
    card = MethodCard(
        name="x", title="X", summary="S", needs=frozenset(), layout="poses", supervision="images",
        config=object, implementation="hcbench.errors:Nothing",
    )  # fmt: skip
    with pytest.raises(HcbenchError, match=r"hcbench\.errors:Nothing"):
        implementation(card)
