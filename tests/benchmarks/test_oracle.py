"""Ground truth as prediction, where truth is not simple: gaps in the labels, twins, several persons in an image."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from hcbench.benchmarks.attributes.task import Attributes
from hcbench.benchmarks.base import EvaluateConfig, Scores, Task
from hcbench.benchmarks.parsing.task import Parsing
from hcbench.benchmarks.pose.task import Pose
from hcbench.benchmarks.reid.task import Reid
from hcbench.benchmarks.text_reid.task import TextReid
from hcbench.data import coco
from hcbench.data.people.dataset import benchmark_split

FAST = EvaluateConfig(replicates=20)


def perfect(kind: type[Task], samples) -> Scores:
    task = kind(FAST)
    predictions = task.oracle(samples)
    assert predictions is not None
    assert all(np.isfinite(values).all() for values in predictions.values())
    return task.score(predictions, samples)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """The embedded test split, shrunk."""
    return benchmark_split("test", height=64, width=32, scale=0.05, cache=tmp_path_factory.mktemp("people"))


@pytest.mark.parametrize("kind", [Parsing, Pose, Reid, TextReid])
def test_people(kind, people):
    summary = perfect(kind, people).summary
    assert {metric.name for metric in kind.card.metrics if metric.main} <= summary.keys()
    defined = {name: value for name, value in summary.items() if not np.isnan(value)}
    assert kind.card.main_metrics[0].name in defined
    assert defined == pytest.approx(dict.fromkeys(defined, 1.0))


def test_attributes_of_people(people):
    """The mean accuracy of attributes that the split shows both ways is 1; a missing class halves an attribute's."""
    scores = perfect(Attributes, people)
    assert scores.summary["ma_defined"] == pytest.approx(1.0)
    assert scores.summary["f1"] == pytest.approx(1.0)
    missing = len(scores.record["undefined"]) / people.attributes.shape[1]
    assert scores.summary["mA"] == pytest.approx(1 - missing / 2)


def test_places_of_unlabelled_joints_do_not_matter(told):
    samples = told["test"].samples
    keypoints = samples.keypoints.copy()
    keypoints[keypoints[..., 2] == 0] = (-900, 5000, 0)
    assert perfect(Pose, dataclasses.replace(samples, keypoints=keypoints)).summary["AP"] == pytest.approx(1.0)


def test_unspecified_attributes_are_not_claimed(told):
    samples = told["test"].samples
    labels = samples.attributes.copy()
    labels[::3, 2] = -1
    holes = dataclasses.replace(samples, attributes=labels)
    assert (Attributes(FAST).oracle(holes)["probability"][::3, 2] == 0).all()
    summary = perfect(Attributes, holes).summary
    assert (summary["mA"], summary["precision"], summary["recall"]) == pytest.approx((1.0, 1.0, 1.0))


def test_a_caption_that_fits_two_persons_or_nobody_is_still_its_owners(told):
    samples = told["test"].samples
    for captions in ((("a person",),) * len(samples), (("", "nothing of the kind"),) * len(samples)):
        summary = perfect(TextReid, dataclasses.replace(samples, captions=captions)).summary
        assert (summary["R1"], summary["mAP"]) == pytest.approx((1.0, 1.0))


def test_distractors_stand_behind_everybody(told):
    samples = told["test"].samples
    assert (samples.identity < 0).any()
    codes = Reid(FAST).oracle(samples)["features"]
    assert not (codes[samples.identity < 0] @ codes[samples.identity >= 0].T).any()


def test_the_real_sample(real_coco: Path, tmp_path: Path) -> None:
    samples = coco.load(real_coco, "val2017", cache=tmp_path)
    summary = perfect(Pose, samples).summary
    assert (summary["AP"], summary["AP50"], summary["PCK05"]) == pytest.approx((1.0, 1.0, 1.0))
