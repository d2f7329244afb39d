"""`hcbench generate` as a user meets it: every backend, what lies there afterwards, and what a mistake brings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from coco_tree import Tree
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from hcbench.data.manifest.check import verify_manifest
from hcbench.errors import ConfigError, HcbenchError
from hcbench.harness.cli.generate import run_generate
from hcbench.harness.cli.generate_options import GenerateOptions
from hcbench.harness.cli.main import app

SMALL = {"canvas": "64x32", "size": "32x16", "steps": 1, "variants": 2, "groups": 2}


@pytest.fixture
def coco(tmp_path) -> Path:
    tree = Tree(tmp_path / "coco", "merged")
    tree.write()
    for caption in tree.captions:
        caption["caption"] += "of a woman"
    tree.write_json()
    return tree.root


def generate(options: GenerateOptions) -> str:
    console = Console(width=200, record=True, force_terminal=False)
    run_generate(console, options)
    return console.export_text()


def rows(folder: Path) -> list[dict]:
    return pq.read_table(folder / "manifest.parquet").to_pylist()


@pytest.mark.parametrize("backend", ["t2i-adapter", "controlnet"])
def test_poses_become_groups_of_images(weights, coco, tmp_path, backend):
    options = GenerateOptions(
        backend=backend, out=tmp_path / "out", model=weights / "sd", poses=coco, seed=100, structure=True,
        pose_model=weights / "vitpose", batch=3,
        adapter=weights / "adapter-keypose" if backend == "t2i-adapter" else None,
        controlnet=weights / "control" if backend == "controlnet" else None, **SMALL,
    )  # fmt: skip
    said = generate(options)
    made = rows(tmp_path / "out")
    assert [(row["group_id"], row["variant"], row["seed"]) for row in made] == [
        (0, 0, 100), (0, 1, 101), (1, 0, 102), (1, 1, 103),
    ]  # fmt: skip
    assert made[0]["keypoints"] == made[1]["keypoints"] != made[2]["keypoints"]
    assert made[0]["captions"] == ["photograph 0 of a woman"]
    assert (made[0]["source"], made[0]["split"]) == ("coco", "train2017"), "a leak must be told from its split"
    assert "CC BY 4.0" in made[0]["licence"]
    record = json.loads(made[0]["generator"])
    assert (record["backend"], record["steps"], record["batch"], record["base_seed"]) == (backend, 1, 3, 100)
    assert json.loads(made[3]["generator"])["batch"] == 1  # the last unit is smaller
    assert record["scenes"] == "coco/train2017"
    assert record["versions"].keys() == {"diffusers", "transformers", "torch"}
    assert "/" not in "".join(record["models"].values())
    points = np.array(made[0]["keypoints"]).reshape(17, 3)
    assert (points[points[:, 2] > 0, :2] <= (15.5, 31.5)).all()
    for row in made:
        assert Image.open(tmp_path / "out" / row["image_path"]).size == (16, 32)
        for turn in ("render", "render_45", "render_315"):
            assert Image.open(tmp_path / "out" / "structure" / turn / row["image_path"]).mode == "L"
    ledger = json.loads((tmp_path / "out" / "ledger.json").read_text())
    assert ledger["flops_per_image"] > 0
    assert 0 <= ledger["condition"]["pck_0.2"] <= 1
    assert ledger["poses_rejected"]
    assert "4 images in 2 groups" in said
    assert Image.open(tmp_path / "out" / "contact-sheet.png").size == (3 * 96, 2 * 192)


def test_captions_become_groups_of_images(weights, tmp_path):
    (tmp_path / "captions.txt").write_text("a man\na woman\na child\n")
    options = GenerateOptions(
        backend="sd", out=tmp_path / "out", model=weights / "sd", captions=tmp_path / "captions.txt", **SMALL
    )
    generate(options)
    made = rows(tmp_path / "out")
    assert [row["captions"] for row in made] == [["a man"], ["a man"], ["a woman"], ["a woman"]]
    assert made[0]["keypoints"] is None
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.p*") if path.is_file()}
    assert "4 of them were there before" in generate(options)
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.p*") if path.is_file()}
    with pytest.raises(ConfigError, match="steps 1, now 2"):
        generate(replace(options, steps=2))


@pytest.mark.parametrize("layout", ["poses", "captions", "identities"])
def test_the_renderer_writes_what_run_would_see(tmp_path, layout):
    from hcbench.data.budget import draw_groups
    from hcbench.data.people.dataset import pretraining_view
    from hcbench.data.people.spec import REFERENCE_GROUPS, PeopleSpec

    generate(
        GenerateOptions(
            out=tmp_path / "out", layout=layout, groups=2, size="64x32", seed=3, structure=layout == "poses"
        )
    )
    made = rows(tmp_path / "out")
    drawn = draw_groups(3, REFERENCE_GROUPS, 2, corpus="people")
    view = pretraining_view(PeopleSpec(layout=layout, height=64, width=32), drawn, cache=None)
    assert len(made) == len(view) == 10
    for i, row in enumerate(made):
        picture = np.asarray(Image.open(tmp_path / "out" / row["image_path"])).transpose(2, 0, 1)
        np.testing.assert_array_equal(picture, view.images[np.array([i])][0])
        assert tuple(row["captions"]) == view.captions[i]
        np.testing.assert_array_equal(np.array(row["keypoints"], np.float32).reshape(17, 3), view.keypoints[i])
        assert row["group_id"] == view.group[i]
        assert row["identity"] == (view.identity[i] if layout == "identities" else None)
        assert row["pose_id"] == (view.group[i] if layout == "poses" else None)
        assert row["camera"] == view.camera[i]
    report = verify_manifest(tmp_path / "out" / "manifest.parquet")
    assert (report.level, report.problems) == ("exact", ())


def test_structure_maps_are_those_of_the_joints_and_can_be_read(tmp_path):
    import torch

    from hcbench.harness.generation.job import read_rows
    from hcbench.methods.parts.structure.base import Subjects
    from hcbench.methods.parts.structure.providers import structure_provider

    generate(GenerateOptions(out=tmp_path / "out", groups=1, size="64x32", structure=True))
    made = list(read_rows(tmp_path / "out"))
    names = [row["image_path"] for row in made]
    read = structure_provider(f"rendered:{tmp_path / 'out' / 'structure'}", names)
    joints = torch.tensor([row["joints"] for row in made]).reshape(-1, 17, 3)
    subjects = Subjects(indices=torch.arange(len(made)), frame=(64, 32), joints=joints)
    for angle in (0.0, 90.0):
        yaw = torch.full((len(made),), angle)
        ours = structure_provider("capsule-gray", names).render(subjects, yaw, (64, 32))
        assert ours.max() > 0
        torch.testing.assert_close(read.render(subjects, yaw, (64, 32)), ours, atol=1 / 127, rtol=0)


def test_a_dry_run_checks_and_makes_nothing(weights, coco, tmp_path):
    options = GenerateOptions(
        backend="controlnet", out=tmp_path / "out", model=weights / "sd", controlnet=weights / "control", poses=coco,
        dry_run=True, **SMALL,
    )  # fmt: skip
    assert "2 poses x 2 images of 64x32 saved at 32x16" in generate(options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backend": "sdxl"}, "No generator is called 'sdxl'"),
        ({"backend": "renderer"}, "does not use --poses, --model"),
        ({"model": None}, "--model was not given"),
        ({"model": Path("gone")}, "--model gone: nothing is there"),
        ({"controlnet": None}, "--controlnet was not given"),
        ({"adapter": Path("x")}, "does not use --adapter"),
        ({"poses": None}, "--poses was not given"),
        ({"poses": Path("gone.json")}, "there is no such file"),
        ({"split": "test2017"}, "test2017"),
        ({"canvas": "60x124", "size": None}, "multiples of 8"),
        ({"size": "32x32"}, "squeezed"),
        ({"groups": 10_000}, "there are . usable ones"),
        ({"precision": "fp16", "device": "cpu"}, "needs a GPU"),
    ],
)
def test_mistakes_are_told_before_anything_is_made(weights, coco, tmp_path, changes, message):
    options = GenerateOptions(
        backend="controlnet", out=tmp_path / "out", model=weights / "sd", controlnet=weights / "control", poses=coco,
        canvas="64x32", size="32x16", steps=1, variants=2, groups=2,
    )  # fmt: skip
    with pytest.raises(HcbenchError, match=message):
        generate(replace(options, **changes))
    assert not (tmp_path / "out").exists()


def test_a_text_backend_needs_captions(weights, tmp_path):
    with pytest.raises(ConfigError, match="--captions was not given"):
        generate(GenerateOptions(backend="sd", out=tmp_path / "out", model=weights / "sd"))


def test_the_command_line_knows_it():
    done = CliRunner().invoke(app, ["generate", "--help"])
    assert done.exit_code == 0
    assert "--adapter" in done.output


def test_help_loads_nothing_heavy():
    code = (
        "import sys, runpy; sys.argv = ['hcbench', 'generate', '--help']\n"
        "try: runpy.run_module('hcbench', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'diffusers', 'transformers', 'pyarrow'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_killed_and_run_again_gives_the_same_bytes(tmp_path):
    def command(out: str) -> list[str]:
        return [sys.executable, "-m", "hcbench", "generate", "--groups", "192", "--size", "64x32", "--out", out]

    def content(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and path.name not in ("ledger.json", ".lock") and "units" not in path.parts
        }

    subprocess.run(command("whole"), cwd=tmp_path, check=True, env=os.environ)
    process = subprocess.Popen(command("cut"), cwd=tmp_path, env=os.environ)
    deadline = time.monotonic() + 240
    while not list(tmp_path.glob("cut/units/*/*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "cut" / "manifest.parquet").exists()
    subprocess.run(command("cut"), cwd=tmp_path, check=True, env=os.environ)
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
