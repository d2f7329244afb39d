import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hcbench.benchmarks.base import EvaluateConfig, FeatureTable, Inputs, Split
from hcbench.benchmarks.text_reid import task as module
from hcbench.benchmarks.text_reid.task import TextReid, caption_pairs, shared_captions
from hcbench.benchmarks.text_reid.tower import PAD, UNKNOWN, Tokenizer, TwoTowers
from hcbench.errors import TaskError

CONFIG = EvaluateConfig(replicates=20)


def test_the_tokenizer_is_sorted_and_knows_unknown_words():
    tokenizer = Tokenizer.from_captions(["Red coat, red hat.", "a Blue-green coat"])
    assert tokenizer.words == ("a", "blue", "coat", "green", "hat", "red")
    tokens = tokenizer.encode(["a red scarf", "coat", "..."])
    assert tokens.tolist() == [[2, 7, UNKNOWN], [4, PAD, PAD], [UNKNOWN, PAD, PAD]]
    assert len(tokenizer) == 8


def towers(seed: int = 0) -> TwoTowers:
    model = TwoTowers(12, 20, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for bias in (model.bias1, model.bias2, model.text_bias):
            bias.normal_(0, 0.5, generator=torch.Generator().manual_seed(seed + 1))
    return model


@torch.no_grad()
def test_the_text_tower_is_two_convolutions_and_a_maximum():
    """Against conv1d over embedded words, one caption at a time, without padding."""
    model, generator = towers(), torch.Generator().manual_seed(3)
    for length in (1, 2, 7):
        tokens = torch.randint(1, 20, (1, length), generator=generator)
        x = model.words[tokens].transpose(1, 2)
        kernel1 = torch.stack(model.conv1.chunk(3, dim=1), dim=2).permute(1, 0, 2)
        x = F.relu(F.conv1d(x, kernel1, model.bias1, padding=1))
        kernel2 = torch.stack(model.conv2.chunk(3, dim=0), dim=2).permute(1, 0, 2)
        x = F.relu(F.conv1d(x, kernel2, model.bias2, padding=1))
        expected = x.amax(dim=2) @ model.text + model.text_bias
        torch.testing.assert_close(model.encode_text(tokens), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_caption_reads_the_same_beside_a_longer_one():
    model = towers()
    short, long = torch.tensor([[5, 6, 7]]), torch.tensor([[5, 6, 7, PAD, PAD], [1, 2, 3, 4, 5]])
    torch.testing.assert_close(model.encode_text(long)[:1], model.encode_text(short))
    assert not torch.allclose(model.encode_text(torch.tensor([[7, 6, 5]])), model.encode_text(short))


def test_pairs_leave_images_without_identity_out(told):
    samples = told["test"].samples
    tokenizer = Tokenizer.from_captions(text for several in samples.captions for text in several)
    pairs = caption_pairs(samples, tokenizer)
    assert len(pairs.image) == 2 * 180
    assert (pairs.identity >= 0).all()
    assert torch.equal(pairs.identity, torch.from_numpy(samples.identity)[pairs.image])
    nobody = dataclasses.replace(samples, identity=np.full(200, -1))
    with pytest.raises(TaskError, match="no captioned image"):
        caption_pairs(nobody, tokenizer)


def test_every_caption_of_a_person_queries_every_image(told):
    task = TextReid(CONFIG)
    task.fit(told["train"], told["val"])
    test = told["test"]
    predictions = task.predict(Inputs(features=test.features, captions=test.samples.captions))
    assert predictions["text"].shape[0] == 400
    assert predictions["text_image"].tolist() == np.repeat(np.arange(200), 2).tolist()
    np.testing.assert_allclose(np.linalg.norm(predictions["text"], axis=1), 1, atol=1e-5)
    scores = task.score(predictions, test.samples)
    assert scores.record["n_valid"] == 360
    assert scores.record["gallery"] == 200
    assert scores.record["captions_of_distractors"] == 40
    assert scores.record["queries_shared_by_identities"] == 0


def test_random_embeddings_are_at_chance(told):
    samples = told["test"].samples
    values = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        predictions = {
            "image": F.normalize(torch.from_numpy(rng.normal(size=(200, 32))), dim=1).numpy(),
            "text": F.normalize(torch.from_numpy(rng.normal(size=(400, 32))), dim=1).numpy(),
            "text_image": np.repeat(np.arange(200), 2),
        }
        values.append(TextReid(CONFIG).score(predictions, samples).summary["R1"])
    chance = 6 / 200  # the paired image is not removed
    assert abs(np.mean(values) - chance) < 4 * np.sqrt(chance / (10 * 360))


def test_blocks_change_nothing(told, monkeypatch):
    samples = told["test"].samples
    rng = np.random.default_rng(0)
    predictions = {
        "image": rng.normal(size=(200, 8)),
        "text": rng.normal(size=(400, 8)),
        "text_image": np.repeat(np.arange(200), 2),
    }
    whole = TextReid(CONFIG).score(predictions, samples)
    monkeypatch.setattr(module, "BLOCK", 11)
    assert TextReid(CONFIG).score(predictions, samples).summary == whole.summary


def test_collapsed_embeddings_are_reported(told, caplog):
    predictions = {"image": np.ones((200, 4)), "text": np.ones((400, 4)), "text_image": np.repeat(np.arange(200), 2)}
    scores = TextReid(CONFIG).score(predictions, told["test"].samples)
    assert scores.record["tied_share"] == 1
    assert "collapsed" in caplog.text


def test_twins_are_counted():
    captions = (("a red coat", "coat"), ("a red coat",), ("a red coat",), ("coat",))
    assert shared_captions(captions, np.array([0, 0, -1, 0])) == 0
    assert shared_captions(captions, np.array([0, 1, -1, 0])) == 2


def test_the_probe_is_trained_to_its_end(told):
    """Faint features: three times the length gains nothing. CMPM in 4 passes would gain .04 mAP here."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(17, 192, generator=generator) / 17**0.5
    faint = {}
    for name, split in told.items():
        noise = torch.randn(len(split.samples), 192, generator=generator)
        features = FeatureTable(pooled=split.features.pooled @ mixing + noise, grid=split.features.grid)
        faint[name] = Split(features=features, samples=split.samples)
    values = []
    for epochs in (1.0, 3.0):
        task = TextReid(dataclasses.replace(CONFIG, readout="cls", epochs=epochs))
        task.fit(faint["train"], faint["val"])
        predictions = task.predict(Inputs(features=faint["test"].features, captions=faint["test"].samples.captions))
        values.append(task.score(predictions, faint["test"].samples).summary["mAP"])
    assert values[0] > 0.7
    assert values[1] < values[0] + 0.02


def test_prediction_without_captions_is_an_error(told):
    task = TextReid(dataclasses.replace(CONFIG, readout="cls", epochs=0.2))
    task.fit(told["train"], told["val"])
    with pytest.raises(TaskError, match="without captions"):
        task.predict(Inputs(features=told["test"].features))
