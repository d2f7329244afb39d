from __future__ import annotations

import numpy as np
import pytest
import torch

from hcbench.data.samples import Samples
from hcbench.harness.training.health import diagnose
from hcbench.harness.training.loss_log import LossLog
from hcbench.methods.base import Context
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder
from hcbench.methods.random.card import Config
from hcbench.methods.random.method import Random

TRUTH = np.repeat(np.arange(4), 3)


class Labelling(Random):
    """A method that gave pseudo labels."""

    given: torch.Tensor | None = None

    def pseudo_labels(self):
        return self.given


def values(given, identity=TRUTH):
    images = np.random.default_rng(0).integers(0, 256, (len(TRUTH), 3, 32, 16), dtype=np.uint8)
    view = Samples(
        name="toy", fingerprint="toy", images=images, ids=np.array([f"i{k}" for k in range(12)]), identity=identity
    )
    method = Labelling(Config(), build_encoder(EncoderSpec("vit-mini8", 32, 16), 0), Context(input_size=(32, 16)))
    method.given = None if given is None else torch.as_tensor(given)
    return diagnose(method, view, LossLog(1), seed=0).values


def test_pseudo_labels_are_held_against_the_persons():
    assert values(7 - TRUTH)["label_agreement"] == 1
    assert values(np.arange(12) % 3)["label_agreement"] < 0.1
    outliers = np.where(TRUTH == 0, -1, TRUTH)
    assert values(outliers)["label_agreement"] == 1


@pytest.mark.parametrize(("given", "identity"), [(None, TRUTH), (TRUTH, None), (np.full(12, -1), TRUTH)])
def test_without_labels_or_persons_there_is_no_agreement(given, identity):
    assert "label_agreement" not in values(given, identity)
