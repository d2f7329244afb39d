"""What `verify` says of a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from coco_tree import Tree
from manifest_files import columns, write

from hcbench.data.manifest.check import verify_manifest


def test_verify_finds_what_is_wrong(tmp_path: Path) -> None:
    joints = columns(10)["keypoints"]
    moved = [*joints[:7], None, joints[8], [1.0] * 51]
    path = write(tmp_path, 10, keypoints=moved, group_id=[0] * 9 + [1], split=["train"] * 9 + ["val"])
    (tmp_path / "images/0002.png").unlink()
    report = verify_manifest(path)
    assert report.level == "mismatch"
    text = report.text()
    for words_ in ("images/0002.png: it is missing", "1 of 2 groups have one image", "pair: row 9 (images/0009.png)",
                   "2 images have other keypoints than the first image of their pose: row 7 (images/0007.png), row 9",
                   "for scoring: do not pre-train"):  # fmt: skip
        assert words_ in text
    fine = verify_manifest(write(tmp_path / "fine", 10, packed=True))
    assert (fine.level, fine.problems) == ("exact", ())


def test_verify_names_a_few_and_counts_all(tmp_path: Path) -> None:
    path = write(tmp_path, 10, packed=True, group_id=range(10), image_path=None)
    assert "10 of 10 groups have one image" in verify_manifest(path).problems[0]
    assert verify_manifest(path).problems[0].endswith(": row 0, row 1, row 2, row 3, row 4 and 5 more")


def test_groups_are_looked_at_where_some_images_have_none(tmp_path: Path) -> None:
    path = write(tmp_path, 10, group_id=[0, 0, 1, *[None] * 7], pose_id=None)
    report = verify_manifest(path)
    assert report.problems == ("1 of 2 groups have one image, which makes no positive pair: row 2 (images/0002.png)",)
    assert "7 rows have no group_id, so methods that need it are skipped" in report.notes


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"split": ["train2017"] * 9 + ["val2017"]}, True),
        ({"source": ["coco"] * 9 + ["coco:val2017"], "split": None}, True),
        ({"source": ["coco"] * 9 + ["MS-COCO/val2017"], "split": None}, True),
        ({"source": ["mpii"] * 10, "split": ["val2017"] * 10}, False),
        ({"split": ["val2017"] * 10, "group_id": None}, False),  # COCO's own photographs, to look for duplicates in
    ],
)
def test_poses_of_val2017_are_not_learned_from(tmp_path: Path, changes: dict[str, Any], told: bool) -> None:
    problems = verify_manifest(write(tmp_path, 10, **changes)).problems
    expected = ("1 images are made of COCO's val2017, which models are scored on (by source and split): "
                "row 9 (images/0009.png)",)  # fmt: skip
    assert problems == (expected if told else ())


def test_annotations_of_val2017_are_known_by_their_ids(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "coco", "official")
    tree.write()
    poses = [1] * 5 + [4] * 5  # of the first image of train2017, and of that of val2017
    unsure = write(tmp_path / "a", 10, pose_id=poses, split=None)
    assert "10 images of COCO's poses name no split: say where COCO lies" in verify_manifest(unsure).text()
    report = verify_manifest(unsure, coco=tree.root)
    assert report.problems[0].startswith("5 images are made of COCO's val2017")
    assert "(by the annotation that pose_id names): row 5 (images/0005.png)" in report.problems[0]
    assert "name no split" not in report.text()
    claimed = write(tmp_path / "b", 10, pose_id=poses, split=["train2017"] * 10)
    assert verify_manifest(claimed, coco=tree.root).problems == report.problems
    assert verify_manifest(claimed).problems == ()
    assert "is no folder" in verify_manifest(unsure, coco=tmp_path / "nowhere").text()
