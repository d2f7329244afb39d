"""COCO folders that are incomplete, damaged or something else, and what `verify` says of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from coco_tree import SPLITS, Tree
from PIL import Image

from hcbench.data import coco
from hcbench.data.card import compare
from hcbench.errors import CacheError, DataError


def test_a_truncated_jpeg_is_named(official: Tree, cache: Path) -> None:
    path = official.path("000000000103.jpg", "val2017")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"000000000103\.jpg cannot be decoded"):
        coco.load(official.root, "val2017", cache=cache)
    report = coco.verify(official.root)
    assert report.level == "mismatch"
    assert any("000000000103.jpg" in problem for problem in report.problems)


def test_missing_images_are_counted_and_named(tree: Tree, cache: Path) -> None:
    tree.path("000000000101.jpg", "val2017").unlink()
    tree.path("000000000105.jpg", "val2017").unlink()  # nobody on it: only `verify` misses it
    with pytest.raises(DataError, match=r"1 of 2 images are missing in .*: 000000000101\.jpg\.") as caught:
        coco.load(tree.root, "val2017", cache=cache)
    assert "take their annotations out" in caught.value.hint
    report = coco.verify(tree.root)
    assert report.level == "mismatch"
    assert report.problems == ("val2017: 2 of 3 images are missing: 000000000101.jpg, 000000000105.jpg",)


def test_wrong_roots_print_the_expected_tree(official: Tree, tmp_path: Path, cache: Path) -> None:
    with pytest.raises(DataError, match="is no folder") as caught:
        coco.load(tmp_path / "nowhere", "val2017", cache=cache)
    assert "person_keypoints_val2017.json" in caught.value.hint
    with pytest.raises(DataError, match=r"it holds 0000.*\.jpg") as caught:
        coco.load(official.root / "val2017", "val2017", cache=cache)
    assert coco.CARD.tree in caught.value.hint
    with pytest.raises(DataError, match="is no COCO keypoint folder"):
        coco.verify(official.root / "val2017")
    shutil.copytree(official.root, tmp_path / "copy")
    with pytest.raises(DataError, match="more than once: coco, copy"):
        coco.load(tmp_path, "val2017", cache=cache)


def test_unknown_split_and_forbidden_cache(official: Tree, cache: Path) -> None:
    with pytest.raises(DataError, match="no split 'val'") as caught:
        coco.load(official.root, "val", cache=cache)
    assert "'val2017'" in caught.value.hint
    with pytest.raises(DataError, match="lies inside the dataset"):
        coco.load(official.root, "val2017", cache=official.root / "cache")


def test_a_cache_that_cannot_be_made(official: Tree, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CacheError, match="cannot be written"):
        coco.load(official.root, "val2017", cache=tmp_path / "file" / "cache")


def _drop(key: str) -> Any:
    return lambda tree: tree.persons[3].pop(key)


WRONG = {
    "instances instead of keypoints": (_drop("keypoints"), r"annotation 4 has no keypoints; it has area, bbox"),
    "image without a size": (lambda tree: tree.images[1].pop("width"), r"image 101 has no width"),
    "duplicate annotation": (lambda tree: tree.persons[10].update(id=4), r"annotation id 4 occurs twice"),
    "annotation 0": (lambda tree: tree.persons[3].update(id=0), r"pycocotools takes id 0 for unmatched"),
    "14 keypoints": (
        lambda tree: tree.persons[3].update(keypoints=[1] * 42),
        r"keypoints \(17 x 3: x, y, v\) has 42 numbers; expected 51",
    ),
    "keypoint outside": (
        lambda tree: tree.persons[3]["keypoints"].__setitem__(slice(0, 3), [640.0, 481.5, 2]),
        r"annotation 4: keypoint 0 at \(640, 481.5\) lies outside 000000000101.jpg \(640 x 480\)",
    ),
    "nobody usable": (lambda tree: [p.update(iscrowd=1) for p in tree.persons], r"no usable person in val2017"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_json_is_explained(tree: Tree, cache: Path, case: str) -> None:
    edit, message = WRONG[case]
    edit(tree)
    tree.write_json()
    with pytest.raises(DataError, match=message) as caught:
        coco.load(tree.root, "val2017", cache=cache)
    assert caught.value.hint


def test_unlisted_images_and_other_files(official: Tree, cache: Path) -> None:
    path = official.json_path("val2017")
    content = json.loads(path.read_text())
    content["annotations"][0]["image_id"] = 999
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="belongs to image 999, which is not listed"):
        coco.load(official.root, "val2017", cache=cache)
    path.write_text("[1, 2]")
    with pytest.raises(DataError, match="holds a json list"):
        coco.load(official.root, "val2017", cache=cache)
    path.write_text('{"images": [')
    with pytest.raises(DataError, match="cannot be read as json"):
        coco.load(official.root, "val2017", cache=cache)
    report = coco.verify(official.root)
    assert report.level == "mismatch"
    assert "cannot be read as json" in report.problems[0]
    path.write_text('{"annotations": []}')
    with pytest.raises(DataError, match=r"the file has no categories, images; it has annotations"):
        coco.load(official.root, "val2017", cache=cache)


def test_merged_json_needs_known_splits(tmp_path: Path, cache: Path) -> None:
    tree = Tree(tmp_path / "coco", "merged")
    tree.write()
    tree.images[2]["split"] = "test2017"
    tree.write_json()
    with pytest.raises(DataError, match=r"unknown splits \['test2017'\]"):
        coco.load(tree.root, "val2017", cache=cache)
    del tree.images[2]["split"]
    tree.write_json()
    with pytest.raises(DataError, match="image 102 has no split"):
        coco.load(tree.root, "val2017", cache=cache)


def test_verify_a_small_copy(tree: Tree) -> None:
    before = sorted(tree.root.rglob("*"))
    report = coco.verify(tree.root)
    assert (report.level, report.problems) == ("subset", ())
    assert report.found["train2017"] == {
        "images": 3, "images with a person": 3, "persons": 8, "persons with keypoints": 7, "crowds": 1,
    }  # fmt: skip
    assert "train2017: images 3/118,287" in report.text()
    assert sorted(tree.root.rglob("*")) == before
    image = tree.path("000000000102.jpg", "train2017")
    Image.new("RGB", (10, 20)).save(image)
    assert coco.verify(tree.root).problems == ("train2017: 000000000102.jpg is 10 x 20, the json says 640 x 480",)


def test_annotation_files_are_named(tree: Tree) -> None:
    kinds = ("captions", "person_keypoints")
    assert coco.annotation_files(tree.root) == tuple(
        sorted({tree.json_path(split, kind) for split in SPLITS for kind in kinds})
    )
    with pytest.raises(DataError, match="is no COCO keypoint folder"):
        coco.annotation_files(tree.root / "annotations")


def test_verify_half_a_dataset(official: Tree) -> None:
    shutil.rmtree(official.root / "train2017")
    report = coco.verify(official.root)
    assert report.level == "subset"
    assert "train2017 was not found" in report.notes


def test_levels_follow_the_counts() -> None:
    exact = {split: dict(counts) for split, counts in coco.CARD.counts.items()}
    assert compare(coco.CARD, exact) == ("exact", [], [])
    exact["val2017"]["persons with keypoints"] -= 1
    level, problems, notes = compare(coco.CARD, exact)
    assert (level, problems) == ("exact", [])
    assert "not verified" in notes[0]
    exact["val2017"]["images"] += 1
    level, problems, _ = compare(coco.CARD, exact)
    assert level == "mismatch"
    assert "more than the official 5,000" in problems[0]
    assert compare(coco.CARD, {"val2017": coco.CARD.counts["val2017"]})[0] == "subset"
