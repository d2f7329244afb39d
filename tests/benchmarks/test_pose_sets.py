"""Pose on every data set that has a loader: its own joints, widths, areas and heads, and a detector's boxes."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from coco_tree import Tree
from mpii_tree import MpiiTree
from pose_tree import build

from hcbench.benchmarks.base import EvaluateConfig, FeatureTable, Inputs, Split, UnlabelledImages
from hcbench.benchmarks.finetune import TrainingSetup
from hcbench.benchmarks.metrics.oks import NAMES
from hcbench.benchmarks.pose.card import CARD
from hcbench.benchmarks.pose.finetune import FineTunePose, PoseLearner
from hcbench.benchmarks.pose.measures import PCK, PCKH, criterion
from hcbench.benchmarks.pose.task import Pose
from hcbench.benchmarks.recipes import FinetuneRecipe
from hcbench.data import aic, coco, crowdpose, mpii, ochuman
from hcbench.data.formats import person_boxes
from hcbench.data.formats.coco_detections import detection_path
from hcbench.data.samples import Samples
from hcbench.data.skeletons import COCO
from hcbench.data.windows import to_crop
from hcbench.errors import TaskError
from hcbench.harness.planning.card_facts import benchmark_facts
from hcbench.harness.planning.registry import load_registry
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder
from hcbench.methods.parts.encoder import encode_all

SIZE = (64, 32)
CONFIG = EvaluateConfig(replicates=8, batch_size=4)
WITH_OKS = ("coco", "crowdpose", "aic", "ochuman")
OWNERS = {
    "coco": (coco, "train2017", "val2017"), "crowdpose": (crowdpose, "train", "test"), "aic": (aic, "train", "val"),
    "ochuman": (ochuman, None, "test"), "mpii": (mpii, "train", "val"),
}  # fmt: skip


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small copy of each set in its official layout."""
    top = tmp_path_factory.mktemp("sets")
    tree = Tree(top / "coco", "official")
    tree.write()
    # Persons without an area or outside their image count in the official file, and have no crop.
    tree.persons = [person for person in tree.persons if person["area"] > 0 and person["bbox"][0] < 640]
    tree.write_json()
    MpiiTree(top / "mpii").write()
    return {"coco": top / "coco", "mpii": top / "mpii"} | {
        name: build(name, top / name).root for name in ("crowdpose", "aic", "ochuman")
    }


@pytest.fixture(scope="module")
def load(roots: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`load(name, "train" or "test")`; what OCHuman is trained on is COCO."""
    cache = tmp_path_factory.mktemp("cache")

    def read(name: str, split: str) -> Samples:
        module, train, test = OWNERS[name]
        if split == "train" and train is None:
            return read("coco", split)
        samples: Samples = module.load(
            roots[name], train if split == "train" else test, height=SIZE[0], width=SIZE[1], cache=cache
        )
        return samples

    return read


@pytest.fixture(scope="module")
def encoder() -> Any:
    return build_encoder(EncoderSpec("vit-mini8", *SIZE), seed=0).eval()


def split_of(encoder: Any, samples: Samples) -> Split:
    seen = encode_all(encoder, samples.images, 4)
    return Split(features=FeatureTable(pooled=seen.pooled, grid=seen.grid), samples=samples)


def undefined(summary: Any) -> set[str]:
    return {name for name, value in summary.items() if np.isnan(value)}


# ---------------------------------------------------------------- the truth as prediction


@pytest.mark.parametrize("name", WITH_OKS)
def test_ground_truth_has_average_precision_one(name: str, load: Any) -> None:
    samples = load(name, "test")
    task = Pose(CONFIG)
    assert task.skip_reason(samples) is None
    scores = task.score(task.oracle(samples) or {}, samples)
    for metric in ("AP", "AP50", "AP75", "AR", *PCK):
        assert scores.summary[metric] == pytest.approx(1.0), metric
        assert scores.replicates[metric] == pytest.approx(np.ones(8)), metric
    assert set(PCKH) <= undefined(scores.summary)
    assert not any("pckh" in column.lower() for column in scores.per_sample)
    assert scores.per_sample["oks"] == pytest.approx(np.ones(len(samples)), abs=1e-4)
    assert scores.record["joints"] == scores.record["sigmas"] == samples.skeleton.name
    json.dumps([dict(scores.summary), dict(scores.record)])


def test_ground_truth_has_pckh_one(load: Any) -> None:
    samples = load("mpii", "test")
    task = Pose(CONFIG)
    assert task.skip_reason(samples) is None
    scores = task.score(task.oracle(samples) or {}, samples)
    for metric in (*PCKH, *PCK, "PCKh_Head", "PCKh_Elbow"):
        assert scores.summary[metric] == pytest.approx(1.0), metric
    # Nobody's right ankle is marked, so the ankles as a group are undefined, and the mean is not.
    assert undefined(scores.summary) == {*NAMES, "PCKh_Ankle", "PCKh10_Ankle"}
    assert "oks" not in scores.per_sample
    assert {metric.name for metric in CARD.metrics} <= scores.replicates.keys()
    assert np.isnan(scores.replicates["AP"]).all()
    assert scores.replicates["PCKh"] == pytest.approx(np.ones(8))
    assert scores.record["clusters"] == 3  # images
    json.dumps([dict(scores.summary), dict(scores.record)])


def test_pckh_is_measured_in_heads_of_the_original_image(load: Any) -> None:
    """Heads of the tree are squares of 30 px: .6 x diagonal is 25.5 px, and half of it 12.7."""
    samples = load("mpii", "test")
    for error, share in ((12.6, 1.0), (12.9, 0.0)):
        points = samples.keypoints[..., :2].astype(np.float64)
        points[..., 0] += error * SIZE[1] / samples.crop_size[:, None, 0]
        predictions = {"keypoints": points, "scores": np.ones(points.shape[:2])}
        summary = Pose(CONFIG).score(predictions, samples).summary
        assert summary["PCKh"] == share
        assert summary["PCKh10"] == 0


def test_oks_takes_the_widths_of_the_set(load: Any) -> None:
    """The same error of half a pixel of the crop, by hand: AIC's joints are a third as wide as CrowdPose's."""
    for name in ("aic", "crowdpose"):
        samples = load(name, "test")
        points = samples.keypoints[..., :2] + np.float32([0.5, 0])
        found = Pose(CONFIG).score({"keypoints": points, "scores": np.ones(points.shape[:2])}, samples)
        distance = 0.5 * samples.crop_size[:, 0] / SIZE[1]
        widths = 2 * np.array(samples.skeleton.sigmas)
        area = 0.53 * samples.boxes[:, 2] * samples.boxes[:, 3]
        similarity = np.exp(-(distance[:, None] ** 2) / (2 * area[:, None] * widths**2))
        expected = np.average(similarity, axis=1, weights=np.arange(14) != 2)  # the third joint is not labelled
        assert found.per_sample["oks"] == pytest.approx(expected, abs=1e-3), name


def test_areas_are_asked_for_only_where_oks_is_defined(load: Any) -> None:
    task = Pose(CONFIG)
    assert (
        task.skip_reason(dataclasses.replace(load("crowdpose", "test"), area=None))
        == "crowdpose test does not know area"
    )
    for field in ("keypoints", "boxes"):
        bare = dataclasses.replace(load("mpii", "test"), **{field: None})
        assert task.skip_reason(bare) == f"mpii val does not know {field}"


# ---------------------------------------------------------------- heads


@pytest.mark.parametrize("name", OWNERS)
def test_a_head_is_trained_and_scored(name: str, load: Any, encoder: Any) -> None:
    """Trained on the four crops that it is scored on, the head learns where their joints are."""
    train = split_of(encoder, load(name, "train"))
    near = {}
    for epochs in (0.01, 60.0):
        task = Pose(dataclasses.replace(CONFIG, epochs=epochs))
        chosen = task.fit(train, train)
        told = criterion(train.samples)
        assert chosen["criterion"] == f"val {told}"
        assert all(np.isfinite(trial[told]) for trial in chosen["trials"])
        near[epochs] = chosen["final"]["PCK10"]
    assert near[60.0] > near[0.01] + 0.2
    test = split_of(encoder, load(name, "test"))
    assert task.crossing_reason(train.samples, test.samples) is None
    scores = task.score(task.predict(Inputs(features=test.features)), test.samples)
    (main,) = CARD.on(name).main_metrics
    assert 0 <= scores.summary[main.name] <= 1
    assert {len(column) for column in scores.per_sample.values()} == {len(test.samples)}


@pytest.mark.parametrize("name", ["mpii", "crowdpose"])
def test_fine_tuning_knows_the_joints(name: str, load: Any, encoder: Any) -> None:
    train, test = load(name, "train"), load(name, "test")
    task = FineTunePose(dataclasses.replace(CONFIG, epochs=0.5))
    chosen = task.finetune(encoder, train, train)
    assert chosen["criterion"] == f"val {criterion(train)}"
    predictions = task.predict_images(UnlabelledImages.of(test))
    assert predictions["keypoints"].shape == (len(test), len(test.skeleton), 2)
    assert task.score(predictions, test).record["flip_test"] is True


@pytest.mark.parametrize("name", ["mpii", "aic", "crowdpose"])
def test_the_flip_test_changes_the_sides_of_the_skeleton(name: str, load: Any, encoder: Any) -> None:
    """What an image says of a joint, its mirror image says of the joint of the other side, to the last digits."""
    train = load(name, "train")
    recipe = FinetuneRecipe(epochs=1, batch_size=2, lrs=(1e-3,), head="light", flip_test=True)
    learner = PoseLearner(TrainingSetup(encoder, train, recipe, torch.Generator().manual_seed(0)))
    swap = list(train.skeleton.flip)
    assert learner.mirrored == tuple(swap) != tuple(range(len(swap)))
    images = np.concatenate([train.images[:], train.images[:][..., ::-1]])
    plain, mirrored = np.split(learner.eval().predict(UnlabelledImages(images=images), 4)["scores"], 2)
    np.testing.assert_allclose(plain, mirrored[:, swap], rtol=1e-4)
    assert not np.allclose(plain, mirrored, rtol=1e-4)


def test_mpii_is_chosen_by_heads_where_they_are_known(load: Any) -> None:
    assert criterion(load("mpii", "test")) == "PCKh"
    assert criterion(load("mpii", "train")) == "PCK05"
    assert {criterion(load(name, "test")) for name in WITH_OKS} == {"OKS"}


def test_main_metrics_are_those_that_a_set_defines() -> None:
    assert [metric.name for metric in CARD.on("mpii").main_metrics] == ["PCKh"]
    for name in ("people", *WITH_OKS):
        assert [metric.name for metric in CARD.on(name).main_metrics] == ["AP50"]
    assert set(OWNERS) | {"people"} == set(CARD.data)
    facts = benchmark_facts(load_registry(), "pose")
    assert [metric.name for metric in facts.metrics if metric.main] == ["AP50"]
    for split, name in (("test", "PCKh"), ("val", "PCK05")):
        assert [metric.name for metric in facts.metrics_of("mpii", split) if metric.main] == [name]


def test_settings_are_chosen_by_what_is_defined_on_validation(load: Any) -> None:
    """Of MPII's held-out training images no heads are known, so that PCKh cannot order trials."""
    for name in OWNERS:
        samples = load(name, "test" if name == "ochuman" else "train")  # of which validation is a part
        task = Pose(CONFIG)
        summary = task.score(task.oracle(samples) or {}, samples).summary
        assert all(summary[metric.name] == 1 for metric in CARD.on(name, "val").main_metrics), name
    assert [metric.name for metric in CARD.on("mpii", "val").main_metrics] == ["PCK05"]


def test_only_the_same_joints_are_crossed(load: Any) -> None:
    task, sets = Pose(CONFIG), {name: load(name, "test") for name in OWNERS}
    assert task.crossing_reason(sets["coco"], sets["ochuman"]) is None
    for one, other, shared in (("coco", "mpii", "12 of 16"), ("crowdpose", "aic", "13 of 14")):
        reason = task.crossing_reason(sets[one], sets[other])
        assert reason is not None
        assert reason.startswith(f"heads of {sets[one].name} find the joints of {one}")
        assert reason.endswith(f"{shared} are the same")


# ---------------------------------------------------------------- a detector's boxes


@pytest.fixture
def found(roots: dict[str, Path], tmp_path: Path) -> Any:
    """Detections on the two images of val2017 with persons, one of them on nobody, one person missed, one twice."""
    truth = json.loads((roots["coco"] / "annotations" / "person_keypoints_val2017.json").read_text())
    persons = truth["annotations"]
    boxes = [(p["image_id"], p["bbox"], s) for p, s in zip(persons[1:], (0.9, 0.8, 0.7), strict=True)]
    boxes.append((boxes[0][0], [v + 3 for v in boxes[0][1]], 0.85))  # the same person again
    boxes.append((101, [400.0, 300.0, 60.0, 90.0], 0.3))
    path = detection_path(roots["coco"], "val2017")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([
        {"image_id": i, "category_id": 1, "bbox": box, "score": score} for i, box, score in boxes
    ]))  # fmt: skip
    samples = person_boxes.loader(coco.DATASET, "test", "detected")(
        roots["coco"], "val2017", height=SIZE[0], width=SIZE[1], cache=tmp_path
    )
    path.unlink()
    return SimpleNamespace(samples=samples, persons={p["id"]: p for p in persons}, missed=persons[0])


def poses(found: Any, joint_score: Any = 1.0) -> dict[str, np.ndarray]:
    """In each box the pose of the person who fills it best; of nobody, joints in a row."""
    samples, persons = found.samples, list(found.persons.values())
    points = np.empty((len(samples), 17, 3))
    for row, (image, box) in enumerate(zip(samples.image_id, samples.boxes, strict=True)):
        distance = [np.abs(np.subtract(p["bbox"], box)).max() + 1e6 * (p["image_id"] != image) for p in persons]
        best = int(np.argmin(distance))
        points[row] = np.reshape(persons[best]["keypoints"], (17, 3))
        if distance[best] > 5:
            points[row, :, :2] = box[:2] + np.arange(17)[:, None]
    xy = to_crop(points[..., :2], samples.crop_center[:, None], samples.crop_size[:, None], *SIZE)
    return {"keypoints": xy, "scores": np.broadcast_to(joint_score, xy.shape[:2])}


def test_detected_boxes_are_scored_against_every_person_of_the_file(found: Any) -> None:
    task = Pose(dataclasses.replace(CONFIG, boxes="detected"))
    assert task.skip_reason(found.samples) is None
    assert task.unscorable_reason(found.samples) is None
    scores = task.score(poses(found), found.samples)
    counted = [p for p in found.persons.values() if p["num_keypoints"] and not p["iscrowd"]]
    assert found.missed in counted
    assert scores.summary["AR"] == pytest.approx((len(counted) - 1) / len(counted))
    # Precision is 1 down to the recall that is reached: the wrong box has the lowest score, the second one is gone.
    recalls = np.linspace(0, 1, 101)
    assert scores.summary["AP"] == pytest.approx(np.mean(recalls <= (len(counted) - 1) / len(counted)))
    assert undefined(scores.summary) >= {*PCK, *PCKH}
    told = [scores.record[key] for key in ("boxes", "persons", "detections", "results", "images")]
    assert told == ["detected", len(counted), 5, 4, 3]
    assert len(scores.per_sample["oks"]) == len(found.samples) == 5
    assert np.isnan(scores.per_sample["oks"]).sum() == 1  # the one that was suppressed
    json.dumps([dict(scores.summary), dict(scores.record)])


def test_a_detection_counts_by_its_box_and_its_joints(found: Any) -> None:
    """The box on nobody leads once its joints are sure enough: .3 x 1 against .9 x .2."""
    task = Pose(dataclasses.replace(CONFIG, boxes="detected"))
    on_nobody = found.samples.box_scores < 0.5
    sure = task.score(poses(found, np.where(on_nobody, 1.0, 0.4)[:, None]), found.samples)  # .3 against .28 to .36
    surer = task.score(poses(found, np.where(on_nobody, 1.0, 0.2)[:, None]), found.samples)
    assert sure.summary["AP"] > surer.summary["AP"] > 0
    assert surer.summary["AR"] == sure.summary["AR"]


def test_detections_agree_with_pycocotools_by_hand(found: Any) -> None:
    from pycocotools.coco import COCO as Truth
    from pycocotools.cocoeval import COCOeval

    samples, rng = found.samples, np.random.default_rng(0)
    predictions = poses(found, rng.uniform(0.2, 1, (5, 17)))
    predictions["keypoints"] = predictions["keypoints"] + rng.normal(0, 1, (5, 17, 2))
    scale = samples.crop_size[:, None] / np.array(SIZE[::-1])
    points = (
        (predictions["keypoints"] + 0.5) * scale + samples.crop_center[:, None] - samples.crop_size[:, None] / 2 - 0.5
    )
    results = [
        {"image_id": int(image), "category_id": 1, "score": float(score),
         "keypoints": np.concatenate([xy, np.ones((17, 1))], axis=1).ravel().tolist()}
        for image, xy, score in zip(
            samples.image_id, points, samples.box_scores * predictions["scores"].mean(axis=1), strict=True
        )
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        truth = Truth()
        truth.dataset = json.loads(json.dumps(samples.coco_truth))
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "keypoints")
        for step in (evaluation.evaluate, evaluation.accumulate, evaluation.summarize):
            step()
    summary = Pose(CONFIG).score(predictions, samples).summary
    assert summary["AP"] == pytest.approx(evaluation.stats[0], abs=1e-6)
    assert summary["AR"] == pytest.approx(evaluation.stats[5], abs=1e-6)


def test_where_no_detector_looked_the_reason_is_said(found: Any, load: Any) -> None:
    task = Pose(dataclasses.replace(CONFIG, boxes="detected"))
    own = load("crowdpose", "test")
    assert person_boxes.loader(crowdpose.DATASET, "test", "detected") is crowdpose.load
    whole = coco.DATASET
    assert person_boxes.loader(whole, "train", "detected") is person_boxes.loader(whole, "test") is coco.load
    assert task.unscorable_reason(own) == "crowdpose test has no boxes of a detector (evaluate.boxes=detected)"
    assert Pose(CONFIG).unscorable_reason(own) is None
    assert task.oracle(found.samples) is None
    bare = dataclasses.replace(found.samples, coco_truth=None)
    assert task.skip_reason(bare) == "coco val2017, detected boxes does not know coco_truth"
    with pytest.raises(TaskError, match="does not know coco_truth"):
        task.score(poses(found), bare)


def test_detections_take_part_in_what_is_known_of_the_data(roots: dict[str, Path]) -> None:
    before = coco.annotation_files(roots["coco"])
    path = detection_path(roots["coco"], "val2017")
    path.parent.mkdir(exist_ok=True)
    path.write_text("[]")
    assert set(coco.annotation_files(roots["coco"])) == {*before, path}
    path.unlink()


def test_coco_and_ochuman_share_their_joints(load: Any) -> None:
    assert load("ochuman", "test").skeleton == load("coco", "test").skeleton == COCO
