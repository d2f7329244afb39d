from __future__ import annotations

import dataclasses

import pytest
import torch

from hcbench.errors import ConfigError, MethodError
from hcbench.methods.base import Batch, Context, Step
from hcbench.methods.genpoccl.card import CARD, Config, paper_lr
from hcbench.methods.genpoccl.method import GenPoCCL
from hcbench.methods.genpoccl.networks import Decoder, normalised_patches, patchify, reconstruction
from hcbench.methods.hap.card import CARD as HAP_CARD
from hcbench.methods.hap.method import HAP
from hcbench.methods.mae.card import CARD as MAE_CARD
from hcbench.methods.mae.method import MAE
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder
from hcbench.methods.parts.losses import instance_alignment, multi_positive_contrastive
from hcbench.methods.parts.masking import Mask, mask_lowest, random_scores

SIZE, GROUPS, MEMBERS = (64, 32), 4, 3
SMALL = {"decoder_dim": 32, "decoder_depth": 1, "decoder_heads": 4, "projector": (16, 8)}
STEP = Step(index=0, total=1, stage="pretrain", stage_index=0, stage_total=1, images_seen=0, epoch=0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(groups=GROUPS, members=MEMBERS, seed=0):
    g = generator(seed)
    total = groups * members
    keypoints = torch.rand(groups, 17, 3, generator=g) * torch.tensor([SIZE[1] - 1.0, SIZE[0] - 1.0, 0.0])
    keypoints[..., 2] = 2
    return Batch(
        images=torch.randint(0, 256, (total, 3, *SIZE), dtype=torch.uint8, generator=g),
        indices=torch.arange(total),
        group=torch.arange(groups).repeat_interleave(members) + 7,
        keypoints=keypoints.repeat_interleave(members, dim=0),
    )


def make(kind=GenPoCCL, backbone="vit-mini8", seed=0, **settings):
    config = Config(**{**SMALL, **settings})
    torch.manual_seed(seed)
    encoder = build_encoder(EncoderSpec(backbone, *SIZE, kind.extra_tokens(config)), seed)
    return kind(config, encoder, Context(input_size=SIZE, images_per_group=MEMBERS))


def losses(method, views):
    (objective,) = method.objectives(views, STEP)
    return objective


def test_loss_is_the_weighted_sum_of_its_parts():
    method = make(gamma_align=0.3, gamma_mp=0.7)
    out = losses(method, method.views(batch(), generator()))
    parts = out.parts
    assert float(out.loss.detach()) == pytest.approx(
        float(parts["rec_loss"] + 0.3 * parts["align_loss"] + 0.7 * parts["mp_loss"]), rel=1e-5
    )
    assert float(parts["mask_ratio"]) == 0.5
    assert float(parts["mp_above_floor"]) == pytest.approx(float(parts["mp_loss"]) - 0.693147, abs=1e-5)
    assert 0 <= parts["part_masked"] <= 1


def test_contrast_works_on_the_tokens_it_names():
    """Each loss, recomputed from the encoder's own tokens."""
    method = make()
    views = method.views(batch(), generator())
    out = losses(method, views)
    tokens = [method.encoder.encode_visible(views["images"], mask.keep) for mask in views["masks"]]
    align = instance_alignment(tokens[0][:, 0], tokens[1][:, 0], temperature=0.2)
    pose = torch.stack([multi_positive_contrastive(t[:, 1], views["labels"], temperature=0.1) for t in tokens]).mean()
    torch.testing.assert_close(out.parts["align_loss"], align.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out.parts["mp_loss"], pose.detach(), rtol=1e-4, atol=1e-5)


def slow_reconstruction(method, views):
    """A plain masked auto-encoder, image by image and patch by patch (He et al., models_mae.py in words)."""
    size = method.encoder.patch_size
    columns = SIZE[1] // size[1]
    terms = []
    for mask in views["masks"]:
        errors = []
        for i, image in enumerate(views["images"]):
            keep = mask.keep[i : i + 1]
            tokens = method.encoder.encode_visible(image[None], keep)
            one = Mask(keep, mask.hidden[i : i + 1])
            predicted = method.decoder(tokens, one)[0]
            for patch in one.hidden[0].nonzero()[:, 0].tolist():
                row, column = divmod(patch, columns)
                pixels = image[:, row * size[0] : (row + 1) * size[0], column * size[1] : (column + 1) * size[1]]
                target = pixels.permute(1, 2, 0).reshape(-1)
                target = (target - target.mean()) / (target.var(unbiased=True) + 1e-6) ** 0.5
                errors.append((predicted[patch] - target).square().mean())
        terms.append(torch.stack(errors).mean())
    return torch.stack(terms).mean()


@pytest.mark.parametrize(("kind", "card"), [(GenPoCCL, CARD), (MAE, MAE_CARD)])
def test_reconstruction_equals_a_plain_slow_mae(kind, card):
    method = make(kind, **card.defaults)
    views = method.views(batch(2, 2), generator())
    torch.testing.assert_close(
        losses(method, views).parts["rec_loss"], slow_reconstruction(method, views).detach(), rtol=1e-4, atol=1e-5
    )


def test_without_pose_it_is_hap_on_the_same_masks():
    """gamma_mp = 0 drops the token and leaves HAP's loss; the same weights and masks give the same number."""
    hap = make(HAP, **HAP_CARD.defaults)
    views = hap.views(batch(), generator())
    out = losses(hap, views)
    assert hap.encoder.spec.extra_tokens == ()
    assert "mp_loss" not in out.parts
    tokens = [hap.encoder.encode_visible(views["images"], mask.keep) for mask in views["masks"]]
    expected = slow_reconstruction(hap, views) + 0.05 * instance_alignment(tokens[0][:, 0], tokens[1][:, 0])
    torch.testing.assert_close(out.loss, expected, rtol=1e-4, atol=1e-5)
    plain = make(GenPoCCL, gamma_mp=0.0)
    torch.testing.assert_close(losses(plain, views).loss, out.loss)


def test_mae_has_no_contrast_and_one_mask():
    method = make(MAE, **MAE_CARD.defaults)
    blind = dataclasses.replace(batch(), group=None, keypoints=None)
    views = method.views(blind, generator())
    out = losses(method, views)
    assert len(views["masks"]) == 1
    assert set(out.parts) == {"rec_loss", "mask_ratio", "cls_variance", "cls_norm"}
    assert float(out.parts["mask_ratio"]) == 0.75
    torch.testing.assert_close(out.loss.detach(), out.parts["rec_loss"])


@pytest.mark.parametrize(("setting", "token"), [("gamma_align", 0), ("gamma_mp", 1)])
def test_each_contrast_reaches_its_own_token_alone(setting, token):
    """With the encoder's output cut off, the gradient of one loss arrives at one token only."""
    method = make(gamma_align=0.0, gamma_mp=0.05) if setting == "gamma_mp" else make()
    kept = []
    original = method.encoder.encode_visible

    def cut(images, keep):
        kept.append(original(images, keep).detach().requires_grad_())
        return kept[-1]

    method.encoder.encode_visible = cut
    views = method.views(batch(), generator())
    tokens = method._encode(views["images"], views["masks"])
    if setting == "gamma_mp":
        loss, _ = method._pose_loss(tokens, views["labels"])
    else:
        loss = instance_alignment(tokens[0][:, 0], tokens[1][:, 0])
    loss.backward()
    touched = kept[0].grad.abs().sum(dim=(0, 2)).nonzero()[:, 0].tolist()
    assert touched == [token]


def test_no_gamma_no_instance_contrast():
    method = make(gamma_align=0.0)
    assert "align_loss" not in losses(method, method.views(batch(), generator())).parts


def test_joint_views_have_more_positives():
    method = make(mp_views="joint")
    out = losses(method, method.views(batch(), generator()))
    assert out.parts["mp_rows"] == 2 * GROUPS * MEMBERS
    floor = torch.log(torch.tensor(2.0 * MEMBERS - 1))
    assert float(out.parts["mp_loss"] - out.parts["mp_above_floor"]) == pytest.approx(float(floor), abs=1e-5)


def test_pose_projection_is_used_and_trained():
    method = make(pose_proj="mlp", gamma_mp=1.0)
    losses(method, method.views(batch(), generator())).loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in method.pose_projector[-1].parameters())
    assert not list(make().pose_projector.parameters())


def test_positives_are_groups_not_positions():
    method = make()
    views = method.views(batch(), generator())
    assert views["labels"].tolist() == [7, 7, 7, 8, 8, 8, 9, 9, 9, 10, 10, 10]
    renamed = {**views, "labels": torch.arange(GROUPS * MEMBERS) % GROUPS}
    assert losses(method, views).loss.item() != losses(method, renamed).loss.item()


def test_one_flip_per_pose_group():
    """With crops and colours off, the images of a group are all mirrored or none is."""
    method = make(augmentation="none")
    method.augmentation = dataclasses.replace(method.augmentation, flip=0.5)
    source = batch(12, 3)
    plain = dataclasses.replace(method.augmentation, flip=0.0)
    flipped = method.views(source, generator())["images"]
    method.augmentation = plain
    upright = method.views(source, generator())["images"]
    mirrored = torch.tensor([not torch.allclose(a, b, atol=1e-4) for a, b in zip(flipped, upright, strict=True)])
    per_group = mirrored.view(12, 3)
    assert (per_group == per_group[:, :1]).all()
    assert 0 < per_group[:, 0].sum() < 12


def test_masks_follow_the_flipped_keypoints():
    """A body in the left half; mirrored, the part patches that are hidden lie in the right half."""
    method = make(augmentation="none")
    method.augmentation = dataclasses.replace(method.augmentation, flip=1.0)
    source = batch(200, 1)
    source.keypoints[..., 0] /= 3
    members = []
    original = method._mask
    method._mask = lambda b, m, g: (members.append(m), original(b, m, g))[1]
    method.views(source, generator())
    columns = members[0].any(dim=1).view(-1, 8, 4).any(dim=1)
    assert columns[:, 3].any()
    assert not columns[:, :2].any()


def test_patchify_order_is_row_column_channel():
    images = torch.arange(2 * 3 * 4 * 6).view(2, 3, 4, 6).float()
    patches = patchify(images, (2, 3))
    assert patches.shape == (2, 4, 18)
    expected = [float(images[1, c, 2 + r, 3 + k]) for r in range(2) for k in range(3) for c in range(3)]
    assert patches[1, 3].tolist() == expected
    target = normalised_patches(torch.rand(2, 3, 4, 6, generator=generator()), (2, 3))
    torch.testing.assert_close(target.mean(dim=2), torch.zeros(2, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(target.var(dim=2), torch.ones(2, 4), atol=1e-3, rtol=0)


def test_only_hidden_patches_count():
    predicted, target = torch.zeros(1, 4, 5), torch.ones(1, 4, 5)
    target[0, 1] = 3.0
    hidden = torch.tensor([[False, True, False, True]])
    assert float(reconstruction(predicted, target, hidden)) == (9 + 1) / 2


def test_decoder_puts_tokens_back_in_their_places():
    torch.manual_seed(0)
    decoder = Decoder(8, 2, (4, 2), (2, 2), dim=16, depth=1, heads=2)
    norms = [module.eps for module in decoder.modules() if isinstance(module, torch.nn.LayerNorm)]
    assert norms == [1e-6] * 3, "MAE's and HAP's"
    mask = mask_lowest(random_scores(3, 8, generator()), 0.5)
    tokens = torch.randn(3, 2 + 4, 8, generator=generator())
    order = torch.tensor([2, 0, 3, 1])
    shuffled = Mask(mask.keep[:, order], mask.hidden)
    again = torch.cat([tokens[:, :2], tokens[:, 2:][:, order]], dim=1)
    torch.testing.assert_close(decoder(tokens, mask), decoder(again, shuffled), atol=1e-5, rtol=1e-4)


def test_errors():
    resnet = build_encoder(EncoderSpec("resnet18", *SIZE), 0)
    with pytest.raises(MethodError, match="leave out"):
        GenPoCCL(Config(**SMALL, gamma_mp=0.0), resnet, Context(input_size=SIZE))
    with pytest.raises(MethodError, match="'pose'"):
        GenPoCCL(Config(**SMALL), build_encoder(EncoderSpec("vit-mini8", *SIZE), 0), Context(input_size=SIZE))
    with pytest.raises(MethodError, match="keypoints"):
        make().views(dataclasses.replace(batch(), keypoints=None), generator())
    for setting in ({"mask": "parts"}, {"pose_proj": "bn"}, {"mp_views": "all"}, {"part_count": "six"}):
        with pytest.raises(ConfigError, match=next(iter(setting))):
            make(**setting)
    for setting in ({"mask_ratio": 1.0}, {"num_masks": 1}):
        with pytest.raises(ConfigError, match=next(iter(setting))):
            make(**setting)
    with pytest.raises(ConfigError, match="heads"):
        make(decoder_heads=5)


def test_official_learning_rate():
    assert paper_lr(4096) == 2.4e-3


@pytest.mark.parametrize("card", [CARD, HAP_CARD])
def test_keypoints_are_needed_where_masks_hide_parts(card):
    assert "keypoints" in card.required(dataclasses.asdict(Config()))
    for mask in ("block", "random"):
        assert "keypoints" not in card.required(dataclasses.asdict(Config(mask=mask)))
