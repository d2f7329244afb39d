from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hcbench.data.augment import normalise
from hcbench.errors import ConfigError, MethodError
from hcbench.methods.base import Batch, Context, Step
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder
from hcbench.methods.parts.checkpoint import load_encoder, save_encoder
from hcbench.methods.parts.heads import Projector, project_per_view
from hcbench.methods.parts.losses import image_text_terms, multi_positive_contrastive, multi_positive_image_text
from hcbench.methods.simclr.card import CARD as SIMCLR_CARD
from hcbench.methods.simclr.method import SimCLR
from hcbench.methods.stablerep.card import Config, paper_lr
from hcbench.methods.stablerep.method import MOST_LOGIT_SCALE, StableRep, merge_equal_captions, view_major

SIZE = (32, 16)
STEP = Step(index=0, total=1, stage="pretrain", stage_index=0, stage_total=1, images_seen=0, epoch=0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make(kind=StableRep, members=3, **settings):
    torch.manual_seed(0)
    config = Config(**{"projector": (16, 8), **settings})
    encoder = build_encoder(EncoderSpec("vit-mini16", *SIZE), 0)
    context = Context(input_size=SIZE, images_per_group=members, vocabulary=("red", "blue", "green", "coat"))
    return kind(config, encoder, context)


TEXT = {"language": True, "text_dim": 16, "text_layers": 1, "text_heads": 2, "text_tokens": 8, "shared_dim": 12}
COATS = ("red coat",) * 3 + ("blue coat",) * 3 + ("red coat",) * 3 + ("green coat",) * 3


def batch(groups=4, members=3, captions=None):
    total = groups * members
    return Batch(
        images=torch.randint(0, 256, (total, 3, *SIZE), dtype=torch.uint8, generator=generator()),
        indices=torch.arange(100, 100 + total),
        group=torch.arange(groups).repeat_interleave(members) + 50,
        captions=captions,
    )


def test_view_k_is_the_kth_image_of_every_group():
    method = make(augmentation="none")
    source = batch()
    views = method.views(source, generator())
    images = normalise(source.images).view(4, 3, 3, *SIZE)
    for k in range(3):
        assert views["labels"][4 * k : 4 * k + 4].tolist() == [50, 51, 52, 53]
        torch.testing.assert_close(views["images"][4 * k : 4 * k + 4], images[:, k], atol=1e-5, rtol=0)


def test_labels_follow_the_features_and_a_swapped_order_would_show():
    method = make(augmentation="none")
    views = method.views(batch(), generator())
    (objective,) = method.objectives(views, STEP)
    swapped = {**views, "labels": views["labels"].view(3, 4).T.reshape(-1)}
    (wrong,) = method.objectives(swapped, STEP)
    assert abs(objective.loss.item() - wrong.loss.item()) > 1e-3
    z = method.project(method.encoder(views["images"]).pooled, 3)
    torch.testing.assert_close(objective.loss, multi_positive_contrastive(z, views["labels"]))


def test_projector_statistics_are_a_views_own():
    torch.manual_seed(0)
    projector = Projector(6, (8, 4)).train()
    features = torch.cat([torch.randn(5, 6), torch.randn(5, 6) * 3 + 2])
    own = project_per_view(projector, features, 2)
    assert not torch.allclose(own, projector(features), atol=1e-2)
    torch.testing.assert_close(own[5:], projector(features[5:]))
    equal = features[:5].repeat(2, 1)
    torch.testing.assert_close(project_per_view(projector, equal, 2), projector(equal), atol=1e-5, rtol=1e-5)


def test_batch_norm_option_changes_the_loss():
    per_view, over_all = make(bn="per_view"), make(bn="global")
    over_all.load_state_dict(per_view.state_dict())
    views = per_view.views(batch(), generator())
    numbers = [next(iter(m.objectives(views, STEP))).loss.item() for m in (per_view, over_all)]
    assert abs(numbers[0] - numbers[1]) > 1e-4


def test_projector_layers():
    kinds = [type(layer) for layer in Projector(6, (8, 7, 4))]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    paper = Config().projector
    assert paper == (4096, 4096, 256)
    assert Projector(6, (8, 4))[-1].bias is not None


def test_one_group_cannot_have_statistics_per_view():
    method = make()
    with pytest.raises(MethodError, match="two groups"):
        list(method.objectives(method.views(batch(1), generator()), STEP))


def test_equal_captions_are_positives_of_each_other():
    views = make().views(batch(captions=COATS), generator())
    first, second, third, fourth = views["labels"].view(3, 4)[0].tolist()
    assert first == third
    assert len({first, second, fourth}) == 3
    position = make(labels="position").views(batch(captions=COATS), generator())
    assert position["labels"].view(3, 4)[0].tolist() == [0, 1, 2, 3]
    (objective,) = make().objectives(views, STEP)
    assert objective.parts["equal_captions"] == 1


def test_groups_that_hold_several_captions_are_not_merged():
    group = torch.tensor([1, 1, 2, 2, 3, 3])
    labels = merge_equal_captions(group, ("a", "b", "a", "a", "a", "a")).tolist()
    assert labels[:2] == [1, 1]
    assert len(set(labels[2:])) == 1
    assert labels[2] < 0, "no id of a group"
    alone = merge_equal_captions(torch.tensor([9]), ("a",)).tolist()
    assert alone == labels[2:3], "another process finds the same label"
    assert merge_equal_captions(group, None) is group


def test_several_crops_multiply_the_views():
    method = make(num_crop=2, bn="global")
    views = method.views(batch(), generator())
    assert views["images"].shape[0] == 24
    assert torch.equal(views["labels"][:12], views["labels"][12:])
    assert not torch.equal(views["images"][:12], views["images"][12:])


def test_whole_groups_are_needed():
    with pytest.raises(MethodError, match="groups of 3"):
        make().views(dataclasses.replace(batch(), images=batch().images[:7]), generator())


def test_logged_numbers():
    method = make()
    (objective,) = method.objectives(method.views(batch(), generator()), STEP)
    parts = objective.parts
    assert float(parts["mp_above_floor"]) == pytest.approx(float(parts["mp_loss"]) - 0.693147, abs=1e-5)
    assert parts["mp_rows"] == 12
    assert float(parts["without_positive"]) == 0
    assert -1 <= float(parts["alignment"]) <= 1
    assert float(parts["uniformity"]) <= 0


def test_simclr_is_nt_xent_of_two_views_with_hidden_labels():
    method = make(SimCLR, members=3, **SIMCLR_CARD.defaults | {"projector": (16, 8)})
    views = method.views(batch(), generator())
    assert views["images"].shape[0] == 24
    assert views["labels"].tolist() == list(range(100, 112)) * 2
    (objective,) = method.objectives(views, STEP)
    z = F.normalize(method.project(method.encoder(views["images"]).pooled, 2), dim=1)
    logits = (z @ z.T / 0.1).fill_diagonal_(float("-inf"))
    expected = F.cross_entropy(logits, (torch.arange(24) + 12) % 24)
    torch.testing.assert_close(objective.loss, expected)
    hidden = dataclasses.replace(batch(), group=None)
    torch.testing.assert_close(method.views(hidden, generator())["images"], views["images"])


def test_view_major_is_its_own_inverse_the_other_way_round():
    order = view_major(12, 3)
    assert torch.equal(order.view(3, 4).T.reshape(-1), torch.arange(12))


def test_official_learning_rate():
    assert paper_lr(8256) == 3.225e-3


def test_config_errors():
    for setting in ({"bn": "sync"}, {"labels": "text"}, {"num_crop": 0}):
        with pytest.raises(ConfigError, match=next(iter(setting))):
            make(**setting)
    with pytest.raises(ConfigError, match="peeple"):
        make(augmentation="peeple")


def test_language_adds_the_image_text_loss_of_one_caption_per_group():
    method = make(**TEXT, augmentation="none")
    views = method.views(batch(captions=COATS), generator())
    tokenizer = method.encoder.text.tokenizer
    assert torch.equal(views["tokens"].ids, tokenizer(["red coat", "blue coat", "red coat", "green coat"]).ids)
    (objective,) = method.objectives(views, STEP)
    tower, projection = method.encoder.towers()
    features = method.encoder(views["images"])
    image, text = projection(features), tower(views["tokens"].ids, views["tokens"].mask)[1]
    labels = views["labels"]
    of_texts = labels[:4]
    both = multi_positive_image_text(image, text, labels, of_texts, logit_scale=1 / 0.07)
    first = objective.parts["mp_loss"]
    torch.testing.assert_close(objective.loss.detach(), (first + both).detach(), atol=1e-5, rtol=1e-5)
    terms = objective.parts["image_to_text_loss"] + objective.parts["text_to_image_loss"]
    torch.testing.assert_close(terms / 2, both.detach(), atol=1e-5, rtol=1e-5)
    assert float(objective.parts["logit_scale"]) == pytest.approx(1 / 0.07, rel=1e-5)
    (halved,) = make(**TEXT, augmentation="none", text_weight=0.5).objectives(views, STEP)
    torch.testing.assert_close(halved.loss.detach(), (first + both / 2).detach(), atol=1e-5, rtol=1e-5)


def test_texts_and_images_meet_behind_mlps_on_request(tmp_path):
    """Official `--vl_projection mlp`: the head's widths, and batch statistics of each view alone."""
    method = make(**TEXT, augmentation="none", text_proj="mlp")
    views = method.views(batch(captions=COATS), generator())
    (objective,) = method.objectives(views, STEP)
    tower, projection = method.encoder.towers()
    pooled = method.encoder(views["images"]).pooled
    image = torch.cat([projection.linear(view) for view in pooled.split(4)])
    text = tower(views["tokens"].ids, views["tokens"].mask)[1]
    both = multi_positive_image_text(image, text, views["labels"], views["labels"][:4], logit_scale=1 / 0.07)
    total = objective.parts["mp_loss"] + both
    torch.testing.assert_close(objective.loss.detach(), total.detach(), atol=1e-5, rtol=1e-5)
    assert [tuple(layer.weight.shape) for layer in projection.linear if isinstance(layer, nn.Linear)] == [
        (16, method.encoder.dim),
        (8, 16),
    ]
    save_encoder(method.encoder.eval(), tmp_path)
    loaded = load_encoder(tmp_path)
    images = views["images"][:2]
    torch.testing.assert_close(loaded.embed_image(images), method.encoder.embed_image(images))
    torch.testing.assert_close(loaded.embed_text(COATS[:1]), method.encoder.embed_text(COATS[:1]))

    alone = make(**TEXT, augmentation="none", text_proj="mlp", bn="global")
    with pytest.raises(MethodError, match="text_proj=linear"):
        next(alone.objectives(alone.views(batch(groups=1, captions=COATS[:3]), generator()), STEP))
    with pytest.raises(ConfigError, match="text_proj"):
        make(**TEXT, text_proj="cubic")


def test_image_text_targets_are_uniform_over_matches():
    """A slow reference: every row's target sums to 1 over the views of its caption, or the texts of its image."""
    torch.manual_seed(0)
    image, text = torch.randn(6, 4), torch.randn(3, 4)
    of_images, of_texts = torch.tensor([7, 8, 9, 7, 8, 9]), torch.tensor([7, 8, 9])
    logits = 5.0 * F.normalize(image, dim=1) @ F.normalize(text, dim=1).T
    target = (of_images[:, None] == of_texts[None, :]).float()
    one_hot, uniform = target / target.sum(dim=1, keepdim=True), target.T / target.T.sum(dim=1, keepdim=True)
    torch.testing.assert_close(uniform.sum(dim=1), torch.ones(3))
    assert set(uniform[0].tolist()) == {0.0, 0.5}
    expected = torch.stack([F.cross_entropy(logits, one_hot), F.cross_entropy(logits.T, uniform)])
    torch.testing.assert_close(image_text_terms(image, text, of_images, of_texts, logit_scale=5.0), expected)


def test_the_image_text_scale_is_held_in_its_range():
    method = make(**TEXT)
    for value, held in ((9.0, MOST_LOGIT_SCALE), (-1.0, 0.0), (2.0, 2.0)):
        method.logit_scale.data.fill_(value)
        method.after_step(STEP)
        assert float(method.logit_scale.detach()) == pytest.approx(held)
    plain = [group for spec in method.param_groups() for group in spec.groups if group.weight_decay_factor == 0]
    assert any(parameter is method.logit_scale for group in plain for parameter in group.params)


def test_language_learns_and_its_towers_are_the_encoders():
    method = make(**TEXT, augmentation="none")
    optimiser = torch.optim.AdamW(method.parameters(), 1e-3)
    source, losses = batch(captions=COATS), []
    for _ in range(20):
        (objective,) = method.objectives(method.views(source, generator()), STEP)
        optimiser.zero_grad()
        objective.loss.backward()
        assert all(p.grad is not None for p in method.parameters() if p.requires_grad)
        optimiser.step()
        method.after_step(STEP)
        losses.append(objective.loss.item())
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    assert method.encoder.embed_text(["a red coat"]).shape == (1, 12)
    assert method.encoder.image_projection.linear.bias is None


def test_without_language_nothing_is_added():
    plain, both = make(), make(**TEXT)
    assert plain.encoder.text is None
    assert not hasattr(plain, "logit_scale")
    for name, value in plain.state_dict().items():
        assert torch.equal(value, both.state_dict()[name])
    with pytest.raises(MethodError, match="captions"):
        both.views(batch(), generator())
