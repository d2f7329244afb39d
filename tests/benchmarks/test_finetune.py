"""Fine-tuning: the loop that all benchmarks share, and what each adds to it."""

from __future__ import annotations

import dataclasses
import importlib
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hcbench.benchmarks.base import EvaluateConfig, FeatureTable, FineTunedTask, Split, UnlabelledImages
from hcbench.benchmarks.finetune import (
    TrainingBatch,
    TrainingSetup,
    build_optimiser,
    identity_batches,
    lr_factor,
    persons,
)
from hcbench.benchmarks.pose.finetune import FineTunePose, PoseLearner
from hcbench.benchmarks.recipes import FinetuneRecipe, read_recipe, recipe_names
from hcbench.benchmarks.reid.finetune import FineTuneReid, ReidLearner, soft_triplet
from hcbench.benchmarks.text_reid.finetune import FineTuneTextReid, OwnTowers, sdm
from hcbench.benchmarks.warp import OUTSIDE, Warp
from hcbench.data.people.dataset import benchmark_split
from hcbench.data.skeletons import COCO
from hcbench.errors import ConfigError, DivergedError, TaskError
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder
from hcbench.methods.parts.encoder import encode_all
from hcbench.methods.parts.losses import cmpm
from hcbench.methods.parts.text import ImageProjection, TextSpec, TextTower
from hcbench.methods.parts.tokenizer import Tokenizer
from hcbench.methods.pixels.method import PixelEncoder
from hcbench.methods.solider.networks import controlled

MODULES = ("attributes", "parsing", "pose", "reid", "text_reid")
SIZE = (32, 16)
CONFIG = EvaluateConfig(replicates=5, epochs=0.5, batch_size=16)
PLAIN = FinetuneRecipe(epochs=1, batch_size=4, lrs=(1e-3,))


def card(module):
    return importlib.import_module(f"hcbench.benchmarks.{module}.card").CARD


def make(module, protocol="finetune", config=CONFIG):
    file, name = card(module).under(protocol).implementation.split(":")
    return getattr(importlib.import_module(file), name)(config)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    cache = tmp_path_factory.mktemp("people")
    return {
        split: benchmark_split(split, height=SIZE[0], width=SIZE[1], scale=0.01, cache=cache)
        for split in ("train", "val", "test")
    }


@pytest.fixture
def encoder():
    return build_encoder(EncoderSpec("vit-mini8", *SIZE), seed=0).eval()


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("name", ["short", "field"])
def test_every_benchmark_has_both_recipes(module, name):
    recipe = read_recipe(card(module).name, name)
    assert recipe.lrs
    assert recipe.epochs >= 1
    assert recipe.flip == 0.5


def test_a_recipe_that_does_not_exist_is_told_of():
    with pytest.raises(ConfigError, match="no recipe 'fielt'") as error:
        read_recipe("reid", "fielt")
    assert "field" in error.value.hint
    assert "irra" not in error.value.hint
    with pytest.raises(ConfigError, match="no recipe 'irra'") as error:
        read_recipe("reid", "irra")
    assert error.value.hint == (
        "Known: field, short. It is a recipe of text-reid: fine-tune on that alone (--benchmarks)."
    )
    assert recipe_names() == ("field", "short", "irra")


@pytest.mark.parametrize("module", MODULES)
def test_it_repeats_exactly_leaves_the_encoder_alone_and_scores_as_the_frozen_task(module, people, encoder):
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    heard, found = [], []
    for _ in range(2):
        torch.rand(3)  # whatever else was drawn must not matter
        task = make(module)
        assert isinstance(task, FineTunedTask)
        chosen = task.finetune(encoder, people["train"], people["val"], progress=lambda *said: heard.append(said))
        found.append(task.predict_images(UnlabelledImages.of(people["test"])))
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert not encoder.training
    assert found[0].keys() == task.oracle(people["test"]).keys()
    for name, values in found[0].items():
        np.testing.assert_array_equal(values, found[1][name])
    scores = task.score(found[1], people["test"])
    of_questions = set() if people["test"].attribute_groups else {"question_accuracy"}  # there are none on people
    assert {metric.name for metric in task.card.metrics} - of_questions <= scores.summary.keys()
    assert scores.chosen == chosen
    assert {"lr", "length", "criterion", "value", "trials"} <= chosen.keys()
    assert scores.record["recipe"]["name"] == "short"
    json.dumps([dict(scores.summary), dict(scores.record), dict(scores.chosen)])
    assert heard[0][0].startswith(f"finetune {task.card.name} lr")
    assert all(done < total for _, done, total in heard)


@pytest.mark.parametrize("module", MODULES)
def test_ground_truth_scores_one(module, people):
    samples = people["test"]
    task = make(module)
    main = task.card.main_metrics[0].name
    name = {"attributes": "ma_defined"}.get(module, main)
    assert task.score(task.oracle(samples), samples).summary[name] == pytest.approx(1.0)


def test_the_best_look_at_validation_is_kept(people, encoder):
    task = make("reid", config=dataclasses.replace(CONFIG, epochs=2.0))
    chosen = task.finetune(encoder, people["train"], people["val"])
    again = task.score(task.predict_images(UnlabelledImages.of(people["val"])), people["val"])
    assert again.summary["mAP"] == chosen["value"] == max(trial["mAP"] for trial in chosen["trials"])


def test_another_seed_gives_other_weights(people, encoder):
    found = []
    for seed in (0, 1):
        task = make("attributes", config=dataclasses.replace(CONFIG, head_seed=seed))
        task.finetune(encoder, people["train"], people["val"])
        found.append(task.predict_images(UnlabelledImages.of(people["test"]))["probability"])
    assert not np.array_equal(*found)


def test_an_encoder_without_weights_is_not_tuned(encoder):
    assert make("reid").why_not_finetunable(encoder) is None
    assert "no weights" in make("reid").why_not_finetunable(PixelEncoder(32, 16))


def test_a_loss_that_is_not_finite_ends_as_diverged(people, encoder):
    with torch.no_grad():
        next(encoder.parameters()).fill_(torch.nan)
    with pytest.raises(DivergedError, match="Fine-tuning attributes diverged at step 1"):
        make("attributes").finetune(encoder, people["train"], people["val"])


@pytest.mark.slow
def test_fine_tuning_is_better_than_a_frozen_head(tmp_path):
    """On validation, which both choose on: an untrained encoder learns the attributes of 200 images."""
    splits = [benchmark_split(s, height=64, width=32, scale=0.05, cache=tmp_path) for s in ("train", "val")]
    encoder = build_encoder(EncoderSpec("vit-mini8", 64, 32), seed=0)
    config = dataclasses.replace(CONFIG, epochs=4.0)
    tuned = make("attributes", config=config).finetune(encoder, *splits)["value"]
    tables = [Split(features=table(encoder, split), samples=split) for split in splits]
    frozen = make("attributes", "frozen", config).fit(*tables)["value"]
    assert tuned > frozen + 0.01


def table(encoder, samples):
    seen = encode_all(encoder, samples.images)
    return FeatureTable(pooled=seen.pooled, grid=seen.grid)


# ---------------------------------------------------------------- optimiser and schedule


def test_layers_learn_slower_towards_the_input(people, encoder):
    task = FineTuneReid(CONFIG)
    recipe = dataclasses.replace(PLAIN, layer_decay=0.5, head_factor=10.0, weight_decay=0.1)
    learner = learner_of(task, encoder, people["train"], recipe)
    groups = build_optimiser(learner, recipe, 1e-3).param_groups
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    trained = [p for p in learner.parameters() if p.requires_grad]
    assert len(rate) == len(trained) == sum(len(group["params"]) for group in groups)
    blocks = encoder_of(learner).backbone.blocks
    assert rate[id(blocks[0].attn.qkv.weight)] == pytest.approx(rate[id(blocks[5].attn.qkv.weight)] * 0.5**5)
    assert rate[id(learner.classifier.weight)] == pytest.approx(1e-2)
    assert decay[id(learner.classifier.weight)] == 0.1
    assert decay[id(blocks[0].attn.qkv.bias)] == decay[id(learner.neck.weight)] == 0
    assert id(learner.neck.bias) not in rate


def test_drops_divide_by_ten():
    recipe = dataclasses.replace(PLAIN, drops=(0.5, 0.8), warmup=0.2)
    found = [lr_factor(step, 10, recipe) for step in range(10)]
    assert found == pytest.approx([0.5, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])


# ---------------------------------------------------------------- warps


def test_joints_and_masks_move_with_the_pixels():
    """A bright pixel, its joint and its class arrive at one place."""
    recipe = dataclasses.replace(PLAIN, flip=0.5, rotate=20, zoom=0.2, shift=0.05)
    warp = Warp.draw(64, (41, 31), recipe, torch.Generator().manual_seed(0))
    images, masks = torch.zeros(64, 3, 41, 31), torch.zeros(64, 41, 31, dtype=torch.uint8)
    images[:, :, 14:19, 18:23] = 1
    masks[:, 14:19, 18:23] = 1
    keypoints = torch.tensor([20.0, 16.0, 2.0]).expand(64, 1, 3)
    x, y, v = warp.keypoints(keypoints, (0,))[:, 0].unbind(-1)
    assert warp.flipped.any()
    assert not warp.flipped.all()
    rows, columns = torch.arange(41.0), torch.arange(31.0)
    for found in (warp.images(images)[:, 0], (warp.masks(masks, (0, 1)) == 1).float()):
        mass = found.sum((1, 2))
        whole = v > 0
        centre = torch.stack([(found.sum(1) * columns).sum(1) / mass, (found.sum(2) * rows).sum(1) / mass])
        torch.testing.assert_close(centre[:, whole], torch.stack([x, y])[:, whole], atol=0.5, rtol=0)


def test_a_flip_alone_copies_pixels_and_swaps_names():
    warp = Warp.draw(20, (8, 4), PLAIN, torch.Generator().manual_seed(1))
    images = torch.rand(20, 3, 8, 4, generator=torch.Generator().manual_seed(2))
    expected = torch.where(warp.flipped[:, None, None, None], images.flip(3), images)
    assert torch.equal(warp.images(images), expected)
    masks = torch.zeros(20, 8, 4, dtype=torch.uint8)
    masks[:, :, 0], masks[:, :, 3] = 1, OUTSIDE
    moved = warp.masks(masks, (0, 2, 1))
    first = next(i for i in range(20) if warp.flipped[i])
    assert moved[first, 0].tolist() == [OUTSIDE, 0, 0, 2]
    assert moved[int((~warp.flipped).nonzero()[0]), 0].tolist() == [1, 0, 0, OUTSIDE]
    keypoints = torch.zeros(20, 17, 3)
    keypoints[:, 5] = torch.tensor([1.0, 2.0, 2.0])
    assert warp.keypoints(keypoints, COCO.flip)[first, 6].tolist() == [2.0, 2.0, 2.0]


def test_what_comes_from_outside_counts_as_nothing():
    warp = Warp(torch.eye(2)[None], torch.tensor([[2.0, 0.0]]), torch.tensor([False]), (4, 6), False)
    images = torch.ones(1, 3, 4, 6)
    torch.testing.assert_close(warp.images(images)[0, 0, 0], torch.tensor([0.0, 0, 1, 1, 1, 1]))
    masks = torch.zeros(1, 4, 6, dtype=torch.uint8)
    assert warp.masks(masks, (0,))[0, 0].tolist() == [OUTSIDE, OUTSIDE, 0, 0, 0, 0]
    assert warp.keypoints(torch.tensor([[[5.0, 1.0, 2.0]]]), (0,))[0, 0, 2] == 0


# ---------------------------------------------------------------- reid


def test_the_triplet_loss_takes_the_hardest():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(8, 5, generator=generator, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 2, 3])
    terms = []
    for i in range(8):
        distance = [float((features[i] - features[j]).detach().norm()) for j in range(8)]
        far = max(distance[j] for j in range(8) if labels[j] == labels[i])
        near = min(distance[j] for j in range(8) if labels[j] != labels[i])
        terms.append(np.log1p(np.exp(far - near)))
    loss = soft_triplet(features, labels)
    assert float(loss.detach()) == pytest.approx(np.mean(terms), rel=1e-5)
    loss.backward()
    assert torch.isfinite(features.grad).all()


def test_pk_batches_hold_so_many_of_each():
    labels = torch.tensor([0] * 5 + [1] * 2 + [2] * 7 + [3] * 4)
    batches = list(identity_batches(labels, 6, 3, 4, torch.Generator().manual_seed(0)))
    assert len(batches) == 4
    for batch in batches:
        _, counts = torch.unique(labels[batch], return_counts=True)
        assert counts.tolist() == [3, 3]
    seen = torch.cat([labels[batch] for batch in batches[:2]])
    assert set(seen.tolist()) == {0, 1, 2, 3}


def test_distractors_teach_nothing(people):
    test = people["test"]
    kept, labels, count = persons(test)
    assert (kept.identity >= 0).all()
    assert count == 8
    assert labels.unique().tolist() == list(range(8))
    with pytest.raises(TaskError, match="1 identities"):
        persons(test.subset(np.flatnonzero(test.identity == test.identity[0])))


@pytest.mark.parametrize(("module", "rests"), [("reid", True), ("attributes", False)])
def test_the_controller_behind_a_knob_rests_in_reid_alone(module, rests, people, encoder):
    knobbed = controlled(encoder, default_lambda=0.0)
    before = {name: tensor.clone() for name, tensor in knobbed.state_dict().items()}
    assert all(parameter.requires_grad for parameter in knobbed.knob_parameters())
    assert list(encoder.knob_parameters()) == []
    task = make(module)
    task.finetune(knobbed, people["train"], people["val"], knobs={"lambda": 0.2})
    after = task._learner.encoder.state_dict()
    changed = {name for name in before if not torch.equal(after[name], before[name])}
    assert any(name.startswith("backbone.") for name in changed)
    assert any(name.startswith("controller.") for name in changed) != rests
    assert all(parameter.requires_grad for parameter in knobbed.knob_parameters())


# ---------------------------------------------------------------- text


def test_sdm_is_the_divergence_from_the_matches():
    generator = torch.Generator().manual_seed(0)
    image, text = torch.randn(6, 4, generator=generator), torch.randn(6, 4, generator=generator)
    labels = torch.tensor([0, 0, 1, 2, 3, 3])
    cosine = F.normalize(image, dim=1) @ F.normalize(text, dim=1).T
    expected = 0.0
    for logits in (cosine / 0.02, cosine.T / 0.02):
        p = logits.softmax(dim=1)
        q = (labels[:, None] == labels).float()
        q = q / q.sum(dim=1, keepdim=True)
        expected += float((p * ((p + 1e-30).log() - (q + 1e-8).log())).sum(dim=1).mean())
    assert float(sdm(image, text, labels)) == pytest.approx(expected, rel=1e-4)


def test_the_losses_of_the_field_and_of_irra_can_be_chosen(people, encoder, monkeypatch):
    recipes = {name: read_recipe("text-reid", name) for name in ("field", "irra")}
    assert {name: recipe.loss for name, recipe in recipes.items()} == {"field": "cmpm", "irra": "sdm"}
    assert [lr_factor(step, 30, recipes["field"]) for step in (4, 19)] == [1.0, 1.0]
    assert lr_factor(20, 30, recipes["field"]) == pytest.approx(0.1)  # x.1 at 20 of 30, warm-up of 5
    assert lr_factor(0, 30, recipes["field"]) == pytest.approx(1 / 5)
    losses = {}
    for name, recipe in recipes.items():
        learner = learner_of(FineTuneTextReid(CONFIG), encoder, people["train"], recipe).eval()
        seen = learner.towers.images(learner.see(torch.zeros(4, 3, *SIZE)))
        told = learner.towers.texts([several[0] for several in learner.captions[:4]])
        batch = TrainingBatch(torch.zeros(4, 3, *SIZE), torch.arange(4), Warp.draw(4, SIZE, PLAIN, torch.Generator()))
        monkeypatch.setattr(learner, "captions", tuple((several[0],) for several in learner.captions))
        losses[name] = float(learner.loss(batch).detach())
        known = {"cmpm": cmpm, "sdm": sdm}[recipe.loss]
        assert losses[name] == pytest.approx(float(known(seen, told, learner.labels[:4]).detach()), rel=1e-5)
    assert losses["field"] != losses["irra"]


def test_a_text_tower_of_the_method_is_trained_on(people, encoder):
    words = sorted({word for several in people["train"].captions for text in several for word in text.lower().split()})
    torch.manual_seed(0)
    tower = TextTower(
        TextSpec(dim=16, layers=1, heads=2, mlp_dim=32, max_tokens=16), Tokenizer.from_words(words, max_tokens=16)
    )
    encoder.join_text(tower, ImageProjection(encoder.dim, tower.dim))
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    task = FineTuneTextReid(CONFIG)
    task.finetune(encoder, people["train"], people["val"])
    assert isinstance(task._learner.towers, OwnTowers)
    after = task._learner.encoder.state_dict()
    assert not torch.equal(after["image_projection.linear.weight"], before["image_projection.linear.weight"])
    assert any(not torch.equal(after[name], before[name]) for name in before if name.startswith("text.bert"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    scores = task.score(task.predict_images(UnlabelledImages.of(people["test"])), people["test"])
    assert scores.record["text_tower"] == "the method's own, trained on"


# ---------------------------------------------------------------- pose


@pytest.mark.parametrize("head", ["light", "deconv"])
def test_maps_at_their_target_read_back_the_joints(head, told, monkeypatch):
    """UDP coordinates survive drawing and reading, with the flip test, to a fraction of a cell of 4 pixels."""
    recipe = dataclasses.replace(PLAIN, head=head, flip_test=True)
    large = build_encoder(EncoderSpec("vit-mini8", 128, 64), seed=0)
    learner = learner_of(FineTunePose(CONFIG), large, told["train"].samples, recipe).eval()
    height, width = 4 * learner.cells[0], 4 * learner.cells[1]
    rng = np.random.default_rng(0)
    xy = np.stack([rng.uniform(16, 47, (3, 17)), rng.uniform(16, 111, (3, 17))], axis=2)
    cells = torch.from_numpy(xy / learner._pixels_per_cell().numpy()).float()
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    square = (x - cells[..., 0, None, None]) ** 2 + (y - cells[..., 1, None, None]) ** 2
    maps = torch.exp(-square / (2 * 2.0**2))
    order = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    turns = iter([maps, maps.flip(3)[:, order]])
    monkeypatch.setattr(PoseLearner, "_maps", lambda self, table, rows: next(turns))
    found = learner.predict(UnlabelledImages(images=np.zeros((3, 3, 128, 64), np.uint8)), 4)["keypoints"]
    assert np.abs(found - xy).max() < 1.0


def test_an_unknown_head_is_told_of(people, encoder):
    with pytest.raises(ConfigError, match="head is 'convolution'"):
        learner_of(FineTunePose(CONFIG), encoder, people["train"], dataclasses.replace(PLAIN, head="convolution"))


def test_the_head_of_the_field_is_tuned_and_read_with_the_flip_test(people, encoder, monkeypatch):
    recipe = dataclasses.replace(read_recipe("pose", "field"), epochs=1, lrs=(1e-3,), validations=1)
    monkeypatch.setattr(FineTunePose, "recipe", recipe)
    task = FineTunePose(CONFIG)
    task.finetune(encoder, people["train"], people["val"])
    scores = task.score(task.predict_images(UnlabelledImages.of(people["test"])), people["test"])
    assert scores.record["flip_test"] is True
    assert scores.record["decoder"].startswith("udp")


def learner_of(task, encoder, train, recipe):
    kept = task.usable(train)
    return type(task).learner(TrainingSetup(encoder, kept, recipe, torch.Generator().manual_seed(0)))


def encoder_of(learner):
    assert isinstance(learner, ReidLearner)
    return learner.encoder
