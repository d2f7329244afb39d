"""The contract that every benchmark keeps: oracle, shapes, records, determinism, label-free prediction."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Mapping

import numpy as np
import pytest
import torch

from hcbench.benchmarks.base import EvaluateConfig, FeatureTable, Inputs, Split, Task
from hcbench.benchmarks.pose.measures import PCKH
from hcbench.errors import ConfigError, TaskError

MODULES = ("attributes", "parsing", "pose", "reid", "text_reid")
FAST = EvaluateConfig(replicates=50, epochs=0.25)


def task_class(module: str) -> type[Task]:
    card = importlib.import_module(f"hcbench.benchmarks.{module}.card").CARD
    file, name = card.implementation.split(":")
    return getattr(importlib.import_module(file), name)


def inputs(split: Split) -> Inputs:
    return Inputs(features=split.features, captions=split.samples.captions)


def oracle(module: str, samples) -> Mapping[str, np.ndarray]:
    """Predictions that are right."""
    predictions = task_class(module)(FAST).oracle(samples)
    assert predictions is not None
    return predictions


@pytest.mark.parametrize("module", MODULES)
def test_the_card_and_the_task_agree(module):
    card = importlib.import_module(f"hcbench.benchmarks.{module}.card").CARD
    assert task_class(module).card is card
    assert len(card.main_metrics) == 1
    assert card.name.replace("-", "_") == module
    assert not any(sign in metric.name for metric in card.metrics for sign in "@=")


@pytest.mark.parametrize("module", MODULES)
def test_ground_truth_scores_one(module, told):
    samples = told["test"].samples
    scores = task_class(module)(FAST).score(oracle(module, samples), samples)
    for metric in task_class(module).card.metrics:
        if metric.name in PCKH:  # nobody marks heads
            assert np.isnan(scores.summary[metric.name])
            continue
        assert scores.summary[metric.name] == pytest.approx(1.0), metric.name
        if metric.name != "mA":  # by its zero rule a resample without positives of some attribute gives less
            assert scores.replicates[metric.name] == pytest.approx(np.ones(FAST.replicates)), metric.name


@pytest.mark.parametrize("module", MODULES)
def test_scores_are_complete_and_can_be_stored(module, told):
    task = task_class(module)(FAST)
    chosen = task.fit(told["train"], told["val"])
    scores = task.score(task.predict(inputs(told["test"])), told["test"].samples)
    names = {metric.name for metric in task.card.metrics}
    assert names <= scores.summary.keys()
    assert names <= scores.replicates.keys()
    assert {len(values) for values in scores.replicates.values()} == {FAST.replicates}
    assert len({len(column) for column in scores.per_sample.values()}) == 1
    assert {"sample", "slice_half"} <= scores.per_sample.keys()
    assert scores.chosen == chosen
    assert {"readout", "criterion", "value", "trials"} <= chosen.keys()
    assert {"split"} <= scores.record.keys()
    json.dumps([dict(scores.summary), dict(scores.record), dict(scores.chosen)])


@pytest.mark.parametrize("module", ["attributes", "reid", "text_reid"])  # pose: see test_pose
def test_learned_features_beat_noise(module, told, noise):
    main = task_class(module).card.main_metrics[0].name
    values = []
    for world in (told, noise):
        task = task_class(module)(EvaluateConfig(replicates=2, epochs=2.0))
        task.fit(world["train"], world["val"])
        values.append(task.score(task.predict(inputs(world["test"])), world["test"].samples).summary[main])
    assert values[0] > values[1] + 0.3


@pytest.mark.parametrize("module", MODULES)
def test_the_same_seed_gives_the_same_predictions(module, told):
    predictions = []
    for _ in range(2):
        torch.rand(3)  # whatever else was drawn must not matter
        task = task_class(module)(FAST)
        task.fit(told["train"], told["val"])
        predictions.append(task.predict(inputs(told["test"])))
    for name, values in predictions[0].items():
        np.testing.assert_array_equal(values, predictions[1][name])


@pytest.mark.parametrize("module", ["attributes", "pose", "text_reid"])
def test_another_head_seed_gives_other_heads(module, told):
    predictions = []
    for seed in (0, 1):
        task = task_class(module)(dataclasses.replace(FAST, head_seed=seed))
        task.fit(told["train"], told["val"])
        predictions.append(next(iter(task.predict(inputs(told["test"])).values())))
    assert not np.array_equal(*predictions)


def test_inputs_hold_no_labels():
    assert {field.name for field in dataclasses.fields(Inputs)} == {"features", "captions", "embedded"}
    assert {field.name for field in dataclasses.fields(FeatureTable)} == {"pooled", "grid", "tokens"}


@pytest.mark.parametrize("module", MODULES)
def test_resamples_are_shared_by_all_methods(module, told):
    """Two different predictions on one test set see the same draws, so that their difference is paired."""
    samples = told["test"].samples
    task, right = task_class(module)(FAST), oracle(module, told["test"].samples)
    first = task.score(right, samples)
    wrong = {name: values.copy() for name, values in right.items()}
    name = {
        "attributes": "probability", "parsing": "labels", "pose": "keypoints", "reid": "features", "text_reid": "image",
    }[module]  # fmt: skip
    harm = {"pose": lambda right: right + 500, "parsing": lambda right: (right + 1) % 7}
    wrong[name][0] = harm.get(module, lambda right: 1 - right)(wrong[name][0])
    second = task.score(wrong, samples)
    column = {"attributes": "accuracy", "parsing": "miou", "pose": "PCK20"}.get(module, "mAP")
    harmed = second.replicates[column] < first.replicates[column]
    assert 0 < second.summary[column] < 1
    assert 0 < harmed.mean() <= 1
    np.testing.assert_array_equal(task.score(wrong, samples).replicates[column], second.replicates[column])


@pytest.mark.parametrize("module", MODULES)
def test_a_task_says_what_the_data_lack(module, told):
    task = task_class(module)(FAST)
    assert task.skip_reason(told["test"].samples) is None
    field = {
        "attributes": "attributes", "parsing": "parts", "pose": "keypoints", "reid": "camera", "text_reid": "captions",
    }[module]  # fmt: skip
    bare = dataclasses.replace(told["test"].samples, **{field: None})
    assert field in (task.skip_reason(bare) or "")
    with pytest.raises(TaskError, match=field):
        task.score(oracle(module, told["test"].samples), bare)


@pytest.mark.parametrize("module", MODULES)
def test_features_that_are_not_finite_are_an_error(module, told):
    train, val = told["train"], told["val"]
    broken = []
    for split in (train, val):
        table = FeatureTable(pooled=split.features.pooled.clone(), grid=split.features.grid.clone())
        table.pooled[0] = torch.nan
        table.grid[0] = torch.nan
        broken.append(dataclasses.replace(split, features=table))
    with pytest.raises(TaskError, match=r"not finite|NaN"):
        task_class(module)(FAST).fit(*broken)


@pytest.mark.parametrize("module", ["attributes", "reid", "text_reid"])
def test_a_named_readout_is_used_and_an_unknown_one_refused(module, told):
    task = task_class(module)(dataclasses.replace(FAST, readout="mean"))
    assert task.fit(told["train"], told["val"])["readout"] == "mean"
    with pytest.raises(ConfigError, match="strips") as error:
        task_class(module)(dataclasses.replace(FAST, readout="cls+strips")).fit(told["train"], told["val"])
    assert "cls+stripes" in error.value.hint


@pytest.mark.parametrize("module", MODULES)
def test_one_thread_and_two_give_the_same_bits(module, told):
    before, predictions = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            task = task_class(module)(FAST)
            task.fit(told["train"], told["val"])
            predictions.append(task.predict(inputs(told["test"])))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for name, values in predictions[0].items():
        np.testing.assert_array_equal(values, predictions[1][name])
