"""Manifests as corpora: what the plan makes of them, what a cell sees, what warnings it leaves."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from manifest_files import HEIGHT, WIDTH, columns, write

from hcbench.errors import BudgetError, DataError
from hcbench.harness.planning.cell import Cell
from hcbench.harness.planning.config import Override, resolve
from hcbench.harness.planning.machine import Machine
from hcbench.harness.planning.plan import make_plan
from hcbench.harness.planning.registry import load_registry
from hcbench.harness.training.corpus_view import corpus_view, image_warnings

REGISTRY = load_registry(())
METHODS = ("stablerep", "genpoccl", "hap", "mae", "plip")


@pytest.fixture(autouse=True)
def _light_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hcbench.harness.planning.fingerprint.code", lambda *args: {"modules": {}, "versions": {}})


def cells(corpus: Path | str, *sets: str, **run: Any) -> dict[str, Cell]:
    run = {"methods": METHODS, "budgets": ("50pct",), "benchmarks": ("reid",), **run}
    options = [Override(f"run.{key}", value, "test") for key, value in run.items()]
    small = (f"pretrain.height={HEIGHT}", f"pretrain.width={WIDTH}", "pretrain.groups_per_batch=3",
             "pretrain.images_per_group=2")  # fmt: skip
    options.append(Override("corpus.name", str(corpus), "--corpus"))
    resolved = resolve(REGISTRY, options, sets=(*small, *sets))
    planned = make_plan(resolved, REGISTRY, Machine(cuda=False, bf16=False, cores=2)).cells
    return {cell.method: cell for cell in planned}


def test_a_manifest_feeds_every_method_whose_needs_it_has(tmp_path: Path) -> None:
    planned = cells(write(tmp_path))
    skips = {name: planned[name].skip for name in METHODS}
    assert skips == {**dict.fromkeys(METHODS, ""), "plip": "some.parquet does not know phrases"}
    assert {planned[name].corpus.layout for name in ("stablerep", "genpoccl", "mae")} == {
        "captions", "poses", "identities",
    }  # fmt: skip
    assert {cell.budget_images for cell in planned.values() if cell.budget_images} == {30}
    assert planned["mae"].roots == {"some.parquet": str(tmp_path / "some.parquet")}


def test_what_is_missing_is_said_with_its_extent(tmp_path: Path) -> None:
    captions = [None, *columns(60)["captions"][1:]]
    planned = cells(write(tmp_path, captions=captions, pose_id=None, keypoints=None))
    assert planned["stablerep"].skip == "some.parquet does not know captions (1 of 60 rows have no captions)"
    assert planned["genpoccl"].skip.startswith(
        "some.parquet does not know group (the layout poses needs pose_id), keypoints (needed with genpoccl.mask=part"
    )
    assert planned["hap"].skip == (
        "some.parquet does not know keypoints (needed with hap.mask=part, not with block, random)"
    )
    assert planned["mae"].skip == ""
    only = cells(write(tmp_path / "bare", **dict.fromkeys((*columns(1),)) | {"image_path": columns(60)["image_path"]}))
    assert {name for name in METHODS if not only[name].skip} == {"mae"}


def test_fingerprints_follow_content_not_place(tmp_path: Path) -> None:
    one = cells(write(tmp_path / "a"))["mae"]
    moved = cells(write(tmp_path / "b", name="other.parquet"))["mae"]
    assert one.fingerprint == moved.fingerprint
    assert one.corpus.name != moved.corpus.name
    changed = write(tmp_path / "c", camera=[5] * 60)
    assert cells(changed)["mae"].fingerprint != one.fingerprint


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path)
    before = cells(path)["mae"].fingerprint
    path.unlink()
    write(tmp_path, camera=[5] * 60)
    os.utime(path, ns=(1, 1))
    assert cells(path)["mae"].fingerprint != before


def test_images_may_lie_elsewhere(tmp_path: Path) -> None:
    path = write(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "images").rename(elsewhere / "images")
    with pytest.raises(DataError, match="--data some=ROOT"):
        cells(path)
    cell = cells(path, data={"some": str(elsewhere)})["mae"]
    assert cell.roots == {"some.parquet": str(path), "images": str(elsewhere)}
    assert corpus_view(cell, tmp_path / "cache").images[np.arange(3)].any()


@pytest.mark.parametrize("packed", [False, True])
def test_a_cell_sees_the_budget_in_its_layout(tmp_path: Path, packed: bool) -> None:
    planned = cells(write(tmp_path, packed=packed))
    for name, groups in (("stablerep", 6), ("genpoccl", 15), ("mae", 10)):
        samples = corpus_view(planned[name], tmp_path / "cache")
        assert len(samples) == 30
        assert samples.group is not None
        assert len(np.unique(samples.group)) == groups
        number = int(samples.ids[4][7:11])
        assert samples.images[np.array([4])][0, 0, 0, 0] == number, "the pixels are those of the labels"
    smaller = corpus_view(replace(planned["stablerep"], budget_images=10), tmp_path / "cache")
    assert set(smaller.ids) < set(corpus_view(planned["stablerep"], tmp_path / "cache").ids)


def test_a_folder_of_shards_is_a_corpus(tmp_path: Path) -> None:
    cell = cells(f"{write(tmp_path, name='shards')}/")["mae"]
    assert cell.corpus.name == "shards/"
    assert len(corpus_view(cell, tmp_path / "cache")) == 30


def test_budgets_larger_than_the_manifest_say_so(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="asks for 100 images, the corpus holds 60"):
        cells(write(tmp_path), budgets=("100",))


def test_broken_images_become_a_warning_of_the_cell(tmp_path: Path) -> None:
    path = write(tmp_path, 240)
    cell = cells(path, budgets=("100pct",))["mae"]
    (tmp_path / "images/0100.png").unlink()
    samples = corpus_view(cell, tmp_path / "cache")
    samples.images[np.arange(240)]
    assert image_warnings(samples) == (
        "1 of 240 images could not be read and were black: images/0100.png: it is missing",
    )
