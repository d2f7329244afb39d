"""Files of weights that the user has: found without torch, named by their content."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hcbench.errors import ConfigError, WeightsError
from hcbench.harness.planning.config import Override, resolve
from hcbench.harness.planning.imagenet_weights import sha256, timm_weights
from hcbench.harness.planning.machine import Machine
from hcbench.harness.planning.plan import make_plan
from hcbench.harness.planning.registry import load_registry
from hcbench.harness.training.pretrain import build_method
from hcbench.methods.parts.structure.base import GROUP

CPU = Machine(cuda=False, bf16=False, cores=2)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of downloads in the place of the user's."""
    for name in ("HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hub"


def downloaded(cache: Path, name: str, file: str = "model.safetensors", content: str = "x") -> Path:
    folder = cache / f"models--timm--{name}" / "snapshots" / "0a1b"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(content)
    return folder / file


def plan(*options: tuple[str, object]):  # type: ignore[no-untyped-def]
    values = [("run.methods", "imagenet"), ("run.controls", False), ("run.benchmarks", "reid"), *options]
    registry = load_registry(())
    return make_plan(resolve(registry, [Override(key, value, "test") for key, value in values]), registry, CPU)


def test_earlier_downloads_are_found_by_name_and_tag(cache: Path) -> None:
    first = downloaded(cache, "resnet50.a1_in1k")
    downloaded(cache, "resnet50.a1_in1k", "pytorch_model.bin")
    downloaded(cache, "resnet50d.ra2_in1k")
    assert timm_weights("timm:resnet50", None) == first, "safetensors before pickles, and no other network"
    second = downloaded(cache, "resnet50.tv_in1k")
    several = timm_weights("resnet50", None)
    assert "several weights" in str(several)
    assert "timm:resnet50.a1_in1k or timm:resnet50.tv_in1k" in str(several)
    assert timm_weights("resnet50.tv_in1k", None) == second
    assert "no weights of vit_tiny_patch16_224" in str(timm_weights("vit_tiny_patch16_224", None))


def test_a_folder_or_file_of_the_user_goes_first(cache: Path, tmp_path: Path) -> None:
    downloaded(cache, "resnet50.a1_in1k")
    own = tmp_path / "own"
    (own / "resnet50").mkdir(parents=True)
    assert "holds no resnet50.safetensors" in str(timm_weights("resnet50", str(own)))
    (own / "resnet50" / "model.safetensors").write_text("y")
    assert timm_weights("resnet50", str(own)) == own / "resnet50" / "model.safetensors"
    (own / "resnet50.pth").write_text("z")
    assert timm_weights("timm:resnet50", str(own)) == own / "resnet50.pth"
    assert timm_weights("resnet50", str(own / "resnet50.pth")) == own / "resnet50.pth"
    with pytest.raises(WeightsError, match="no such file or folder"):
        timm_weights("resnet50", str(tmp_path / "none"))


def test_the_control_is_skipped_with_a_reason_where_there_are_no_weights() -> None:
    (cell,) = plan().cells
    assert "hcbench's own network" in cell.skip
    (cell,) = plan(("run.backbones", "timm:vit_tiny_patch16_224")).cells
    assert "no weights of vit_tiny_patch16_224 on this machine" in cell.skip
    assert "--data imagenet=FILE" in cell.skip


def test_a_cell_is_named_by_the_content_of_its_file_not_by_its_place(tmp_path: Path) -> None:
    def cell(name: str, content: str):  # type: ignore[no-untyped-def]
        (tmp_path / name).write_text(content)
        data = {"imagenet": str(tmp_path / name)}
        (one,) = plan(("run.backbones", "timm:vit_tiny_patch16_224"), ("run.data", data)).cells
        assert not one.skip
        assert one.roots["weights"] == str(tmp_path / name)
        return one

    first, moved, other = cell("a.pth", "x"), cell("b.pth", "x"), cell("c.pth", "y")
    assert first.fingerprint == moved.fingerprint != other.fingerprint
    assert first.method_config["sha256"] == sha256(tmp_path / "a.pth")


def test_weights_that_are_given_put_the_control_into_the_table(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_text("x")
    options = [
        ("run.methods", "stablerep"),
        ("run.controls", True),
        ("run.data", {"imagenet": str(tmp_path / "w.pth")}),
    ]
    assert "imagenet" in [cell.method for cell in plan(*options).cells]
    assert "imagenet" not in [cell.method for cell in plan(*options[:2]).cells]


def test_one_network_has_one_name_however_it_is_written() -> None:
    (cell,) = plan(("run.methods", "random"), ("run.backbones", "timm:vit_tiny_patch16_224,vit_tiny_patch16_224")).cells
    assert cell.backbone == "vit_tiny_patch16_224"


def test_the_method_checkpoint_names_the_command_that_it_belongs_to() -> None:
    (cell,) = plan(("run.methods", "checkpoint")).cells
    assert "hcbench evaluate FILE" in cell.skip


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
