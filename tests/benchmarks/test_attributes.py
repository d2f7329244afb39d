import dataclasses

import numpy as np
import pytest
import torch

from hcbench.benchmarks.attributes.task import SETTINGS, Attributes, loss_weights
from hcbench.benchmarks.base import EvaluateConfig, Inputs

CONFIG = EvaluateConfig(replicates=20)


def test_loss_weights_follow_the_share_of_positives():
    target = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
    weights = loss_weights(target)
    rare, unspecified = np.exp(1 - 0.25), np.exp(1 - 1 / 3)
    np.testing.assert_allclose(weights[0], [rare, np.exp(1 / 3)], rtol=1e-6)
    np.testing.assert_allclose(weights[1], [np.exp(0.25), np.exp(1 / 3)], rtol=1e-6)
    np.testing.assert_allclose(weights[:, 1][[2, 3]], [0, unspecified], rtol=1e-6)


def test_noise_features_are_at_chance(noise):
    task = Attributes(CONFIG)
    task.fit(noise["train"], noise["val"])
    test = noise["test"]
    scores = task.score(task.predict(Inputs(features=test.features)), test.samples)
    assert scores.summary["mA"] == pytest.approx(0.5, abs=0.05)


def test_every_setting_and_readout_is_tried(told):
    chosen = Attributes(CONFIG).fit(told["train"], told["val"])
    assert len(chosen["trials"]) == 3 * len(SETTINGS)
    assert chosen["readout"] in {"cls", "cls+stripes"}  # looks are in the pooled vector
    assert chosen["value"] == max(trial["mA"] for trial in chosen["trials"])


def test_unspecified_labels_do_not_train(told):
    """Read as negatives, they would push the probability below a half."""
    train = told["train"]
    labels = train.samples.attributes.copy()
    labels[:, 3] = -1
    split = dataclasses.replace(train, samples=dataclasses.replace(train.samples, attributes=labels))
    task = Attributes(CONFIG)
    task.fit(split, told["val"])
    probability = task.predict(Inputs(features=told["test"].features))["probability"]
    assert (probability[:, 3] == 0.5).all()
    assert (probability[:, 2] != 0.5).all()


def test_attributes_without_positives_are_named(told):
    samples = told["test"].samples
    labels = samples.attributes.copy()
    labels[:, 4] = 0
    bare = dataclasses.replace(samples, attributes=labels)
    scores = Attributes(CONFIG).score({"probability": labels.astype(np.float32)}, bare)
    assert scores.record["undefined"] == [samples.attribute_names[4]]
    assert scores.summary["mA"] == pytest.approx(1 - 0.5 / labels.shape[1])
    assert scores.summary["ma_defined"] == 1
    assert scores.record["label_ma"][samples.attribute_names[4]] == 0.5


def test_accuracy_by_question_is_that_of_its_authors_code(told):
    """Of several answers the most probable one is taken; persons without a right answer count as wrong."""
    samples = told["test"].samples
    labels = samples.attributes.copy()
    colourless = np.arange(len(samples)) % 4 == 0
    labels[colourless, :6] = 0
    samples = dataclasses.replace(samples, attributes=labels)
    probability = np.where(labels == 1, 0.3, 0.1).astype(np.float32)  # none above a half, the right one highest
    scores = Attributes(CONFIG).score({"probability": probability}, samples)
    share = 1 - colourless.mean()
    assert scores.summary["recall"] == 0
    assert scores.summary["question_accuracy"] == pytest.approx((2 + share) / 3)
    assert scores.record["accuracy_by_question"] == pytest.approx({"top": share, "garment": 1, "legs": 1})
    assert scores.record["without_right_answer"] == {"top": int(colourless.sum())}
    assert scores.replicates["question_accuracy"].shape == (CONFIG.replicates,)
    assert np.ptp(scores.replicates["question_accuracy"]) > 0


def test_no_questions_no_accuracy_by_question(told):
    samples = dataclasses.replace(told["test"].samples, attribute_groups=())
    task = Attributes(CONFIG)
    scores = task.score(task.oracle(samples), samples)
    assert "question_accuracy" not in scores.summary
    assert "question_accuracy" not in scores.replicates
    assert "accuracy_by_question" not in scores.record
    assert scores.summary["mA"] == 1
