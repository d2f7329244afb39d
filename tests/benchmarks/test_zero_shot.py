from __future__ import annotations

import pytest
import torch

from hcbench.benchmarks.base import Embedded, EvaluateConfig, FeatureTable, Inputs
from hcbench.benchmarks.metrics.text_reid import rank_metrics
from hcbench.benchmarks.text_reid.card import CARD
from hcbench.benchmarks.text_reid.zero_shot import ZeroShotTextReid
from hcbench.errors import TaskError

CONFIG = EvaluateConfig(replicates=20)


def inputs(split, image, text):
    return Inputs(features=split.features, captions=split.samples.captions, embedded=Embedded(image=image, text=text))


def score(split, image, text):
    task = ZeroShotTextReid(CONFIG)
    assert task.fit(split, split) == {}
    return task.score(task.predict(inputs(split, image, text)), split.samples)


def test_the_card_names_a_class_for_each_protocol():
    assert CARD.under("frozen").implementation.endswith("task:TextReid")
    assert CARD.under("zero-shot").implementation.endswith("zero_shot:ZeroShotTextReid")


def test_it_is_the_cosine_of_raw_vectors(told):
    """All captions of persons against all images, distractors included; lengths of vectors do not matter."""
    split, generator = told["test"], torch.Generator().manual_seed(0)
    image, text = (torch.randn(count, 8, generator=generator) for count in (200, 400))
    lengths = 10 ** torch.randn(400, 1, generator=generator)
    found = score(split, image, text * lengths)
    identity = torch.from_numpy(split.samples.identity)
    owner = torch.arange(200).repeat_interleave(2)
    queries = identity[owner] >= 0
    similarity = torch.nn.functional.cosine_similarity(text[queries][:, None].double(), image[None].double(), dim=2)
    expected = rank_metrics(similarity, identity[owner][queries], identity).summary()
    assert found.summary == pytest.approx(expected, abs=1e-12)
    assert found.record["n_valid"] == 360
    assert found.record["gallery"] == 200
    assert dict(found.chosen) == {}
    assert found.replicates["R1"].shape == (20,)


def test_towers_that_agree_score_1_and_strangers_score_chance(told):
    split = told["test"]
    code = split.features.pooled[:, :15]
    assert score(split, code, code.repeat_interleave(2, dim=0)).summary["mAP"] == pytest.approx(1)
    noise = torch.randn(400, 15, generator=torch.Generator().manual_seed(1))
    chance = 6 / 200
    assert score(split, code, noise).summary["R1"] < 5 * chance


@pytest.mark.parametrize(
    ("image", "text", "words"),
    [
        (torch.zeros(200, 4), torch.zeros(399, 4), "200 image and 399 text vectors"),
        (torch.full((200, 4), float("nan")), torch.zeros(400, 4), "not finite"),
    ],
)
def test_vectors_that_do_not_fit_are_told_of(told, image, text, words):
    with pytest.raises(TaskError, match=words):
        ZeroShotTextReid(CONFIG).predict(inputs(told["test"], image, text))


def test_no_vectors_no_predictions(told):
    features = FeatureTable(pooled=torch.zeros(1, 2), grid=torch.zeros(1, 2, 1, 1))
    with pytest.raises(TaskError, match="without captions or without their vectors"):
        ZeroShotTextReid(CONFIG).predict(Inputs(features=features, captions=(("a",),)))
