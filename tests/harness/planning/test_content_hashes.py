"""Settings that name files, folders and entry points count by what is there, not by where."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hcbench.errors import ConfigError
from hcbench.harness.planning.config import Override, resolve
from hcbench.harness.planning.content_hashes import sha256
from hcbench.harness.planning.machine import Machine
from hcbench.harness.planning.plan import make_plan
from hcbench.harness.planning.registry import load_registry
from hcbench.harness.training.pretrain import build_method
from hcbench.methods.parts.structure.base import GROUP

CPU = Machine(cuda=False, bf16=False, cores=2)


def structured(source: str, *sets: str):  # type: ignore[no-untyped-def]
    """The cell of gan-invariance with a source of structure."""
    options = [Override("run.methods", "gan-invariance", "test"), Override("run.controls", False, "test")]
    registry = load_registry(())
    resolved = resolve(registry, options, sets=(f"gan-invariance.structure={source}", *sets))
    (cell,) = make_plan(resolved, registry, CPU).cells
    return cell


def test_structure_files_count_by_content_and_not_by_place(tmp_path: Path) -> None:
    first, copy = tmp_path / "a.npz", tmp_path / "deep" / "b.npz"
    np.savez(first, ids=np.array(["a"]), keypoints=np.zeros((1, 17, 3)))
    copy.parent.mkdir()
    copy.write_bytes(first.read_bytes())
    before, moved = structured(f"params:{first}"), structured(f"params:{copy}")
    assert before.fingerprint == moved.fingerprint
    assert before.method_config["structure"] == f"params:{sha256(first)}"
    assert (before.settings["structure"], moved.settings["structure"]) == (f"params:{first}", f"params:{copy}")
    np.savez(first, ids=np.array(["a"]), keypoints=np.ones((1, 17, 3)))
    assert structured(f"params:{first}").fingerprint != before.fingerprint
    with pytest.raises(ConfigError, match="structure is 'params:"):
        structured(f"params:{tmp_path / 'none.npz'}")


def test_a_folder_of_renders_counts_by_the_names_and_contents_of_all_its_files(tmp_path: Path) -> None:
    prints = []
    for place, folder, file, content in (
        ("a", "render_45", "1.png", "x"), ("b", "render_45", "1.png", "x"), ("c", "render_45", "1.png", "y"),
        ("d", "render_90", "1.png", "x"), ("e", "render_45", "2.png", "x"),
    ):  # fmt: skip
        (tmp_path / place / "render").mkdir(parents=True)
        (tmp_path / place / folder).mkdir()
        (tmp_path / place / "render" / "1.png").write_text("x")
        (tmp_path / place / folder / file).write_text(content)
        prints.append(structured(f"rendered:{tmp_path / place}").fingerprint)
    assert prints[0] == prints[1]
    assert len(set(prints[1:])) == 4


def test_an_entry_point_counts_with_its_package_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    assert structured("entrypoint:mine").method_config["structure"] == "entrypoint:mine", "told when it is looked for"
    installed = SimpleNamespace(name="mine", dist=SimpleNamespace(name="smpl-maps", version="1.2"))
    points = {(GROUP, "mine"): [installed]}
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group, name: points.get((group, name), []))
    cell = structured("entrypoint:mine")
    assert cell.method_config["structure"] == "entrypoint:mine (smpl-maps 1.2)"
    assert cell.settings["structure"] == "entrypoint:mine"


def test_the_run_reads_the_file_where_it_lies(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", ids=np.array(["a"]), keypoints=np.zeros((1, 17, 3)))
    small = ("dim=2", "n_res=2", "mlp_dim=8", "dis_dim=4", "dis_res=1")
    cell = structured(f"params:{tmp_path / 'a.npz'}", *(f"gan-invariance.{one}" for one in small))
    assert build_method(cell, None).painter.structure.name == f"params:{tmp_path / 'a.npz'}"
