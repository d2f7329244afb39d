"""What every method promises the loop, over every folder that has a card."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path

import pytest
import torch

import hcbench.methods
from hcbench.data.samples import Phrase
from hcbench.methods.base import Batch, Context, Step
from hcbench.methods.card import SUPERVISION
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder

SIZE, MEMBERS = (32, 16), 3
FOLDERS = sorted(path.parent.name for path in Path(hcbench.methods.__file__).parent.glob("*/card.py"))
CARDS = {folder: importlib.import_module(f"hcbench.methods.{folder}.card").CARD for folder in FOLDERS}
TRAINED = [folder for folder, card in CARDS.items() if card.trains]
# Small heads, so that twenty steps take seconds; every setting that names a width is a Config field.
SMALL = {
    "projector": (32, 16),
    "decoder_dim": 32,
    "decoder_depth": 1,
    "decoder_heads": 4,
    "text_dim": 32,
    "text_layers": 1,
    "tic_dim": 16,
    "head_hidden": 32,
    "head_bottleneck": 16,
    "head_outputs": 64,
    "local_crops": 2,
    "center_momentum": 0.5,
    "dim": 2,
    "n_res": 2,
    "mlp_dim": 8,
    "dis_dim": 4,
    "dis_res": 1,
    "gan_height": 16,
    "gan_width": 8,
}


def generator(seed):
    return torch.Generator().manual_seed(seed)


def corpus(groups=8, members=MEMBERS):
    """Groups of noisy copies of one colour pattern each, with a skeleton per group."""
    g = generator(0)
    height, width = SIZE
    coarse = torch.rand(groups, 3, 4, 2, generator=g).repeat_interleave(members, dim=0)
    clean = torch.nn.functional.interpolate(coarse, SIZE, mode="bilinear")
    noise = 0.1 * torch.randn(clean.shape, generator=g)
    keypoints = torch.rand(groups, 17, 3, generator=g) * torch.tensor([width - 1.0, height - 1.0, 0.0])
    keypoints[..., 2] = 2
    joints = keypoints + 8 * torch.rand(groups, 17, 1, generator=g) * torch.tensor([0.0, 0.0, 1.0])
    total = groups * members
    group = torch.arange(groups).repeat_interleave(members)
    return Batch(
        images=((clean + noise).clamp(0, 1) * 255).to(torch.uint8),
        indices=torch.arange(total),
        group=group,
        identity=group,
        camera=torch.arange(total) % members,
        pose_id=group,
        keypoints=keypoints.repeat_interleave(members, dim=0),
        joints=joints.repeat_interleave(members, dim=0),
        attributes=(torch.rand(groups, 4, generator=g) < 0.5).to(torch.int8).repeat_interleave(members, dim=0),
        captions=tuple(f"person number {i} in a coat" for i in group.tolist()),
        phrases=((Phrase("gender", 0, 15), Phrase("upper", 19, 25)),) * total,
    )


def build(folder, seed=0):
    card = CARDS[folder]
    module, _, name = card.implementation.partition(":")
    kind = getattr(importlib.import_module(module), name)
    names = {field.name for field in dataclasses.fields(card.config)}
    config = card.config(**{**card.defaults, **{key: value for key, value in SMALL.items() if key in names}})
    torch.manual_seed(seed)
    context = Context(
        input_size=SIZE,
        vocabulary=tuple(["person", "number", "in", "a", "coat"]) + tuple(str(i) for i in range(8)),
        num_images=24,
        num_groups=8,
        images_per_group=MEMBERS if card.sampling == "groups" else 1,
        identities=tuple(range(8)),
        positive_shares=(0.5, 0.5, 0.25, 0.1),
    )
    return kind(config, build_encoder(EncoderSpec("vit-mini8", *SIZE, kind.extra_tokens(config)), seed), context)


def step(index, total=20):
    return Step(
        index=index,
        total=total,
        stage="pretrain",
        stage_index=index,
        stage_total=total,
        images_seen=24 * index,
        epoch=0,
    )


def train(method, steps, batch=None, first=0):
    """A bare loop: AdamW over each named optimiser; gives the losses by optimiser."""
    batch = batch or corpus()
    optimisers = {
        spec.name: torch.optim.AdamW(
            [
                {
                    "params": list(group.params),
                    "lr": 1e-3 * group.lr_factor,
                    "weight_decay": 0.05 * group.weight_decay_factor,
                }
                for group in spec.groups
            ],
            betas=spec.betas or (0.9, 0.95),
        )
        for spec in method.param_groups()
    }
    method.train()
    history = []
    for index in range(first, first + steps):
        views = method.views(batch, generator(index))
        numbers = {}
        for objective in method.objectives(views, step(index)):
            optimisers[objective.optimiser].zero_grad()
            objective.loss.backward()
            optimisers[objective.optimiser].step()
            numbers[objective.optimiser] = objective.loss.item()
        method.after_step(step(index))
        history.append(numbers)
    return history


@pytest.mark.parametrize("folder", FOLDERS)
def test_card_is_complete(folder):
    card = CARDS[folder]
    assert card.name.replace("-", "_") == folder
    assert card.supervision in SUPERVISION
    assert card.layout in ("captions", "poses", "identities")
    assert card.sampling in ("groups", "images")
    assert card.summary.endswith(".")
    assert "images" in card.needs
    known = {field.name for field in dataclasses.fields(card.config)}
    assert set(card.defaults) <= known
    assert card.config.__dataclass_params__.frozen
    if card.trains:
        assert card.paper
        assert card.year
        assert {"lr", "weight_decay", "augmentation"} <= known
        assert card.config().lr is None


@pytest.mark.parametrize("folder", TRAINED)
def test_losses_are_finite_scalars_and_reach_the_backbone(folder):
    method = build(folder)
    names = {spec.name for spec in method.param_groups()}
    for objective in method.objectives(method.views(corpus(), generator(0)), step(0)):
        assert objective.optimiser in names
        assert objective.loss.ndim == 0
        assert torch.isfinite(objective.loss)
        assert all(torch.isfinite(torch.as_tensor(value)).all() for value in objective.parts.values())
        assert all(not torch.as_tensor(value).requires_grad for value in objective.parts.values())
        objective.loss.backward()
    # Where a teacher is what is saved, the optimiser trains its student.
    trained = getattr(method, "student", method.encoder)
    missing = [name for name, p in trained.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []
    assert trained.backbone.patch_embed.proj.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("folder", TRAINED)
def test_optimisers_hold_every_trainable_parameter_once(folder):
    method = build(folder)
    held = [id(p) for spec in method.param_groups() for group in spec.groups for p in group.params]
    assert len(held) == len(set(held))
    trainable = {id(p) for p in method.parameters() if p.requires_grad}
    assert set(held) <= trainable
    assert {id(p) for p in method.encoder.parameters() if p.requires_grad} <= set(held)


@pytest.mark.parametrize("folder", TRAINED)
def test_stages_share_the_whole_run(folder):
    stages = build(folder).stages()
    assert sum(stage.share for stage in stages) == pytest.approx(1)
    assert len({stage.name for stage in stages}) == len(stages)


@pytest.mark.parametrize("folder", TRAINED)
def test_loss_falls_in_twenty_steps(folder):
    method = build(folder)
    history = train(method, 20)
    name = next(iter(history[0]))
    # A teacher's centre starts at 0; until it has settled, targets and loss move with it.
    losses = [numbers[name] for numbers in history][3 if hasattr(method, "center") else 0 :]
    assert sum(losses[-4:]) / 4 < 0.97 * sum(losses[:2]) / 2


@pytest.mark.parametrize("folder", TRAINED)
def test_same_seed_same_numbers(folder):
    assert train(build(folder), 3) == train(build(folder), 3)


@pytest.mark.parametrize("folder", TRAINED)
def test_views_draw_from_their_generator_alone(folder):
    method = build(folder)
    torch.manual_seed(1)
    first = method.views(corpus(), generator(5))["images"]
    torch.manual_seed(2)
    again, other = (method.views(corpus(), generator(seed))["images"] for seed in (5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("folder", TRAINED)
def test_state_round_trip(folder):
    method = build(folder)
    train(method, 2)
    other = build(folder, seed=1)
    other.load_state_dict(method.state_dict())
    views = method.views(corpus(), generator(9))
    pairs = zip(method.objectives(views, step(2)), other.objectives(views, step(2)), strict=True)
    for first, second in pairs:
        assert torch.equal(first.loss, second.loss)


@pytest.mark.parametrize("folder", TRAINED)
def test_odd_batches_work(folder):
    """A batch of five groups; sizes are not powers of two and not those of the first batch."""
    method = build(folder)
    train(method, 1)
    (numbers,) = train(method, 1, batch=corpus(groups=5), first=1)
    assert all(torch.isfinite(torch.tensor(value)) for value in numbers.values())


@pytest.mark.parametrize("folder", TRAINED)
def test_only_declared_fields_are_used(folder):
    """Hiding everything that the card does not need changes nothing."""
    optional = ("group", "identity", "camera", "pose_id", "keypoints", "joints", "attributes", "captions", "phrases")
    hidden = dataclasses.replace(corpus(), **{name: None for name in optional if name not in CARDS[folder].needs})
    assert train(build(folder), 1, batch=hidden)
