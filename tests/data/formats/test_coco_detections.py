"""COCO with the boxes of a detector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_tree import Tree

from hcbench.data import coco
from hcbench.errors import DataError

PLACE = "person_detection_results/COCO_val2017_detections_AP_H_56_person.json"


def _found(image: int, score: float, **changed: Any) -> dict[str, Any]:
    return {"bbox": [10.0, 20.0, 60.0, 100.0], "category_id": 1, "image_id": image, "score": score} | changed


def _write(tree: Tree, content: Any) -> Path:
    path = tree.root / PLACE
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def test_every_detection_is_a_crop(tree: Tree, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    _write(tree, [
        _found(103, 0.2), _found(101, 0.9), _found(101, 0.4, category_id=18), _found(999, 0.8),
        _found(103, 0.7, bbox=[-5.0, 2.0, 30.0, 40.0]), _found(101, 0.1, bbox=[5.0, 5.0, 0.0, 9.0]),
    ])  # fmt: skip
    samples = coco.load_detected(tree.root, "val2017", height=128, width=64, cache=cache)
    assert samples.ids.tolist() == [f"val2017/000000000{n}.jpg#box{k}" for n, k in ((101, 1), (103, 0), (103, 4))]
    assert samples.box_scores is not None
    np.testing.assert_allclose(samples.box_scores, [0.9, 0.2, 0.7])
    assert "1 detections on other images and 1 empty ones are left out" in caplog.text
    assert samples.keypoints is samples.area is None
    assert samples.boxes is not None
    assert samples.boxes[2].tolist() == [-5, 2, 30, 40]
    assert samples.crop_size is not None
    np.testing.assert_allclose(samples.crop_size[0], [75, 150])
    assert samples.coco_truth is not None
    assert {image["id"] for image in samples.coco_truth["images"]} == {101, 103, 105}
    own = coco.load(tree.root, "val2017", cache=cache)
    assert samples.coco_truth == own.coco_truth
    assert samples.fingerprint != own.fingerprint


def test_scores_take_part_in_the_fingerprint(official: Tree, cache: Path) -> None:
    prints = set()
    for score in (0.2, 0.3):
        _write(official, [_found(101, score)])
        prints.add(coco.load_detected(official.root, "val2017", cache=cache).fingerprint)
    own = _write(official, [_found(101, 0.3)]).rename(official.root.parent / "own.json")
    prints.add(coco.load_detected(official.root, "val2017", cache=cache, detections=own).fingerprint)
    assert len(prints) == 2


WRONG = {
    "ground truth": ({"images": []}, "holds a json dict"),
    "another key": ([_found(101, 0.5), {"bbox": [1, 2, 3, 4]}], "detection 1 has no category_id, image_id"),
    "a short box": ([_found(101, 0.5, bbox=[1, 2, 3])], r"detection 0: bbox has 3 numbers"),
    "not finite": ([_found(101, float("nan"))], "detection 0: score is nan"),
    "another split": (
        [_found(100, 0.5)],
        r"holds no person \(category 1\) on the 3 images of the split, out of 1 detections",
    ),
    "nothing": ([], "holds no person"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_other_files_are_explained(official: Tree, cache: Path, case: str) -> None:
    content, message = WRONG[case]
    _write(official, content)
    with pytest.raises(DataError, match=message) as caught:
        coco.load_detected(official.root, "val2017", cache=cache)
    assert caught.value.hint


def test_without_the_file_its_place_is_named(official: Tree, cache: Path) -> None:
    with pytest.raises(DataError, match=r"COCO_val2017_detections_AP_H_56_person\.json is missing"):
        coco.load_detected(official.root, "val2017", cache=cache)


@pytest.mark.parametrize("person", [7, "7", "human"])
def test_persons_are_the_category_that_they_are_in_the_annotations(official: Tree, cache: Path, person: Any) -> None:
    path = official.json_path("val2017")
    truth = json.loads(path.read_text())
    truth["categories"] = [{"id": person, "name": "person"}]
    for one in truth["annotations"]:
        one["category_id"] = person
    path.write_text(json.dumps(truth))
    _write(official, [_found(101, 0.3, category_id=1), _found(101, 0.6, category_id=person)])
    samples = coco.load_detected(official.root, "val2017", cache=cache)
    assert samples.ids.tolist() == ["val2017/000000000101.jpg#box1"]
    _write(official, [_found(101, 0.3, category_id=1)])
    with pytest.raises(DataError, match=rf"holds no person \(category {person}\)"):
        coco.load_detected(official.root, "val2017", cache=cache)


def test_numbers_as_text_are_read_and_others_refused(official: Tree, cache: Path) -> None:
    _write(official, [_found(101, 0.5) | {"score": "0.25", "bbox": ["1", "2", "30", "40"]}])
    samples = coco.load_detected(official.root, "val2017", cache=cache)
    assert samples.boxes is not None
    assert samples.box_scores is not None
    assert (samples.boxes.tolist(), samples.box_scores.tolist()) == ([[1, 2, 30, 40]], [0.25])
    for wrong, said in (
        ({"score": None}, "the score None"),
        ({"bbox": None}, "the box None"),
        ({"bbox": [1, 2, 3]}, "bbox has 3 numbers"),
        ({"score": "high"}, "score is 'high'"),
    ):
        _write(official, [_found(101, 0.5) | wrong])
        with pytest.raises(DataError, match=said):
            coco.load_detected(official.root, "val2017", cache=cache)
