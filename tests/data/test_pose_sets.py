"""AI Challenger, CrowdPose and OCHuman on small trees: joints, areas, sigmas, layouts, and files that do not fit."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pose_tree import SETS, PoseTree, build

from hcbench.data import aic, crowdpose, ochuman
from hcbench.data.samples import Samples
from hcbench.data.skeletons import AIC, COCO, CROWDPOSE, MPII
from hcbench.data.task_splits import task_samples
from hcbench.data.windows import to_original
from hcbench.errors import DataError

Made = tuple[ModuleType, PoseTree]


@pytest.fixture(params=SETS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    module, parts = SETS[request.param]
    return module, PoseTree(tmp_path / "run_12_c3" / request.param, **parts).write()


def average_precision(samples: Samples, *, shift: float = 0.0) -> float:
    """AP of the ground truth, moved to crop pixels and back, given as detections."""
    from pycocotools.coco import COCO as Truth
    from pycocotools.cocoeval import COCOeval

    assert samples.keypoints is not None
    assert samples.image_id is not None
    assert samples.crop_center is not None
    assert samples.crop_size is not None
    points = samples.keypoints.astype(np.float64)
    center, size = samples.crop_center[:, None], samples.crop_size[:, None]
    points[..., :2] = to_original(points[..., :2] + shift, center, size, 128, 64)
    found = [
        {"image_id": int(image), "category_id": 1, "keypoints": person.ravel().tolist(), "score": 1.0}
        for image, person in zip(samples.image_id, points, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = Truth()
        truth.dataset = json.loads(json.dumps(samples.coco_truth))
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(samples.skeleton.sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def test_wrappers_and_moves_change_nothing(made: Made, tmp_path: Path, cache: Path) -> None:
    module, tree = made
    split = "val"
    before = sorted(tree.root.rglob("*"))
    first = module.load(tree.root, split, cache=cache)
    for root in (tree.root.parent, tree.root.parent.parent):
        again = module.load(root, split, cache=cache)
        assert again.fingerprint == first.fingerprint
        assert again.ids.tolist() == first.ids.tolist()
    assert sorted(tree.root.rglob("*")) == before
    shutil.copytree(tree.root, tmp_path / "moved")
    shutil.rmtree(tree.root)
    assert module.load(tmp_path / "moved", split, cache=cache).fingerprint == first.fingerprint


def test_persons_in_the_order_of_their_ids(made: Made, cache: Path) -> None:
    module, tree = made
    samples = module.load(tree.root, "val", cache=cache)
    folder, first = tree.files["val"][1], min(image["id"] for image in tree.truth["val"]["images"])
    assert samples.ids.tolist() == [
        f"{folder}/{i:06d}.jpg#{100 * i + k}" for i in (first, first + 2) for k in (1, 2)
    ]  # fmt: skip
    assert samples.known() == module.CARD.fields
    assert samples.name == f"{module.CARD.name} val"
    assert samples.keypoints is not None
    assert samples.keypoints.shape == (4, tree.joints, 3)
    assert len(samples.skeleton) == tree.joints
    assert not samples.keypoints[:, 2].any()
    assert set(samples.keypoints[..., 2].ravel()) <= {0, 1, 2}


def test_areas_come_from_the_box_where_the_json_has_none(tmp_path: Path, cache: Path) -> None:
    for name, share in (("aic", 0.53), ("crowdpose", 0.53), ("ochuman", 0.6)):
        module = SETS[name][0]
        samples = module.load(build(name, tmp_path / name).root, "val", cache=cache)
        np.testing.assert_allclose(samples.area, share * samples.boxes[:, 2] * samples.boxes[:, 3], rtol=1e-5)
        assert all("area" in person and person["iscrowd"] == 0 for person in samples.coco_truth["annotations"])


def test_ground_truth_scores_one_with_the_sets_own_sigmas(made: Made, cache: Path) -> None:
    module, tree = made
    samples = module.load(tree.root, "val", cache=cache)
    assert average_precision(samples) == 1
    assert average_precision(samples, shift=20.0) < 0.5


def test_skeletons_share_names_and_never_places() -> None:
    limbs = {f"{side}_{joint}" for side in ("left", "right")
             for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")}  # fmt: skip
    assert set(COCO.joints) & set(MPII.joints) & set(AIC.joints) & set(CROWDPOSE.joints) == limbs
    for skeleton in (COCO, MPII, AIC, CROWDPOSE):
        assert len(set(skeleton.joints)) == len(skeleton)
        assert len(skeleton.sigmas) in (0, len(skeleton))
        assert [skeleton.flip[skeleton.flip[i]] for i in range(len(skeleton))] == list(range(len(skeleton)))
    assert {frozenset((i, j)) for i, j in enumerate(MPII.flip) if i != j} == {
        frozenset(pair) for pair in ((0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13))
    }
    assert AIC.joints[0] == "right_shoulder"
    assert AIC.joints[-2:] == ("head_top", "neck")
    assert 0.0100 < min(AIC.sigmas) < max(AIC.sigmas) < 0.0392


def test_crowds_of_crowdpose_are_slices(tmp_path: Path, cache: Path) -> None:
    tree = build("crowdpose", tmp_path / "own")
    for image, index in zip(tree.truth["test"]["images"], (0.05, 0.9, 0.5), strict=True):
        image["crowdIndex"] = index
    tree.write_json()
    assert crowdpose.load(tree.root, "test", cache=cache).slices["crowd"].tolist() == ["hard", "hard", "easy", "easy"]
    del tree.truth["test"]["images"][0]["crowdIndex"]
    tree.write_json()
    assert not crowdpose.load(tree.root, "test", cache=cache).slices


def test_head_and_neck_alone_are_ignored(tmp_path: Path, cache: Path) -> None:
    tree = build("crowdpose", tmp_path / "own")
    person = tree.truth["val"]["annotations"][0]
    limbs = [joint in COCO.joints for joint in CROWDPOSE.joints]
    person["keypoints"] = [0 if limbs[place // 3] else value for place, value in enumerate(person["keypoints"])]
    tree.write_json()
    samples = crowdpose.load(tree.root, "val", cache=cache)
    assert len(samples) == 3
    assert average_precision(samples) == 1


def test_splits_of_benchmarks(tmp_path: Path, cache: Path) -> None:
    def count(module: ModuleType, root: Path, split: str) -> int:
        return len(task_samples(module.load, module.TASK_SPLITS, root, split, height=64, width=64, cache=cache))

    roots = {name: build(name, tmp_path / name).root for name in SETS}
    assert [count(aic, roots["aic"], split) for split in ("train", "val", "test")] == [2, 2, 4]
    assert [count(crowdpose, roots["crowdpose"], split) for split in ("train", "val", "test")] == [4, 4, 4]
    assert [count(ochuman, roots["ochuman"], split) for split in ("val", "test")] == [4, 4]
    with pytest.raises(DataError, match="no split to train on") as caught:
        count(ochuman, roots["ochuman"], "train")
    assert "COCO" in caught.value.hint
    with pytest.raises(DataError, match="OCHuman has no split 'train'"):
        ochuman.load(roots["ochuman"], "train", cache=cache)


def _first(change: dict[str, Any]) -> Any:
    return lambda truth: truth["annotations"][0].update(change)


WRONG = {
    "visibility of the owners": (_first({"keypoints": [9, 9, 3] * 14}), r"has the visibility 3", "aic"),
    "joints of another set": (
        _first({"keypoints": [9, 9, 2] * 17}), r"\(14 x 3: x, y, v\) has 51 numbers; expected 42", "crowdpose"),
    "no joints": (lambda truth: truth["annotations"][0].pop("keypoints"), r"has no keypoints; it has bbox", "aic"),
    "odd box": (_first({"bbox": [1, 2, 3]}), r"bbox \(x, y, width, height\) has 3 numbers; expected 4", "crowdpose"),
    "one id twice": (lambda truth: truth["annotations"].append(truth["annotations"][0]), r"occurs twice", "ochuman"),
    "one image twice": (lambda truth: truth["images"].append(truth["images"][0]), r"image id \d+ occurs twice", "aic"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_json_is_explained(tmp_path: Path, cache: Path, case: str) -> None:
    edit, message, name = WRONG[case]
    tree = build(name, tmp_path / "own")
    edit(tree.truth["val"])
    tree.write_json()
    module = SETS[name][0]
    with pytest.raises(DataError, match=message) as caught:
        module.load(tree.root, "val", cache=cache)
    assert caught.value.hint
    assert caught.value.message in module.verify(tree.root).problems


def test_wrong_roots_and_missing_images(made: Made, tmp_path: Path, cache: Path) -> None:
    module, tree = made
    (tmp_path / "empty").mkdir()
    for call in (
        lambda: module.load(tmp_path / "empty", "val", cache=cache),
        lambda: module.verify(tmp_path / "empty"),
    ):
        with pytest.raises(DataError, match=rf"is not {module.CARD.title} (train|val): it holds nothing") as caught:
            call()
        assert module.CARD.tree in caught.value.hint
    with pytest.raises(DataError, match="lies inside the dataset"):
        module.load(tree.root, "val", cache=tree.root / "cache")
    name = tree.truth["val"]["images"][0]["file_name"]
    (tree.root / tree.files["val"][1] / name).unlink()
    with pytest.raises(DataError, match=rf"1 of 2 images are missing in .*: {name}\."):
        module.load(tree.root, "val", cache=cache)
    report = module.verify(tree.root)
    assert report.level == "mismatch"
    assert report.problems == (f"val: 1 of 3 images are missing: {name}",)


def test_half_a_copy_is_told_what_is_missing(made: Made, tmp_path: Path, cache: Path) -> None:
    module, tree = made
    annotations, images = tree.files["val"]
    moved = tree.path("val").rename(tmp_path / "val.json")
    for root in (tree.root, tree.root.parent):
        with pytest.raises(DataError, match=f"holds {images}/, but not {annotations} ?.*, which") as caught:
            module.load(root, "val", cache=cache)
        assert f"which {module.CARD.title} val needs" in caught.value.message
        assert module.CARD.tree in caught.value.hint
    (tmp_path / "run_12_c3" / "other" / images).mkdir(parents=True)
    with pytest.raises(DataError, match=f"is not {module.CARD.title} val: it holds"):  # whose images are they?
        module.load(tree.root.parent, "val", cache=cache)
    moved.rename(tree.path("val"))
    shutil.rmtree(tree.root / images)
    with pytest.raises(DataError, match=f"holds {annotations}, but not {images}/, which {module.CARD.title} val needs"):
        module.load(tree.root, "val", cache=cache)


def test_verify(made: Made) -> None:
    module, tree = made
    report = module.verify(tree.root)
    assert (report.level, report.problems) == ("subset", ())
    assert report.found["val"] == {
        "images": 3, "images with a person": 2, "persons": 4, "persons with keypoints": 4, "crowds": 0,
    }  # fmt: skip
    left_out = len(list(tree.root.rglob("._*")))
    assert left_out
    assert f"{left_out} files of operating systems (._*, .DS_Store ...) were left out" in report.notes
    full = dataclasses.replace(module.CARD, counts={split: {"images": 3} for split in tree.files}, total={})
    own = dataclasses.replace(module._OWN, card=full)
    assert own.verify(tree.root).level == "exact"
    tree.path("val").unlink()
    report = module.verify(tree.root)
    assert report.level == "subset"
    assert "val was not found" in report.notes
    assert tree.path("val") not in module.annotation_files(tree.root)


def test_the_total_of_ochuman_counts(tmp_path: Path) -> None:
    tree = PoseTree(tmp_path / "ochuman", **SETS["ochuman"][1]).write()
    text = ochuman.verify(tree.root).text()
    assert "all splits: images 6/4,731, persons 8/8,110" in text
    own = dataclasses.replace(ochuman.CARD, counts={"val": {}, "test": {}})
    for total, level in (({"persons": 8}, "exact"), ({"persons": 9}, "subset"), ({"persons": 7}, "mismatch")):
        card = dataclasses.replace(own, total=total)
        assert dataclasses.replace(ochuman._OWN, card=card).verify(tree.root).level == level
    half = dataclasses.replace(ochuman._OWN, card=dataclasses.replace(own, total={"persons": 8}))
    tree.path("val").unlink()
    assert half.verify(tree.root).level == "subset"


def test_joints_outside_are_kept_and_noted(made: Made, cache: Path) -> None:
    module, tree = made
    person = tree.truth["val"]["annotations"][0]
    person["keypoints"][:3] = [325.0, 10.0, 2]
    tree.write_json()
    report = module.verify(tree.root)
    assert (report.level, report.problems) == ("subset", ())
    assert any(f"1 joints lie outside their image, first of annotation {person['id']}" in n for n in report.notes)
    assert len(module.load(tree.root, "val", cache=cache)) == 4


def test_a_joint_beyond_all_proportion_is_an_error_of_the_file(tmp_path: Path, cache: Path) -> None:
    tree = build("aic", tmp_path / "aic")
    person = tree.truth["val"]["annotations"][0]
    person["keypoints"][:3] = [2**60, 5, 2]
    tree.write_json()
    assert "lies outside" in aic.verify(tree.root).problems[0]
    with pytest.raises(DataError, match="lies outside"):
        aic.load(tree.root, "val", cache=cache)


def test_a_crowd_index_that_is_no_number(tmp_path: Path, cache: Path) -> None:
    tree = build("crowdpose", tmp_path / "crowdpose")
    tree.truth["val"]["images"][0]["crowdIndex"] = "dense"
    tree.write_json()
    with pytest.raises(DataError, match=r"crowdIndex of image .* is 'dense'"):
        crowdpose.load(tree.root, "val", cache=cache)
    assert "is 'dense'" in crowdpose.verify(tree.root).problems[0]
