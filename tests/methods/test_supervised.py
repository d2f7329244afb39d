from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from hcbench.data.samples import Samples
from hcbench.errors import ConfigError, MethodError
from hcbench.harness.training.pretrain import label_facts
from hcbench.methods.base import Batch, Context, Step
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder
from hcbench.methods.parts.losses import attribute_bce, attribute_weights, positive_shares
from hcbench.methods.supervised.card import CARD, Config
from hcbench.methods.supervised.method import UNKNOWN, Supervised

SIZE = (32, 16)
STEP = Step(index=0, total=1, stage="pretrain", stage_index=0, stage_total=1, images_seen=0, epoch=0)
IDENTITIES, SHARES = (3, 8, 70, 71), (0.5, 0.25, 0.9)


def make(identities=IDENTITIES, shares=SHARES, **settings):
    torch.manual_seed(0)
    context = Context(input_size=SIZE, identities=identities, positive_shares=shares)
    return Supervised(Config(**settings), build_encoder(EncoderSpec("vit-mini16", *SIZE), 0), context)


def batch(identity=(70, 3, 71, 70, 8, -1)):
    generator = torch.Generator().manual_seed(0)
    count = len(identity)
    return Batch(
        images=torch.randint(0, 256, (count, 3, *SIZE), dtype=torch.uint8, generator=generator),
        indices=torch.arange(count),
        identity=torch.tensor(identity),
        attributes=torch.tensor([[1, 0, -1], [0, 0, 1]]).repeat(3, 1)[:count].to(torch.int8),
    )


def objective(method, source):
    views = method.views(source, torch.Generator().manual_seed(1))
    (found,) = method.objectives(views, STEP)
    return views, found


def literal_ce(logits, classes, smoothing):
    """Cross-entropy with smoothed targets, from the definition, over images of known class."""
    values = []
    for row, label in zip(logits.double().tolist(), classes.tolist(), strict=True):
        if label == UNKNOWN:
            continue
        total = math.log(sum(math.exp(x) for x in row))
        target = [smoothing / len(row) + (1 - smoothing) * (k == label) for k in range(len(row))]
        values.append(sum(t * (total - x) for t, x in zip(target, row, strict=True)))
    return sum(values) / len(values)


def literal_bce(logits, target, shares):
    """Weighted binary cross-entropy from the definition: sum over attributes, mean over images."""
    total = 0.0
    for row, labels in zip(logits.double().tolist(), target.tolist(), strict=True):
        for x, y, share in zip(row, labels, shares, strict=True):
            p = 1 / (1 + math.exp(-x))
            if y == 1:
                total -= math.exp(1 - share) * math.log(p)
            elif y == 0:
                total -= math.exp(share) * math.log(1 - p)
    return total / len(logits)


@pytest.mark.parametrize(("smoothing", "neck"), [(0.0, False), (0.1, True)])
def test_the_loss_literally(smoothing, neck):
    method = make(label_smoothing=smoothing, attribute_weight=0.5, identity_weight=2.0, neck=neck)
    views, found = objective(method, batch())
    pooled = method.encoder(views["images"]).pooled
    if neck:
        pooled = (pooled - pooled.mean(0)) / (pooled.var(0, unbiased=False) + 1e-5).sqrt()
    identity = literal_ce(method.identity_head(pooled).detach(), views["classes"], smoothing)
    attribute = literal_bce(method.attribute_head(pooled).detach(), views["attributes"], SHARES)
    assert found.loss.item() == pytest.approx(2 * identity + 0.5 * attribute, rel=1e-5)
    assert found.parts["identity_loss"].item() == pytest.approx(identity, rel=1e-5)
    assert found.parts["attribute_loss"].item() == pytest.approx(attribute, rel=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_attribute_bce_and_its_gradient(seed):
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(7, 4))).requires_grad_()
    target = torch.from_numpy(rng.integers(-1, 2, (7, 4)))
    shares = torch.from_numpy(rng.uniform(size=4))
    loss = attribute_bce(logits, target, shares)
    assert loss.item() == pytest.approx(literal_bce(logits.detach(), target, shares.tolist()))
    loss.backward()
    expected = attribute_weights(target, shares) * (logits.detach().sigmoid() - (target > 0).double()) / 7
    torch.testing.assert_close(logits.grad, expected)
    assert (logits.grad[target < 0] == 0).all()


def test_shares_count_specified_labels_alone():
    target = torch.tensor([[1, 0, -1], [0, 0, -1], [0, -1, -1], [0, 1, -1]])
    torch.testing.assert_close(positive_shares(target), torch.tensor([0.25, 1 / 3, 0.0]))


def test_identities_become_classes_and_unknown_ones_do_not_train():
    method = make(attribute_weight=0.0)
    views, found = objective(method, batch())
    assert views["classes"].tolist() == [2, 0, 3, 2, 1, UNKNOWN]
    assert "attributes" not in views
    found.loss.backward()
    assert method.identity_head.weight.grad.abs().sum() > 0
    _, nobody = objective(make(attribute_weight=0.0), batch((-1, -1)))
    assert nobody.loss.item() == 0
    assert nobody.loss.requires_grad


@pytest.mark.parametrize("strange", [4, 72, 0])
def test_an_identity_from_elsewhere_is_an_error(strange):
    with pytest.raises(MethodError, match=f"Identity {strange}"):
        make().views(batch((70, strange)), torch.Generator())


def test_a_loss_without_weight_has_no_classifier():
    assert not any("identity" in name for name, _ in make(identity_weight=0.0).named_parameters())
    assert not any("attribute" in name for name, _ in make(attribute_weight=0.0).named_parameters())
    views, found = objective(make(identity_weight=0.0, identities=()), dataclasses.replace(batch(), identity=None))
    assert "classes" not in views
    assert found.loss.requires_grad


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"identity_weight": -1.0}, ConfigError, "identity_weight is -1"),
        ({"identity_weight": 0.0, "attribute_weight": 0.0}, ConfigError, "both weights are 0"),
        ({"label_smoothing": 1.0}, ConfigError, "label_smoothing is 1"),
        ({"identities": ()}, MethodError, "names no identity"),
        ({"shares": ()}, MethodError, "names no attribute"),
    ],
)
def test_settings_and_corpora_that_teach_nothing_are_errors(settings, error, words):
    with pytest.raises(error, match=words):
        make(**settings)


def test_batch_norm_of_one_image_is_an_error():
    with pytest.raises(MethodError, match="there is one"):
        objective(make(), batch((70,)))


def test_a_batch_without_labels_is_an_error():
    with pytest.raises(MethodError, match="identities"):
        make().views(dataclasses.replace(batch(), identity=None), torch.Generator())


def test_a_method_is_told_of_labels_that_it_needs():
    view = Samples(
        name="toy",
        fingerprint="toy",
        images=np.zeros((3, 3, *SIZE), np.uint8),
        ids=np.array(["a", "b", "c"]),
        identity=np.array([9, -1, 4]),
        attributes=np.array([[1, -1], [0, -1], [1, 0]], np.int8),
    )
    told = label_facts(view, CARD.needs)
    assert told["identities"] == (4, 9)
    assert told["positive_shares"] == pytest.approx((2 / 3, 0.0))
    assert label_facts(view, frozenset({"images"})) == {}
