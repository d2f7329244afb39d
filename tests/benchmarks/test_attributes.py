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


def test_unspecified_labels_do_not_train_as_negatives(told):
    """Most positives are hidden; read as negatives, they would teach that there are hardly any."""
    train, test = told["train"], told["test"]
    hidden = (np.random.default_rng(0).random(train.samples.attributes.shape) < 0.8) & (train.samples.attributes == 1)
    positive, likely = test.samples.attributes == 1, []
    for unknown in (-1, 0):
        labels = np.where(hidden, unknown, train.samples.attributes).astype(np.int8)
        split = dataclasses.replace(train, samples=dataclasses.replace(train.samples, attributes=labels))
        task = Attributes(dataclasses.replace(CONFIG, epochs=3.0))
        task.fit(split, told["val"])
        likely.append(task.predict(Inputs(features=test.features))["probability"][positive].mean())
    assert likely[0] > likely[1] + 0.15


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
