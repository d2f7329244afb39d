from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from hcbench.data.augment import IMAGENET_MEAN, IMAGENET_STD, augment, normalise
from hcbench.data.augment_settings import Augmentation, augmentation
from hcbench.errors import ConfigError
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder
from hcbench.methods.parts.ema import cosine_momentum, follow, frozen_copy
from hcbench.methods.parts.heads import DinoHead
from hcbench.methods.parts.multicrop import MULTICROPS, crop_views, half_size, multicrop


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(batch=3, height=32, width=16):
    return torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=generator())


@pytest.mark.parametrize("name", MULTICROPS)
def test_crops_come_crop_major_in_two_sizes(name):
    large, small = crop_views(noise(), multicrop(name), generator(), size=(32, 16), local_size=(16, 8), local_crops=4)
    assert large.shape == (6, 3, 32, 16)
    assert small.shape == (12, 3, 16, 8)
    assert len({tuple(crop.flatten().tolist()) for crop in small}) == 12
    again, _ = crop_views(noise(), multicrop(name), generator(), size=(32, 16), local_size=(16, 8), local_crops=4)
    assert torch.equal(large, again)


def test_rows_of_a_crop_are_the_images_in_order():
    plain = (augmentation("none"),) * 3
    large, small = crop_views(noise(), plain, generator(), size=(32, 16), local_size=(32, 16), local_crops=1)
    torch.testing.assert_close(large, normalise(noise()).repeat(2, 1, 1, 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(small, normalise(noise()), atol=1e-5, rtol=0)


def test_there_may_be_no_local_crops():
    _, small = crop_views(noise(), multicrop("people"), generator(), size=(32, 16), local_size=(16, 8), local_crops=0)
    assert small.shape == (0, 3, 16, 8)


def test_unknown_multicrop():
    with pytest.raises(ConfigError, match="peeple"):
        multicrop("peeple")


def test_official_crop_table():
    first, second, local = multicrop("dino")
    assert (first.blur, second.blur, local.blur) == (1.0, 0.1, 0.5)
    assert (first.solarise, second.solarise, local.solarise) == (0.0, 0.2, 0.0)
    assert first.crop_scale == second.crop_scale == (0.8, 1.0)
    assert local.crop_scale == (0.05, 0.8)
    # Widths of .4-.6 of the height, relative to the .5 of a 256x128 output.
    assert all(tuple(0.5 * r for r in preset.crop_ratio) == (0.4, 0.6) for preset in (first, second, local))
    assert all(preset.hue == preset.grey == 0 for preset in multicrop("people"))


def test_local_crops_are_whole_tokens():
    assert half_size((128, 64), (16, 16)) == (64, 32)
    assert half_size((96, 48), (16, 16)) == (48, 32)
    assert half_size((16, 16), (16, 16)) == (16, 16)


def test_solarising_inverts_bright_colours():
    std, mean = (torch.tensor(v)[:, None, None] for v in (IMAGENET_STD, IMAGENET_MEAN))
    out = augment(noise(), Augmentation(name="test", solarise=1.0), generator()).images
    source = noise().float()
    expected = torch.where(source >= 128, 255 - source, source) / 255
    torch.testing.assert_close(out * std + mean, expected, atol=1e-5, rtol=0)


def test_solarising_is_drawn_per_image():
    images = noise(1).expand(200, -1, -1, -1)
    out = augment(images, Augmentation(name="test", solarise=0.2), generator()).images
    changed = (out != normalise(images)[:1]).flatten(1).float().mean(dim=1) > 0.2
    assert 0.1 < changed.float().mean() < 0.3


def test_presets_without_solarising_keep_their_stream():
    """Its draw comes last, and not at all where it is not used."""
    first, second = generator(), generator()
    augment(noise(), Augmentation(name="test", solarise=0.5), first)
    augment(noise(), Augmentation(name="test"), second)
    assert not torch.equal(first.get_state(), second.get_state())
    plain = augment(noise(), Augmentation(name="test", flip=0.5), generator()).images
    both = augment(noise(), Augmentation(name="test", flip=0.5, solarise=1e-9), generator()).images
    assert torch.equal(plain, both)


def test_teacher_is_the_moving_average():
    torch.manual_seed(0)
    student = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    teacher = frozen_copy(student)
    assert not any(p.requires_grad for p in teacher.parameters())
    before = [p.clone() for p in teacher.parameters()]
    with torch.no_grad():
        for p in student.parameters():
            p += torch.randn_like(p)
    follow(teacher, student, 0.9)
    for old, now, target in zip(before, teacher.parameters(), student.parameters(), strict=True):
        torch.testing.assert_close(now, 0.9 * old + 0.1 * target)


def test_teacher_drops_no_paths_and_student_does():
    swin = build_encoder(EncoderSpec("swin-mini", 64, 32), 0).train()
    teacher = frozen_copy(swin)
    images = torch.randn(8, 3, 64, 32, generator=generator())
    with torch.no_grad():
        torch.testing.assert_close(teacher(images).pooled, teacher(images).pooled, atol=0, rtol=0)
        assert not torch.equal(swin(images).pooled, swin(images).pooled)


def test_momentum_ends_at_one():
    values = [cosine_momentum(0.996, k, 10) for k in range(11)]
    assert values[0] == pytest.approx(0.996)
    assert values[5] == pytest.approx(0.998)
    assert values[10] == 1
    assert values == sorted(values)


def test_dino_head_equals_a_weight_normalised_layer():
    torch.manual_seed(0)
    head = DinoHead(6, hidden=8, bottleneck=5, outputs=7)
    assert [type(m) for m in head.mlp] == [nn.Linear, nn.GELU, nn.Linear, nn.GELU, nn.Linear]
    official = weight_norm(nn.Linear(5, 7, bias=False))
    with torch.no_grad():
        official.parametrizations.weight.original0.fill_(1)
        official.parametrizations.weight.original1.copy_(head.prototypes.weight)
    x = torch.randn(9, 6)
    ours, theirs = head(x), official(F.normalize(head.mlp(x), dim=1))
    torch.testing.assert_close(ours, theirs)
    assert ours.abs().max() <= 1 + 1e-6
    weights = torch.randn_like(ours)
    (got,) = torch.autograd.grad((ours * weights).sum(), head.prototypes.weight)
    (expected,) = torch.autograd.grad((theirs * weights).sum(), official.parametrizations.weight.original1)
    torch.testing.assert_close(got, expected)


def test_batch_norm_shows_the_head_what_differs_between_images():
    torch.manual_seed(0)
    plain, normed = (DinoHead(6, hidden=64, bottleneck=16, outputs=32, norm=norm) for norm in (False, True))
    kinds = [type(m) for m in normed.mlp]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.GELU, nn.Linear, nn.BatchNorm1d, nn.GELU, nn.Linear]
    # Nearly the same vector 40 times, as a network with random weights gives for 40 images.
    x = torch.randn(6) + 0.05 * torch.randn(40, 6)
    used = [len(head(x).argmax(dim=1).unique()) for head in (plain, normed)]
    assert used[0] <= 4 < 10 < used[1]


def test_frozen_prototypes_get_no_gradient_but_pass_it_on():
    head = DinoHead(6, hidden=8, bottleneck=5, outputs=7)
    x = torch.randn(9, 6)
    assert torch.equal(head(x), head(x, frozen=True))
    head(x, frozen=True).square().sum().backward()
    assert head.prototypes.weight.grad is None
    assert head.mlp[0].weight.grad.abs().sum() > 0
