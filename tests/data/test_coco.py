"""COCO keypoints on a small tree in each official layout, and on the real sample where there is one."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from coco_tree import LAYOUTS, SPLITS, Tree
from numpy.typing import NDArray
from PIL import Image

from hcbench.data import coco
from hcbench.data.pixels import read_image
from hcbench.data.samples import Samples
from hcbench.data.windows import to_original
from hcbench.errors import DataError


def stats(samples: Samples, *, shift: float = 0.0) -> NDArray[np.float64]:
    """pycocotools' ten numbers for the ground truth, moved to crop pixels and back, given as detections."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    assert samples.keypoints is not None
    assert samples.image_id is not None
    assert samples.crop_center is not None
    assert samples.crop_size is not None
    height, width = samples.images[0].shape[1:]
    points = samples.keypoints.astype(np.float64)
    center, size = samples.crop_center[:, None], samples.crop_size[:, None]
    points[..., :2] = to_original(points[..., :2] + shift, center, size, height, width)
    found = [
        {"image_id": int(image), "category_id": 1, "keypoints": person.ravel().tolist(), "score": 1.0}
        for image, person in zip(samples.image_id, points, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = json.loads(json.dumps(samples.coco_truth))
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return np.asarray(evaluation.stats)


def test_layouts_give_the_same_samples(tmp_path: Path, cache: Path) -> None:
    loaded = []
    for layout in LAYOUTS:
        tree = Tree(tmp_path / layout / "coco", layout)
        tree.write()
        loaded.append([coco.load(tree.root, split, cache=cache) for split in SPLITS])
        loaded.append([coco.load(tree.root.parent, split, cache=cache) for split in SPLITS])  # a folder around it
    for train, val in loaded:
        assert (train.name, val.name) == ("coco train2017", "coco val2017")
        np.testing.assert_array_equal(train.images[:], loaded[0][0].images[:])
        assert (train.fingerprint, val.fingerprint) == tuple(s.fingerprint for s in loaded[0])
    assert loaded[0][0].fingerprint != loaded[0][1].fingerprint


def test_which_persons_count(tree: Tree, cache: Path) -> None:
    train = coco.load(tree.root, "train2017", cache=cache)
    # Of images 100, 102, 104: person 2 has no keypoint, 3 is a crowd. Of 101: 5 has no area, 6 lies outside.
    assert train.ids.tolist() == [
        "train2017/000000000100.jpg#1",
        *(f"train2017/000000000102.jpg#{n}" for n in (7, 8, 9)),
        *(f"train2017/000000000104.jpg#{n}" for n in (13, 14, 15)),
    ]
    val = coco.load(tree.root, "val2017", cache=cache)
    assert [int(name.split("#")[1]) for name in val.ids] == [4, 10, 11, 12]
    assert train.known() == coco.CARD.fields
    assert train.captions is not None
    assert train.captions[0] == ("photograph 0",)
    assert train.coco_truth is not None
    assert [person["id"] for person in train.coco_truth["annotations"]] == [1, 2, 3, 7, 8, 9, 13, 14, 15]
    assert {image["id"] for image in train.coco_truth["images"]} == {100, 102, 104}


def test_without_captions_the_field_is_unknown(official: Tree, cache: Path) -> None:
    official.json_path("val2017", "captions").unlink()
    assert coco.load(official.root, "val2017", cache=cache).captions is None


def test_person_crops_take_the_unlabelled_but_not_the_tiny(tree: Tree, cache: Path) -> None:
    tree.persons[6]["bbox"][2:] = [15.9, 100.0]
    tree.persons[7]["bbox"][2:] = [100.0, 31.9]
    tree.persons[8]["bbox"][2:] = [16.0, 32.0]
    tree.write_json()
    samples = coco.person_crops(tree.root, "train2017", 128, 64, cache)
    assert [int(name.split("#")[1]) for name in samples.ids] == [1, 2, 9, 13, 14, 15]
    assert samples.images.shape == (6, 3, 128, 64)  # type: ignore[attr-defined]
    assert samples.keypoints is not None
    assert not samples.keypoints[1].any()
    assert samples.known() == coco.CORPUS_FIELDS
    assert coco.corpus_size(tree.root, 128, 64) == len(samples)
    assert samples.group is samples.identity is samples.captions is samples.coco_truth is None


@pytest.mark.parametrize("size", [(128, 64), (256, 192), (64, 64)])
def test_ground_truth_scores_one(tree: Tree, cache: Path, size: tuple[int, int]) -> None:
    # Official scoring counts labelled persons that cannot be cropped as missed, so there are none here.
    tree.persons[4] |= {"area": 500.0}
    tree.persons[5] |= {"bbox": tree.persons[4]["bbox"]}
    tree.write_json()
    for split in SPLITS:
        samples = coco.load(tree.root, split, height=size[0], width=size[1], cache=cache)
        numbers = stats(samples)
        assert (numbers[[0, 1, 2, 5]] == 1).all()
        assert stats(samples, shift=6.0)[0] < 0.5  # the check above can fail


def test_orientation_tag_and_grey_images(official: Tree) -> None:
    turned = read_image(official.path("000000000103.jpg", "val2017"))
    assert turned.size == (640, 480)
    grey = np.asarray(read_image(official.path("000000000101.jpg", "val2017")))
    assert grey.shape == (480, 640, 3)


def test_crops_are_cut_once(official: Tree, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(official.root.rglob("*"))
    first = coco.load(official.root, "val2017", cache=cache)
    assert isinstance(first.images, np.memmap)
    assert sorted(official.root.rglob("*")) == before
    assert [path.suffix for path in cache.iterdir()] == [".npy"]
    monkeypatch.setattr("hcbench.data.crops.read_image", lambda path: pytest.fail("decoded again"))
    shutil.copytree(official.root, official.root.parent / "moved")
    again = coco.load(official.root.parent / "moved", "val2017", cache=cache)
    assert again.fingerprint == first.fingerprint
    np.testing.assert_array_equal(again.images[:], first.images[:])


def test_fingerprint_follows_the_content(official: Tree, cache: Path) -> None:
    def fingerprints() -> tuple[str, str]:
        one = coco.load(official.root, "val2017", cache=cache).fingerprint
        return one, coco.load(official.root, "val2017", height=64, width=32, cache=cache).fingerprint

    seen = {*fingerprints()}
    official.persons[3]["keypoints"][0] += 0.5
    official.write_json()
    seen |= {*fingerprints()}
    official.captions[1]["caption"] = "another one"
    official.write_json()
    seen |= {*fingerprints()}
    Image.new("RGB", (640, 480)).save(official.path("000000000101.jpg", "val2017"))
    seen |= {*fingerprints()}
    assert len(seen) == 8


def test_a_damaged_cache_is_reported_and_made_again(
    official: Tree, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = coco.load(official.root, "val2017", cache=cache)
    expected = np.array(first.images[:])
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    np.testing.assert_array_equal(coco.load(official.root, "val2017", cache=cache).images[:], expected)
    assert "is damaged" in caplog.text


def test_nothing_half_cut_is_left_behind(official: Tree, cache: Path) -> None:
    official.path("000000000103.jpg", "val2017").write_bytes(b"\xff\xd8\xff no jpeg")
    with pytest.raises(DataError, match=r"1 of 2 images cannot be used: .*000000000103\.jpg"):
        coco.load(official.root, "val2017", cache=cache)
    assert list(cache.iterdir()) == []


@pytest.mark.data
def test_the_real_sample(real_coco: Path, cache: Path) -> None:
    report = coco.verify(real_coco)
    assert (report.level, report.problems) == ("subset", ())
    assert sum(counts["persons"] for counts in report.found.values()) == 153
    for split, persons in (("train2017", 41), ("val2017", 26)):
        assert report.found[split]["persons with keypoints"] == persons
        samples = coco.load(real_coco, split, cache=cache)
        assert len(samples) == persons
        assert (stats(samples) == 1).all()
        assert len(coco.person_crops(real_coco, split, 128, 64, cache)) >= persons / 2


@pytest.mark.data
def test_real_keypoints_return_to_their_json(real_coco: Path, cache: Path) -> None:
    samples = coco.load(real_coco, "val2017", cache=cache)
    assert samples.coco_truth is not None
    assert samples.keypoints is not None
    assert samples.crop_center is not None
    assert samples.crop_size is not None
    truth = {person["id"]: person for person in samples.coco_truth["annotations"]}
    official = np.array([truth[int(name.split("#")[1])]["keypoints"] for name in samples.ids], np.float64)
    official = official.reshape(-1, 17, 3)
    points = samples.keypoints.astype(np.float64)
    back = to_original(points[..., :2], samples.crop_center[:, None], samples.crop_size[:, None], 128, 64)
    seen = points[..., 2] > 0
    np.testing.assert_array_equal(points[..., 2], official[..., 2])
    assert np.abs(back - official[..., :2])[seen].max() < 1e-4
