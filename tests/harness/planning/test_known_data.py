"""Whether a result is known depends on what the data's files hold, whatever their names, sizes, times and places."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from image_tree import colour
from PIL import Image

from hcbench.data.files import hash_index
from hcbench.data.manifest.write import ManifestWriter
from hcbench.errors import DataError
from hcbench.harness.planning.cell import Cell, Evaluation
from hcbench.harness.planning.config import Override, resolve
from hcbench.harness.planning.content_hashes import read_again
from hcbench.harness.planning.machine import Machine
from hcbench.harness.planning.plan import make_plan
from hcbench.harness.planning.registry import load_registry
from hcbench.harness.training.prepare import _of_evaluation

CPU = Machine(cuda=False, bf16=False, cores=2)
FOLDERS = ("bounding_box_train", "bounding_box_test", "query")


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """Bitmaps, whose sizes tell nothing."""
    root = tmp_path / "market"
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
        for camera in (1, 2):
            Image.new("RGB", (8, 16), colour(f"{folder} {camera}")).save(
                root / folder / f"0001_c{camera}s1_000001_00.bmp"
            )
    return root


def scored(root: Path) -> tuple[Cell, Evaluation]:
    """The untrained network, scored on ReID."""
    options = [
        Override("run.methods", "random", "test"), Override("run.controls", False, "test"),
        Override("run.benchmarks", "reid:market1501", "test"), Override("run.data", {"market1501": str(root)}, "test"),
    ]  # fmt: skip
    registry = load_registry(())
    matrix = make_plan(resolve(registry, options), registry, CPU)
    (cell,) = matrix.cells
    (evaluation,) = matrix.evaluations[cell.fingerprint]
    return cell, evaluation


def replace_keeping_size_and_time(path: Path) -> None:
    about = path.stat()
    Image.new("RGB", (8, 16), (1, 2, 3)).save(path)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert path.stat().st_size == about.st_size


def test_a_copy_is_the_same_data_and_a_replaced_picture_is_not(market: Path, tmp_path: Path) -> None:
    cell, before = scored(market)
    shutil.copytree(market, tmp_path / "copy")
    assert scored(tmp_path / "copy")[1].fingerprint == before.fingerprint
    replace_keeping_size_and_time(market / "query/0001_c1s1_000001_00.bmp")
    again, after = scored(market)
    assert after.fingerprint != before.fingerprint
    assert again.fingerprint == cell.fingerprint, "what it trained on is the same"
    assert before.contents["market1501"].startswith("contents:")
    assert before.contents["market1501"].endswith("(6 files, 0.0 MB)")


def test_folders_behind_links_count(market: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for folder in FOLDERS:
        (linked / folder).symlink_to(market / folder)
    before = scored(linked)[1]
    assert before.fingerprint == scored(market)[1].fingerprint
    shutil.copytree(market / "query", tmp_path / "other")
    replace_keeping_size_and_time(tmp_path / "other/0001_c1s1_000001_00.bmp")
    (linked / "query").unlink()
    (linked / "query").symlink_to(tmp_path / "other")
    assert scored(linked)[1].fingerprint != before.fingerprint


def test_an_empty_folder_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "market/query").mkdir(parents=True)
    with pytest.raises(DataError, match="market holds no file"):
        scored(tmp_path / "market")


def test_what_is_decoded_again_follows_the_content(market: Path) -> None:
    _, before = scored(market)
    (first, *_) = _of_evaluation(before, 16, 8)
    assert next(piece.key for piece in _of_evaluation(before, 16, 8)) == first.key
    replace_keeping_size_and_time(market / "query/0001_c1s1_000001_00.bmp")
    assert next(piece.key for piece in _of_evaluation(scored(market)[1], 16, 8)) != first.key


def test_fresh_does_not_believe_the_index(market: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system may lie about times and inodes; `--fresh` reads all the same."""
    monkeypatch.setattr(hash_index, "_UNSETTLED_NS", -(10**12))
    monkeypatch.setattr(hash_index, "state_of", lambda about: (about.st_size, 1, 1, 1))
    monkeypatch.setattr("hcbench.data.files.contents.state_of", lambda about: (about.st_size, 1, 1, 1))
    before = scored(market)[1]
    replace_keeping_size_and_time(market / "query/0001_c1s1_000001_00.bmp")
    assert scored(market)[1].fingerprint == before.fingerprint, "the test's lie is believed"
    registry = load_registry(())
    read_again(resolve(registry, [Override("run.data", {"market1501": str(market)}, "test")]))
    assert scored(market)[1].fingerprint != before.fingerprint


def test_a_manifest_counts_with_the_images_that_it_names(market: Path, tmp_path: Path) -> None:
    names = sorted(path.relative_to(tmp_path).as_posix() for path in market.rglob("*.bmp"))
    with ManifestWriter(tmp_path / "some.parquet") as writer:
        writer.add({"image_path": names, "source": ["mine"] * len(names)})
    registry = load_registry(())
    options = [
        Override("run.methods", "mae", "test"), Override("run.controls", False, "test"),
        Override("corpus.name", str(tmp_path / "some.parquet"), "test"), Override("run.budgets", "100pct", "test"),
        Override("pretrain.groups_per_batch", 1, "test"), Override("pretrain.images_per_group", 2, "test"),
    ]  # fmt: skip
    resolved = resolve(registry, options)
    (before,) = make_plan(resolved, registry, CPU).cells
    replace_keeping_size_and_time(market / "query/0001_c1s1_000001_00.bmp")
    (after,) = make_plan(resolved, registry, CPU).cells
    assert after.fingerprint != before.fingerprint
    assert before.contents["some.parquet"].endswith("(6 files, 0.0 MB)")
