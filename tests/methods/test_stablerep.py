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
from hcbench.methods.parts.heads import Projector, project_per_view
from hcbench.methods.parts.losses import multi_positive_contrastive
from hcbench.methods.simclr.card import CARD as SIMCLR_CARD
from hcbench.methods.simclr.method import SimCLR
from hcbench.methods.stablerep.card import Config, paper_lr
from hcbench.methods.stablerep.method import StableRep, merge_equal_captions, view_major

SIZE = (32, 16)
STEP = Step(index=0, total=1, stage="pretrain", stage_index=0, stage_total=1, images_seen=0, epoch=0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make(kind=StableRep, members=3, **settings):
    torch.manual_seed(0)
    config = Config(**{"projector": (16, 8), **settings})
    encoder = build_encoder(EncoderSpec("vit-mini16", *SIZE), 0)
    return kind(config, encoder, Context(input_size=SIZE, images_per_group=members))


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
    same = ("red coat",) * 3 + ("blue coat",) * 3 + ("red coat",) * 3 + ("green coat",) * 3
    views = make().views(batch(captions=same), generator())
    assert views["labels"].view(3, 4)[0].tolist() == [50, 51, 50, 53]
    position = make(labels="position").views(batch(captions=same), generator())
    assert position["labels"].view(3, 4)[0].tolist() == [0, 1, 2, 3]
    (objective,) = make().objectives(views, STEP)
    assert objective.parts["equal_captions"] == 1


def test_groups_that_hold_several_captions_are_not_merged():
    group = torch.tensor([1, 1, 2, 2, 3, 3])
    assert merge_equal_captions(group, ("a", "b", "a", "a", "a", "a")).tolist() == [1, 1, 2, 2, 2, 2]
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
