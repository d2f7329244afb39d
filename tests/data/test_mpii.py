"""MPII on a small tree in each layout: counting from 1, missing joints, head boxes, and files that do not fit."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_tree import JUNK, write_junk
from mpii_tree import LAYOUTS
from mpii_tree import MpiiTree as Tree
from numpy.typing import NDArray
from scipy import io

from hcbench.benchmarks.metrics.keypoints import pckh
from hcbench.data import mpii
from hcbench.data.samples import Samples
from hcbench.data.skeletons import MPII
from hcbench.data.task_splits import task_samples
from hcbench.data.windows import to_original
from hcbench.errors import DataError


@pytest.fixture
def made(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "mpii").write()


def originals(samples: Samples) -> NDArray[np.float64]:
    assert samples.keypoints is not None
    assert samples.crop_center is not None
    assert samples.crop_size is not None
    height, width = samples.images[0:1].shape[2:]
    center, size = samples.crop_center[:, None], samples.crop_size[:, None]
    return to_original(samples.keypoints[..., :2].astype(np.float64), center, size, height, width)


def test_every_layout_gives_the_same_samples(tmp_path: Path, cache: Path) -> None:
    loaded = []
    for layout in LAYOUTS:
        tree = Tree(tmp_path / layout / "run_12_c3" / "mpii", layout).write()
        (tree.root / "images" / "._9.jpg").write_bytes(b"junk")
        (tree.root / ".DS_Store").write_bytes(b"junk")
        loaded += [
            [mpii.load(root, split, cache=cache) for split in mpii.SPLITS]
            for root in (tree.root, tree.root.parent, tree.root.parent.parent)
        ]
    for train, val in loaded:
        assert (train.name, val.name) == ("mpii train", "mpii val")
        assert (train.fingerprint, val.fingerprint) == tuple(s.fingerprint for s in loaded[0])
        np.testing.assert_array_equal(val.images[:], loaded[0][1].images[:])
    assert loaded[0][0].fingerprint != loaded[0][1].fingerprint


def test_what_is_known_in_the_order_of_the_file(made: Tree, cache: Path) -> None:
    before = sorted(made.root.rglob("*"))
    val = mpii.load(made.root, "val", cache=cache)
    assert val.ids.tolist() == ["images/9.jpg#val0", "images/10.jpg#val1", "images/9.jpg#val2", "images/7.jpg#val3"]
    assert val.known() == mpii.CARD.fields
    assert val.skeleton is MPII
    assert val.image_id is not None
    assert val.image_id[0] == val.image_id[2] != val.image_id[1]
    train = mpii.load(made.root, "train", cache=cache)
    assert train.known() == mpii.CARD.fields - {"head_boxes"}
    assert sorted(made.root.rglob("*")) == before


def test_files_count_from_one(made: Tree, cache: Path) -> None:
    val = mpii.load(made.root, "val", height=256, width=256, cache=cache)
    points = originals(val)
    assert val.keypoints is not None
    assert val.boxes is not None
    assert val.head_boxes is not None
    np.testing.assert_allclose(points[0, 3], [0, 0], atol=1e-4)
    expected = np.array([row["joints"] for row in made.rows["val"]]) - 1
    np.testing.assert_allclose(points[:, 1:], expected[:, 1:], atol=1e-4)
    train = mpii.load(made.root, "train", height=256, width=256, cache=cache)
    expected = np.array([row["joints"] for row in made.rows["train"]]) - 1
    np.testing.assert_allclose(originals(train)[:, 1:], expected[:, 1:], atol=1e-4)
    row = made.rows["val"][2]
    middle = np.array(row["center"]) + np.array([0, 15 * row["scale"]]) - 1
    side = 200 * row["scale"]
    np.testing.assert_allclose(val.boxes[2], [*(middle - side / 2), side, side], rtol=1e-6)
    assert val.crop_center is not None
    assert val.crop_size is not None
    np.testing.assert_allclose(val.crop_center[2], middle, rtol=1e-6)
    np.testing.assert_allclose(val.crop_size[2], 1.25 * side, rtol=1e-6)
    low = made.mat["headboxes_src"][0, :, 1] - 1
    np.testing.assert_allclose(val.head_boxes[1], [*low, 30, 30], rtol=1e-6)


def test_missing_joints_stay_missing_and_hidden_ones_count(made: Tree, cache: Path) -> None:
    for split in mpii.SPLITS:
        points = mpii.load(made.root, split, cache=cache).keypoints
        assert points is not None
        assert not points[:, 0].any()
        flipped = points[:, MPII.flip]
        assert (flipped[:, 5, 2] == 0).all()
        assert (flipped[:, 0, 2] == 2).all()
        np.testing.assert_array_equal(flipped[:, MPII.flip], points)
    val = mpii.load(made.root, "val", cache=cache).keypoints
    assert val is not None
    assert val[1, 4, 2] == 1
    assert (val[..., 2] == 1).sum() == 1


def test_ground_truth_scores_all_of_pckh(made: Tree, cache: Path) -> None:
    val = mpii.load(made.root, "val", cache=cache)
    assert val.head_boxes is not None
    assert val.keypoints is not None
    x, y, w, h = val.head_boxes.T
    heads = np.stack([np.stack([x, y], 1), np.stack([x + w, y + h], 1)], axis=1)
    gt, missing = made.mat["pos_gt_src"].transpose(2, 0, 1), val.keypoints[..., 2] == 0
    np.testing.assert_array_equal(missing, made.mat["jnt_missing"].T)
    assert pckh(originals(val), gt, missing, heads, threshold=0.001).mean == 1
    assert pckh(originals(val) + 1, gt, missing, heads, threshold=0.001).mean == 0


def test_rows_without_a_centre_are_left_out_and_told(made: Tree, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    made.rows["val"][1]["center"] = [-1, -1]
    made.write_files()
    val = mpii.load(made.root, "val", cache=cache)
    assert val.ids.tolist() == ["images/9.jpg#val0", "images/9.jpg#val2", "images/7.jpg#val3"]
    assert "mpii val: 1 persons have no centre" in caplog.text
    assert mpii.verify(made.root).found["val"]["persons without a window"] == 1
    assert val.head_boxes is not None
    np.testing.assert_allclose(val.head_boxes[1, :2], made.mat["headboxes_src"][0, :, 2] - 1)


def test_validation_is_held_out_of_training(made: Tree, cache: Path) -> None:
    def ids(split: str) -> list[str]:
        own = task_samples(
            mpii.load, mpii.TASK_SPLITS, made.root, split, height=64, width=64, cache=cache
        )  # fmt: skip
        return own.ids.tolist()

    assert ids("val") == ["images/004645041.jpg#train1"]
    assert ids("train") == ["images/052475643.jpg#train0", "images/052475643.jpg#train2"]
    assert len(ids("test")) == 4
    with pytest.raises(DataError, match="no split 'validation'"):
        ids("validation")


def _mat(name: str, change: Any) -> Any:
    return lambda tree: tree.mat.update({name: change(tree.mat[name])})


WRONG = {
    "a test split": (
        lambda tree: [(row.pop("joints"), row.pop("joints_vis")) for row in tree.rows["val"]],
        r"person 0 has no joints, joints_vis; it has center, image, scale",
    ),
    "other keys": (lambda tree: tree.rows["val"][2].pop("image"), r"person 2 has no image; it has center"),
    "not a list": (lambda tree: tree.rows.update(val={"images": []}), r"holds a json dict"),
    "nobody": (lambda tree: tree.rows.update(val=[]), r"holds an empty list"),
    "15 joints": (lambda tree: tree.rows["val"][1]["joints"].pop(), r"person 1 has joints \(15, 2\)"),
    "words": (lambda tree: tree.rows["val"][1].update(scale="big"), r"person 1 holds something that is no number"),
    "vis 2": (lambda tree: tree.rows["val"][1].update(joints_vis=[2] * 16), r"a joints_vis other than 0 and 1"),
    "a giant": (lambda tree: tree.rows["val"][1].update(scale=1e25), r"person 1 has the scale 1e[+]25"),
    "nowhere near": (lambda tree: tree.rows["val"][1].update(center=[1e9, 5]), r"person 1 has .* centre [(]1e[+]09"),
    "heads of no size": (_mat("headboxes_src", lambda v: v * 0), r"4 persons have a head without size"),
    "heads that are nan": (_mat("headboxes_src", lambda v: v * np.nan), r"4 persons have a head without size"),
    "joints that are nan": (_mat("pos_gt_src", lambda v: v * np.nan), r"4 persons have a joint that counts and has no"),
    "no joint that counts": (_mat("jnt_missing", lambda v: v * 0 + 1), r"no joint counts, all are marked as missing"),
    "mat of another split": (_mat("jnt_missing", lambda v: v[:, :3]), r"jnt_missing is 16 x 3, expected 16 x 4 for"),
    "mat turned": (_mat("pos_gt_src", lambda v: v.transpose(2, 0, 1)), r"pos_gt_src is 4 x 16 x 2, expected 16 x 2"),
    "mat in another order": (_mat("pos_gt_src", lambda v: v[..., ::-1]), r"different persons in 4 of 4 rows, first in"),
    "mat with other joints": (_mat("dataset_joints", lambda v: v[:, ::-1]), r"orders its joints lwri, lelb"),
    "mat without heads": (lambda tree: tree.mat.pop("headboxes_src"), r"has no headboxes_src; it holds .*jnt_missing"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_files_that_do_not_fit_are_explained(made: Tree, cache: Path, case: str) -> None:
    edit, message = WRONG[case]
    edit(made)
    made.write_files()
    with pytest.raises(DataError, match=message) as caught:
        mpii.load(made.root, "val", cache=cache)
    assert caught.value.hint
    report = mpii.verify(made.root)
    assert report.level == "mismatch"
    assert caught.value.message in report.problems


def test_a_truncated_mat_is_told(made: Tree, cache: Path) -> None:
    io.savemat(made.mat_path, made.mat, do_compression=True)
    assert len(mpii.load(made.root, "val", cache=cache)) == 4
    whole = made.mat_path.read_bytes()
    for size in (0, 100, 300, len(whole) // 2):
        made.mat_path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"cannot be read as a mat file|has no ") as caught:
            mpii.load(made.root, "val", cache=cache)
        assert "mpii_gt_val.mat" in caught.value.message


def test_one_image_cannot_be_held_out(made: Tree, cache: Path) -> None:
    made.rows["train"] = made.rows["train"][:1]
    made.write_files()
    with pytest.raises(DataError, match="has 1 images, too few to hold one out"):
        task_samples(mpii.load, mpii.TASK_SPLITS, made.root, "val", height=64, width=64, cache=cache)


def test_missing_and_broken_files(made: Tree, cache: Path) -> None:
    made.mat_path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600))
    with pytest.raises(DataError, match=r"cannot be read as a mat file|of version 7\.3"):
        mpii.load(made.root, "val", cache=cache)
    made.mat_path.unlink()
    with pytest.raises(DataError, match=r"mpii_gt_val\.mat is missing") as caught:
        mpii.load(made.root, "val", cache=cache)
    assert "head sizes" in caught.value.hint
    (made.root / "images" / "004645041.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 2 images are missing in .*: 004645041\.jpg\."):
        mpii.load(made.root, "train", cache=cache)
    made.path("train").write_text("[{")
    with pytest.raises(DataError, match="cannot be read as json"):
        mpii.load(made.root, "train", cache=cache)
    with pytest.raises(DataError, match="has no split 'test'"):
        mpii.load(made.root, "test", cache=cache)
    made.write()
    with pytest.raises(DataError, match="lies inside the dataset"):
        mpii.load(made.root, "train", cache=made.root / "cache")
    with pytest.raises(DataError, match="is not MPII Human Pose train: it holds") as caught:
        mpii.verify(made.root / "images")
    assert "mpii_gt_val.mat" in caught.value.hint


def test_verify(made: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    write_junk(made.root / "images")
    report = mpii.verify(made.root)
    assert f"{len(JUNK)} files of operating systems (._*, .DS_Store ...) were left out" in report.notes
    assert (report.level, report.problems) == ("subset", ())
    assert report.found["val"] == {
        "persons": 4, "images with a person": 3, "joints": 60, "persons without a window": 0,
    }  # fmt: skip
    assert "train: persons 3/22,246" in report.text()
    counts = {"train": {"persons": 3}, "val": {"persons": 4}}
    monkeypatch.setattr(mpii, "CARD", dataclasses.replace(mpii.CARD, counts=counts))
    assert mpii.verify(made.root).level == "exact"
    (made.root / "images" / "10.jpg").write_bytes(b"\xff\xd8\xff")
    (made.root / "images" / "7.jpg").unlink()
    report = mpii.verify(made.root)
    assert report.level == "mismatch"
    assert [problem.split(":")[0] for problem in report.problems] == ["val", "val"]
    assert "images/7.jpg" in report.problems[0]
    shutil.rmtree(made.root / "images")
    with pytest.raises(DataError, match=r"holds .*train\.json, but not images/, which MPII Human Pose train needs"):
        mpii.verify(made.root)


def test_verify_half_a_copy_and_joints_outside(made: Tree, cache: Path) -> None:
    made.rows["train"][1]["joints"][2] = [900.0, 20.0]
    made.write_files()
    made.path("val").unlink()
    report = mpii.verify(made.root)
    assert (report.level, report.problems) == ("subset", ())
    assert "val was not found" in report.notes
    assert any("1 joints lie outside their image, as in 004645041.jpg" in note for note in report.notes)
    assert mpii.annotation_files(made.root) == (made.path("train"),)
    assert len(mpii.load(made.root, "train", cache=cache)) == 3
    needed = r"holds images/, but not annotations/mpii_val\.json or annot/valid\.json or mpii_val\.json, which"
    with pytest.raises(DataError, match=f"{needed} MPII Human Pose val needs"):
        mpii.load(made.root, "val", cache=cache)
