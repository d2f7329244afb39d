"""What a copy can serve is tried by what a run needs, and told with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from coco_tree import Tree
from image_tree import write_images
from typer.testing import CliRunner

from hcbench.data import catalogue
from hcbench.harness.cli.main import app
from hcbench.harness.planning.registry import PLUGINS_VARIABLE, load_registry
from hcbench.harness.scoring.task_trial import TaskTrial, try_tasks

PAGE = (Path(__file__).parents[3] / "docs" / "add-a-dataset.md").read_text(encoding="utf-8")


def market(root: Path, *, persons: int = 24, cameras: tuple[int, ...] = (1, 2)) -> Path:
    train = [f"bounding_box_train/{one:04d}_c{camera}s1_000001_{camera:02d}.jpg"
             for one in range(2, 2 + persons) for camera in cameras]  # fmt: skip
    test = [
        name
        for one in range(100, 106)
        for name in (
            f"query/{one:04d}_c{cameras[0]}s1_000002_00.jpg",
            f"bounding_box_test/{one:04d}_c{cameras[-1]}s1_1.jpg",
        )
    ]
    write_images(root, [name.replace("_1.jpg", "_000003_01.jpg") for name in (*train, *test)])
    return root


def tried(name: str, root: Path, benchmark: str = "") -> TaskTrial:
    """The trial of a benchmark; of the one that is given out with the images where none is named."""
    trials = [one for one in try_tasks(name, root, load_registry(())) if benchmark in ("", one.benchmark)]
    return trials[-1]


def verified(*words: object) -> tuple[int, str]:
    answer = CliRunner().invoke(app, ["data", "verify", *map(str, words)])
    return answer.exit_code, answer.output


def test_a_copy_that_can_be_run(tmp_path: Path) -> None:
    root = market(tmp_path / "market")
    before = sorted(root.rglob("*"))
    trial = tried("market1501", root)
    assert (trial.benchmark, trial.heads, trial.scored, trial.main, trial.served) == ("reid", "", "", 1.0, True)
    assert trial.images == {"train": 44, "val": 4, "test": 12}
    assert sorted(root.rglob("*")) == before
    code, text = verified("market1501", root)
    assert code == 0
    assert "reid: can be run (train 44, val 4, test 12 images; the truth itself has mAP 1)" in text


def test_too_few_persons_to_choose_on(tmp_path: Path) -> None:
    root = market(tmp_path / "market", persons=6)
    trial = tried("market1501", root)
    assert "leaves no image for val: it has 6 training persons" in trial.heads
    assert (trial.scored, trial.served) == ("", False), "training images lie here, and a run fails at them"
    code, text = verified("market1501", root)
    assert code == 1
    assert "Every tenth is for validation" in text, "what to do about it"
    assert "--test-on market1501" in text
    assert "no task can be run on it" in text


def test_one_image_of_each_training_person_teaches_no_metric(tmp_path: Path) -> None:
    root = market(tmp_path / "market")
    for path in root.glob("bounding_box_train/*_c2s1_*"):
        path.unlink()
    trial = tried("market1501", root)
    assert "0 persons have two images or more to learn a metric from" in trial.heads
    assert (trial.scored, trial.served) == ("", False)
    assert "zero-shot" in verified("market1501", root)[1], "what can be done all the same"


def test_one_camera(tmp_path: Path) -> None:
    root = market(tmp_path / "market", cameras=(3,))
    trial = tried("market1501", root)
    assert "all images come from one camera" in trial.scored
    assert np.isnan(trial.main)
    assert verified("market1501", root)[0] == 1


def test_a_copy_of_one_split_serves_what_that_split_is_for(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "coco", "official")
    tree.write()
    tree.persons[4] |= {"area": 500.0}
    tree.write_json()
    assert tried("coco", tree.root).served
    kept = tree.json_path("train2017").read_text()
    tree.json_path("train2017").unlink()
    only_test = tried("coco", tree.root)
    assert (only_test.scored, only_test.served) == ("", True)
    assert "is no COCO keypoint folder for train2017" in only_test.heads
    code, text = verified("coco", tree.root)
    assert code == 0
    assert "Other heads can be scored on it: --test-on coco" in text
    tree.json_path("train2017").write_text(kept)
    tree.json_path("val2017").unlink()
    only_train = tried("coco", tree.root)
    assert (only_train.heads, only_train.served) == ("", True)
    assert "Heads for other data" in only_train.text("coco")


def test_data_sets_of_plugins_are_tried_and_their_errors_are_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PLUGINS_VARIABLE, "")
    monkeypatch.setattr(catalogue, "_registered", {})
    plugin = tmp_path / "my_data.py"
    plugin.write_text(PAGE.split("```python\n")[2].partition("```")[0], encoding="utf-8")
    root = tmp_path / "staff"
    persons = {"train": range(1, 13), "val": range(13, 17), "test": range(17, 25)}
    write_images(root, [f"{split}/{one:04d}_{camera}_{camera}.jpg" for split, several in persons.items()
                        for one in several for camera in range(2)])  # fmt: skip
    code, text = verified("staff", root, "--plugin", plugin)
    assert (code, "reid: can be run" in text) == (0, True), text
    broken = plugin.read_text(encoding="utf-8").replace("def load(", "def load(root, split, **size):\n    return 1 / 0"
                                                        "\n\n\ndef _load(", 1)  # fmt: skip
    monkeypatch.setattr(catalogue, "_registered", {})
    plugin = tmp_path / "my_broken_data.py"
    plugin.write_text(broken, encoding="utf-8")
    code, text = verified("staff", root, "--plugin", plugin)
    assert (code, "ZeroDivisionError" in text) == (1, True), text


def test_a_data_set_of_no_benchmark_is_not_tried(tmp_path: Path) -> None:
    write_images(tmp_path / "pictures", ["a.jpg", "b.jpg"])
    assert try_tasks("image-folder", tmp_path / "pictures", load_registry(())) == ()
    assert verified("image-folder", tmp_path / "pictures")[0] == 0


def test_what_is_given_out_elsewhere_is_named(tmp_path: Path) -> None:
    root = market(tmp_path / "market")
    trial = tried("market1501", root, "attributes")
    assert trial.text("market1501").startswith("attributes: cannot be run: ")
    assert "holds no market_attribute.mat" in trial.heads
    assert not trial.served
    assert verified("market1501", root)[0] == 0, "reid is served"
