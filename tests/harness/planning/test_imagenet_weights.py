"""Weights of timm models that the user has: found without torch, named by their content."""

from __future__ import annotations

from pathlib import Path

import pytest

from hcbench.errors import WeightsError
from hcbench.harness.planning.config import Override, resolve
from hcbench.harness.planning.content_hashes import sha256
from hcbench.harness.planning.imagenet_weights import timm_weights
from hcbench.harness.planning.machine import Machine
from hcbench.harness.planning.plan import make_plan
from hcbench.harness.planning.registry import load_registry

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
