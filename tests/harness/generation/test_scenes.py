"""Poses and prompts: the filter of GenPoCCL, the canvas, and every source they may come from."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from coco_tree import Tree

from hcbench.data.manifest.schema import COLUMNS, schema
from hcbench.errors import ConfigError, DataError
from hcbench.harness.generation.scenes import (
    CROWD,
    CUT,
    FEW,
    NO_CAPTION,
    SMALL,
    person_caption,
    read_poses,
    read_prompts,
    with_prompts,
)  # fmt: skip

CANVAS = (128, 64)


def person(number, box=(100.0, 50.0, 100.0, 200.0), **changes):
    """A person of COCO whose 17 joints lie on the diagonal of the box."""
    x, y, w, h = box
    t = np.linspace(0, 1, 17)
    points = np.stack([x + t * w, y + t * h, np.full(17, 2.0)], axis=1)
    return {
        "id": number, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": list(box), "area": w * h * 0.6,
        "keypoints": points.ravel().tolist(), "num_keypoints": 17, **changes,
    }  # fmt: skip


@pytest.fixture
def keypoint_json(tmp_path):
    def write(persons, captions=("A dog.", "A man walks.")):
        images = [{"id": 1, "file_name": "000000000001.jpg", "width": 640, "height": 480}]
        path = tmp_path / "person_keypoints_train2017.json"
        path.write_text(json.dumps({"images": images, "annotations": persons, "categories": []}))
        texts = [{"id": i, "image_id": 1, "caption": text} for i, text in enumerate(captions)]
        (tmp_path / "captions_train2017.json").write_text(json.dumps({"annotations": texts}))
        return path

    return write


def manifest(path, rows):
    empty = dict.fromkeys(COLUMNS)
    pq.write_table(pa.Table.from_pylist([empty | row for row in rows], schema=schema()), path)
    return path


def test_the_box_is_enlarged_and_widened_to_the_canvas(keypoint_json):
    (scene,), rejected = read_poses(keypoint_json([person(7)]), "train2017", CANVAS)
    # A box of 100 x 200 has the canvas's ratio: it becomes 1 / 1.25 of the canvas, in its middle.
    assert scene.keypoints[0, :2] == pytest.approx((31.5 - 25.6, 63.5 - 51.2))
    assert scene.keypoints[16, :2] == pytest.approx((31.5 + 25.6, 63.5 + 51.2))
    assert (scene.pose_id, scene.prompt, scene.own_caption) == (7, "A man walks.", True)
    assert (scene.dataset, scene.origin) == ("coco/train2017", "000000000001.jpg#7")
    assert not rejected


def test_poses_are_left_out_for_a_reason(keypoint_json):
    few = person(2)
    few["keypoints"][12:] = [0.0] * 39  # four joints are left
    cut = person(6, box=(100.0, 50.0, 60.0, 60.0))
    far = np.array(cut["keypoints"]).reshape(17, 3)
    far[4:, 0] = 600
    cut["keypoints"] = far.ravel().tolist()
    persons = [person(1), few, person(3, iscrowd=1), person(4, area=1023.9), person(5, area=1024.0), cut]
    scenes, rejected = read_poses(keypoint_json(persons), "train2017", CANVAS)
    assert [scene.pose_id for scene in scenes] == [1, 5]
    assert rejected == {FEW: 1, CROWD: 1, SMALL: 1, CUT: 1}
    with pytest.raises(DataError, match=r"no usable pose \(1 x crowd\)"):
        read_poses(keypoint_json([person(3, iscrowd=1)]), "train2017", CANVAS)


def test_joints_off_the_canvas_are_unknown(keypoint_json):
    one = person(1)
    one["keypoints"][0:3] = [600.0, 60.0, 2]
    (scene,), _ = read_poses(keypoint_json([one]), "train2017", CANVAS)
    assert scene.keypoints[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("name", "split", "dataset"),
    [
        ("mine.json", None, "coco"),
        ("mine.json", "val2017", "coco/val2017"),
        ("person_keypoints_val2017.json", None, "coco/val2017"),
        ("person_keypoints_val2017.json", "val2017", "coco/val2017"),
    ],
)
def test_a_json_of_val2017_does_not_pass_for_train2017(keypoint_json, name, split, dataset):
    path = keypoint_json([person(1)])
    (scene,), _ = read_poses(path.rename(path.with_name(name)), split, CANVAS)
    assert scene.dataset == dataset


def test_a_json_is_not_of_another_split_than_its_name_says(keypoint_json):
    path = keypoint_json([person(1)])
    assert {scene.dataset for scene in read_prompts(path.with_name("captions_train2017.json"), None)} == {
        "coco/train2017"
    }
    with pytest.raises(ConfigError, match=r"person_keypoints_train2017.json is of train2017, by its name"):
        read_poses(path, "val2017", CANVAS)


def test_keypoints_outside_the_photograph_are_an_error(keypoint_json):
    one = person(1)
    one["keypoints"][0:3] = [6000.0, 60.0, 2]
    with pytest.raises(DataError, match=r"keypoint 0 at \(6000, 60\) lies outside"):
        read_poses(keypoint_json([one]), "train2017", CANVAS)


@pytest.mark.parametrize(("layout", "split"), [("official", "train2017"), ("merged", "train2017"), ("official", None)])
def test_a_coco_folder_gives_the_poses_of_one_split(tmp_path, layout, split):
    folder = tmp_path / "coco_val2017"  # a folder's name tells nothing
    Tree(folder, layout).write()
    scenes, _ = read_poses(folder, split, CANVAS)
    assert scenes
    assert all(scene.dataset == "coco/train2017" for scene in scenes)
    assert {scene.prompt for scene in scenes} == {NO_CAPTION}  # "photograph 0" mentions nobody
    assert not any(scene.own_caption for scene in scenes)


def test_a_manifest_gives_each_pose_once(tmp_path):
    points = [float(v) for i in range(17) for v in (2 * i, 3 * i, 2)]
    off = [float(v) for i in range(17) for v in (900, 3 * i, 2)]
    rows = [
        {
            "keypoints": points,
            "width": 64,
            "height": 128,
            "pose_id": 4,
            "captions": ["a woman", "x"],
            "licence": "free",
        },
        {"keypoints": points, "width": 64, "height": 128, "pose_id": 4, "captions": ["a woman"]},
        {"keypoints": points, "width": 64, "height": 128},
        {"keypoints": off, "width": 64, "height": 128},
        {"captions": ["nobody knows where"]},
    ]
    scenes, rejected = read_poses(manifest(tmp_path / "m.parquet", rows), "train2017", CANVAS)
    assert [(scene.pose_id, scene.prompt, scene.licence) for scene in scenes] == [
        (4, "a woman", "free"), (7, NO_CAPTION, ""),
    ]  # fmt: skip
    np.testing.assert_allclose(scenes[0].keypoints[:, :2], np.array(points).reshape(17, 3)[:, :2])
    assert rejected == {CUT: 1, FEW: 1}


def test_poses_of_a_manifest_without_ids_are_all_taken(tmp_path):
    row = {"keypoints": [float(v) for i in range(17) for v in (2 * i, 3 * i, 2)], "width": 64, "height": 128}
    rows = [row, row | {"pose_id": 0}, row | {"pose_id": 2}]
    scenes, _ = read_poses(manifest(tmp_path / "m.parquet", rows), None, CANVAS)
    assert [scene.pose_id for scene in scenes] == [3, 0, 2], "an id of our own is beyond those that are there"
    rows = [row | {"image_path": f"000000000001.jpg#{number}", "source": "coco"} for number in (40, 7)]
    scenes, _ = read_poses(manifest(tmp_path / "coco.parquet", rows), None, CANVAS)
    assert [scene.pose_id for scene in scenes] == [40, 7], "COCO's crops are named by their annotation"


def test_a_bad_manifest_is_an_error(tmp_path):
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="has no column keypoints, width, height; it has x"):
        read_poses(tmp_path / "other.parquet", "train2017", CANVAS)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_poses(tmp_path / "broken.parquet", "train2017", CANVAS)
    short = manifest(tmp_path / "short.parquet", [{"keypoints": [1.0] * 48, "width": 64, "height": 128}])
    with pytest.raises(DataError, match="row 0 has 48 keypoint numbers"):
        read_poses(short, "train2017", CANVAS)
    with pytest.raises(DataError, match="there is nothing"):
        read_poses(tmp_path / "gone", "train2017", CANVAS)


def test_captions_of_a_text_file_are_dealt_in_turn(keypoint_json, tmp_path):
    scenes, _ = read_poses(keypoint_json([person(i) for i in (1, 2, 3)]), "train2017", CANVAS)
    (tmp_path / "lines.txt").write_text("a tall man\n\n a small man \n")
    assert [s.prompt for s in with_prompts(scenes, tmp_path / "lines.txt")] == [
        "a tall man", "a small man", "a tall man",
    ]  # fmt: skip
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(DataError, match="holds no caption"):
        with_prompts(scenes, tmp_path / "empty.txt")


def test_captions_of_coco_are_found_by_photograph(keypoint_json, tmp_path):
    scenes, _ = read_poses(keypoint_json([person(1)], captions=()), "train2017", CANVAS)
    assert scenes[0].prompt == NO_CAPTION
    other = tmp_path / "others.json"
    other.write_text(json.dumps({"annotations": [{"id": 1, "image_id": 1, "caption": "Two women."}]}))
    assert with_prompts(scenes, other)[0].prompt == "Two women."
    rows = [{"keypoints": [5.0, 5.0, 2.0] * 17, "width": 64, "height": 128}]
    foreign, _ = read_poses(manifest(tmp_path / "m.parquet", rows), "train2017", CANVAS)
    with pytest.raises(ConfigError, match="captions by COCO photograph"):
        with_prompts(foreign, other)


def test_prompts_without_poses(keypoint_json, tmp_path):
    path = keypoint_json([person(1)], captions=("A dog.", "A man walks.", "Some girls."))
    expected = ["A man walks.", "Some girls."]
    assert [s.prompt for s in read_prompts(path.with_name("captions_train2017.json"), "train2017")] == expected
    (tmp_path / "lines.txt").write_text("one\ntwo\n")
    assert [(s.prompt, s.origin) for s in read_prompts(tmp_path / "lines.txt", "train2017")] == [
        ("one", "lines.txt:1"), ("two", "lines.txt:2"),
    ]  # fmt: skip
    rows = [{"captions": ["a"]}, {"captions": ["a"]}, {"captions": None}, {"captions": ["b"]}]
    assert [s.prompt for s in read_prompts(manifest(tmp_path / "m.parquet", rows), "train2017")] == ["a", "b"]
    with pytest.raises(DataError, match="no such file"):
        read_prompts(tmp_path / "gone.txt", "train2017")


def test_words_for_persons_are_whole_words():
    assert person_caption(["A German shepherd.", "A human."]) == "A human."
    assert person_caption(["The mantelpiece is womanly."]) is None
