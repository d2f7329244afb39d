"""An index.jsonl becomes a manifest, or a message with the number of the line."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from manifest_files import HEIGHT, WIDTH, picture

from hcbench.data.manifest.check import verify_manifest
from hcbench.data.manifest.index_jsonl import read_index
from hcbench.data.manifest.manifest import Manifest, open_manifest
from hcbench.data.manifest.write import ManifestWriter
from hcbench.errors import DataError

JOINTS = [[float(joint), 30.0, 2] if joint != 3 else [0, 0, 0] for joint in range(17)]


def entry(number: int, **changes: Any) -> dict[str, Any]:
    """A line as a generated set has it: groups of two images."""
    line = {
        "image_path": f"images/{number}.png", "group_id": number // 2, "variant": number % 2, "caption": "a person",
        "pose_ann_id": 183020 + number // 2, "keypoints": JOINTS, "seed": 7 + number, "split": "train2017",
        "generator": {"backend": "t2i-adapter", "steps": 50},
    }  # fmt: skip
    return {key: value for key, value in {**line, **changes}.items() if value != "left out"}


def write(folder: Path, lines: list[Any], images: int = 4) -> Path:
    (folder / "images").mkdir(parents=True)
    for number in range(images):
        (folder / f"images/{number}.png").write_bytes(picture(number))
    path = folder / "index.jsonl"
    path.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in lines))
    return path


def imported(path: Path, *, pack: bool = False, root: Path | None = None) -> Manifest:
    out, place = path.with_suffix(".parquet"), root or path.parent
    with ManifestWriter(out, root=str(place), packed=pack) as writer:
        for columns in read_index(path, place, pack=pack):
            writer.add(columns)
    return open_manifest(out)


@pytest.mark.parametrize("pack", [False, True])
def test_lines_become_rows(tmp_path: Path, pack: bool) -> None:
    flat, two = np.ravel(JOINTS).tolist(), ["a", "b"]
    lines = [entry(0), "", entry(1, keypoints=flat), entry(2, caption="left out", captions=two),
             entry(3, keypoints=None, source="mpii", group_id=None)]  # fmt: skip
    manifest = imported(write(tmp_path / "gen", lines), pack=pack)
    assert manifest.packed == pack
    names = ["image_path", "group_id", "variant", "captions", "pose_id", "keypoints", "seed", "source", "generator",
             "width", "height"]  # fmt: skip
    rows = manifest.take(names, np.arange(4)).to_pylist()
    assert rows[1] == {
        "image_path": "images/1.png", "group_id": 0, "variant": 1, "captions": ["a person"], "pose_id": 183020,
        "keypoints": flat, "seed": 8, "source": "coco", "width": WIDTH, "height": HEIGHT,
        "generator": '{"backend": "t2i-adapter", "steps": 50}',
    }  # fmt: skip
    assert rows[2]["captions"] == two
    assert [row["source"] for row in rows] == ["coco"] * 3 + ["mpii"], (
        "an annotation is COCO's unless a source is named"
    )
    assert (rows[3]["keypoints"], rows[3]["group_id"]) == (None, None)
    if pack:
        assert manifest.take(["image_bytes"], np.array([2])).to_pylist()[0]["image_bytes"] == picture(2)


def test_a_generated_set_is_in_order(tmp_path: Path) -> None:
    path = write(tmp_path / "gen", [entry(number) for number in range(4)])
    imported(path)
    report = verify_manifest(path.with_suffix(".parquet"))
    assert (report.level, report.problems) == ("exact", ())
    assert report.found == {"all": {"images": 4, "groups": 2, "poses": 2}}


def test_poses_of_coco_stay_coco_s_under_the_name_of_the_generated_set(tmp_path: Path) -> None:
    lines = [entry(0, source="GenCOCO"), entry(1, source="GenCOCO", generator="left out"),
             entry(2, source="coco:val2017"), entry(3, source="AIC")]  # fmt: skip
    rows = imported(write(tmp_path / "gen", lines)).take(["source", "generator"], np.arange(4)).to_pylist()
    assert [row["source"] for row in rows] == ["coco", "coco", "coco:val2017", "AIC"]
    made = {"backend": "t2i-adapter", "steps": 50}
    assert json.loads(rows[0]["generator"]) == {"dataset": "GenCOCO", "generator": made}
    assert json.loads(rows[1]["generator"]) == {"dataset": "GenCOCO", "generator": None}
    assert json.loads(rows[2]["generator"]) == made


@pytest.mark.parametrize("changes", [{"pose_ann_id": None}, {"pose_ann_id": 9}])
def test_a_group_has_one_skeleton(tmp_path: Path, changes: dict[str, Any]) -> None:
    moved = [[x + 10, y, v] for x, y, v in JOINTS]
    first = entry(0, pose_ann_id=changes["pose_ann_id"] and 8)
    lines = [first, entry(1, keypoints=moved, **changes), entry(2), entry(3)]
    path = write(tmp_path / "gen", lines)
    imported(path)
    report = verify_manifest(path.with_suffix(".parquet"))
    assert report.level == "mismatch"
    assert report.problems == (
        "1 images have other keypoints than the first image of their group: row 1 (images/1.png)",
    )


def test_images_may_lie_elsewhere(tmp_path: Path) -> None:
    path = write(tmp_path / "gen", [entry(number) for number in range(4)])
    (tmp_path / "gen/images").rename(tmp_path / "images")
    assert len(imported(path, root=tmp_path)) == 4


def test_unknown_fields_are_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = [entry(0), *(entry(number, cfg_scale=7.5) for number in (1, 2)), entry(3, clip="x")]
    with caplog.at_level(logging.WARNING):
        assert len(imported(write(tmp_path / "gen", lines))) == 4
    told = [record.getMessage() for record in caplog.records]
    assert [("line 2" in text, "'cfg_scale'" in text) for text in told] == [(True, True), (False, False)]
    assert "line 4: no manifest has the field 'clip'" in told[1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", "line 2 is no json"),
        ("[1, 2]", "line 2 holds a json list"),
        (entry(1, image_path="left out"), "line 2 has no image_path; it has group_id"),
        (entry(1, group_id="left out"), "line 2 has no group_id"),
        (entry(1, image="images/1.png"), "line 2 tells image_path twice, once as image"),
        (entry(1, image_path=None), "line 2: image_path is None"),
        (entry(1, image_path="/images/1.png"), "line 2: image_path is '/images/1.png'"),
        (entry(1, image_path="../1.png"), "line 2: image_path is '../1.png'"),
        (entry(1, image_path="images/9.png"), r"line 2: there is no image .*9.png"),
        (entry(1, image_path="index.jsonl"), r"line 2: .*index.jsonl is no image"),
        (entry(1, keypoints=JOINTS[:16]), "line 2: keypoints are 16 x 3"),
        (entry(1, keypoints=[JOINTS]), "line 2: keypoints are 1 x 17 x 3"),
        (entry(1, keypoints=[*JOINTS[:16], [1]]), "line 2: keypoints are no table of numbers"),
        (entry(1, keypoints="17 x 3"), "line 2: keypoints are no table of numbers"),
        (entry(1, keypoints=[[1, 2, 0.5]] * 17), "another v than 0, 1 and 2"),
        (entry(1, keypoints=[[float("nan"), 2, 1]] * 17), "no number"),
        (entry(1, group_id=1.5), "line 2: group_id is '1.5'"),
        (entry(1, group_id="7"), "line 2: group_id is '7'"),
        (entry(1, variant=2**31), "line 2: variant is '2147483648'"),
        (entry(1, caption=3), "line 2: captions is '3'"),
        (entry(1, split=2017), "line 2: split is '2017'"),
        (entry(1, width=WIDTH + 1), "line 2: 1.png is 20 x 40, the line says 21 x 40"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, line: Any, message: str) -> None:
    path = write(tmp_path / "gen", [entry(0), line])
    with pytest.raises(DataError, match=message):
        imported(path)
    assert not path.with_suffix(".parquet").exists()
