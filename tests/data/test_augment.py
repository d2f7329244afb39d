from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from hcbench.data.augment import IMAGENET_MEAN, IMAGENET_STD, augment, normalise
from hcbench.data.augment_settings import AUGMENTATIONS, Augmentation, augmentation
from hcbench.data.samples import COCO_FLIP
from hcbench.data.skeletons import AIC
from hcbench.errors import ConfigError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(batch=6, height=32, width=16, seed=0):
    return torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=generator(seed))


def smooth(batch=6, height=32, width=16, seed=0):
    """Images without fine detail or extreme colours, so that resampling and clamping stay out of the way."""
    coarse = torch.rand(batch, 3, 4, 3, generator=generator(seed)) * 0.4 + 0.3
    return (F.interpolate(coarse, (height, width), mode="bicubic") * 255).clamp(0, 255).to(torch.uint8)


def to_colours(images):
    """Normalised images back to 0..1."""
    std, mean = (torch.tensor(v)[:, None, None] for v in (IMAGENET_STD, IMAGENET_MEAN))
    return images * std + mean


def run(images, seed=0, size=None, **settings):
    return augment(images, Augmentation(name="test", **settings), generator(seed), size=size).images


def test_normalise_is_imagenet():
    images = noise()
    std, mean = (torch.tensor(v)[:, None, None] for v in (IMAGENET_STD, IMAGENET_MEAN))
    torch.testing.assert_close(normalise(images), (images.float() / 255 - mean) / std)


def test_nothing_to_do_gives_normalised_images():
    images = noise()
    torch.testing.assert_close(run(images), normalise(images), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_presets_are_deterministic_finite_and_in_range(name):
    images = noise()
    first, again, other = (augment(images, augmentation(name), generator(s)).images for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert first.shape == images.shape
    assert first.dtype == torch.float32
    colours = to_colours(first)
    assert colours.min() >= -1e-5
    assert colours.max() <= 1 + 1e-5
    assert name == "none" or not torch.equal(first, other)


def test_unknown_preset_is_an_error_with_the_nearest_name():
    with pytest.raises(ConfigError, match="stron'") as error:
        augmentation("stron")
    assert "'strong'" in error.value.hint


def test_parameters_are_drawn_per_image():
    images = noise(1).expand(8, -1, -1, -1)
    for settings in (
        {"crop_scale": (0.3, 1.0)},
        {"jitter": 1.0, "brightness": 0.4},
        {"jitter": 1.0, "hue": 0.2},
        {"blur": 1.0},
        {"erase": 1.0},
    ):
        out = run(images, **settings)
        assert len({tuple(image.flatten().tolist()) for image in out}) == 8, settings


def test_flip_mirrors_all_or_none_at_its_probability():
    images = noise(400, 8, 4)
    flipped = run(images, flip=1.0)
    torch.testing.assert_close(flipped, normalise(images).flip(3), atol=1e-5, rtol=0)
    half = run(images, flip=0.5)
    mirrored = ((half - flipped).abs().amax(dim=(1, 2, 3)) < 1e-4).float().mean()
    assert 0.4 < mirrored < 0.6


def test_one_flip_per_group_wherever_its_images_stand():
    images = noise(1, 8, 4).expand(60, -1, -1, -1)
    groups = torch.arange(20).repeat(3)
    out = augment(images, Augmentation(name="test", flip=0.5), generator(), flip_groups=groups).images
    plain = normalise(images[:1])[0]
    flips = torch.tensor([not torch.allclose(image, plain, atol=1e-4) for image in out]).view(3, 20)
    assert (flips == flips[0]).all()
    assert 0 < flips[0].sum() < 20


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resizing_equals_torchs_anti_aliased_interpolation(interpolation):
    images = smooth(3, 64, 32)
    out = to_colours(run(images, size=(32, 16), interpolation=interpolation)) * 255
    expected = F.interpolate(images.float(), (32, 16), mode=interpolation, antialias=True, align_corners=False)
    torch.testing.assert_close(out, expected, atol=0.05, rtol=0)


def test_crop_shows_a_window_of_the_source():
    """On an image whose colour is its place, the corners of the output tell the window."""
    height, width = 64, 32
    y, x = torch.meshgrid(torch.arange(height) * 3.0, torch.arange(width) * 6.0, indexing="ij")
    image = torch.stack([y, x, torch.zeros_like(x)]).to(torch.uint8)[None].expand(200, -1, -1, -1)
    out = to_colours(run(image, crop_scale=(0.25, 0.5), crop_ratio=(0.8, 1.25))) * 255
    rows = (out[:, 0, -3, 16] - out[:, 0, 2, 16]) / 3 * height / (height - 5)
    columns = (out[:, 1, 32, -3] - out[:, 1, 32, 2]) / 6 * width / (width - 5)
    share = rows * columns / (height * width)
    assert 0.24 < share.min() < 0.28
    assert 0.46 < share.max() < 0.52
    ratio = columns / rows / (width / height)
    assert 0.77 < ratio.min() < 0.87
    assert 1.15 < ratio.max() < 1.29


def test_crops_that_cannot_fit_fall_back_to_the_centre():
    image = torch.zeros(4, 3, 16, 64, dtype=torch.uint8)
    image[..., 28:36] = 255
    out = to_colours(run(image, size=(32, 16), crop_scale=(0.9, 0.95)))
    # The widest window of ratio 2/3 in a 16-pixel-high image is 10.7 wide and centred on the white stripe.
    assert (out[:, :, 16, 8] > 0.99).all()
    assert (out[:, :, 16, 0] < 0.5).all()


def test_keypoints_follow_crop_and_flip():
    """A bright dot at a keypoint is found at the moved keypoint, and left and right change names."""
    batch, height, width = 40, 64, 32
    place = torch.stack(
        [
            torch.randint(6, 26, (batch,), generator=generator(1)),
            torch.randint(8, 56, (batch,), generator=generator(2)),
        ],
        1,
    )
    images = torch.zeros(batch, 3, height, width, dtype=torch.uint8)
    for image, (px, py) in zip(images, place.tolist(), strict=True):
        image[:, py - 1 : py + 2, px - 1 : px + 2] = 255
    keypoints = torch.zeros(batch, 17, 3)
    keypoints[:, 9, :2], keypoints[:, 9, 2] = place.float(), 2  # only the left wrist is known
    settings = Augmentation(name="test", crop_scale=(0.6, 1.0), flip=0.5)
    out = augment(images, settings, generator(3), size=(96, 48), keypoints=keypoints)
    names = out.keypoints[..., 2].nonzero()[:, 1]
    assert set(names.tolist()) == {9, COCO_FLIP[9]}
    ys, xs = torch.meshgrid(torch.arange(96.0), torch.arange(48.0), indexing="ij")
    seen = 0
    for image, points in zip(to_colours(out.images), out.keypoints, strict=True):
        known = points[points[:, 2] > 0]
        if len(known) == 0 or not (4 < known[0, 0] < 43 and 4 < known[0, 1] < 91):
            continue
        weight = image[0].clamp(min=0)
        centre = torch.stack([(weight * xs).sum(), (weight * ys).sum()]) / weight.sum()
        assert (centre - known[0, :2]).abs().max() < 0.1
        seen += 1
    assert seen > 20


def test_keypoints_outside_the_crop_are_dropped():
    keypoints = torch.zeros(50, 17, 3)
    keypoints[..., 2] = 2  # all in the top left corner
    settings = Augmentation(name="test", crop_scale=(0.2, 0.4))
    moved = augment(noise(50), settings, generator(), keypoints=keypoints).keypoints
    inside = (moved[:, 0, 0] >= -0.5) & (moved[:, 0, 1] >= -0.5)
    assert torch.equal(moved[:, 0, 2] > 0, inside)
    assert not inside.all()


def reference_jitter(colours, drawn):
    """Brightness, contrast and saturation one after the other, as torchvision defines them, without clamps."""
    kind, factor = drawn
    luma = torch.tensor([0.299, 0.587, 0.114])
    grey = (colours * luma[:, None, None]).sum(0)
    blend = {"brightness": torch.zeros_like(grey), "contrast": grey.mean().expand_as(grey), "saturation": grey}[kind]
    return factor * colours + (1 - factor) * blend


@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation"])
def test_colour_jitter_is_a_blend_with_black_mean_or_grey(kind):
    images = smooth(20)
    out = to_colours(run(images, jitter=1.0, **{kind: 0.2}))
    factors = []
    for source, result in zip(images.float() / 255, out, strict=True):
        plain, none = reference_jitter(source, (kind, 1.0)), reference_jitter(source, (kind, 0.0))
        change = plain - none  # the result is none + factor * change
        factor = ((result - none) * change).sum() / change.square().sum()
        torch.testing.assert_close(result, reference_jitter(source, (kind, factor)), atol=2e-3, rtol=0)
        factors.append(float(factor))
    assert 0.8 <= min(factors) < 0.9
    assert 1.1 < max(factors) <= 1.2


def test_hue_keeps_luma_and_grey_pixels():
    images = smooth(10)
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    out = to_colours(run(images, jitter=1.0, hue=0.1))
    assert ((out - images / 255) * luma).sum(1).abs().max() < 5e-3
    assert (out - images / 255).abs().max() > 0.01
    grey = images[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(run(grey, jitter=1.0, hue=0.5), normalise(grey), atol=1e-2, rtol=0)


def test_grey_removes_colour_from_the_share_it_names():
    out = to_colours(run(noise(300, 8, 4), grey=0.2))
    colourless = (out.amax(1) - out.amin(1)).amax(dim=(1, 2)) < 1e-4
    assert 0.13 < colourless.float().mean() < 0.27
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    images = noise(4)
    expected = (images / 255 * luma).sum(1)
    torch.testing.assert_close(to_colours(run(images, grey=1.0))[:, 1], expected, atol=1e-5, rtol=0)


def test_blur_is_a_gaussian():
    impulse = torch.zeros(1, 3, 33, 33, dtype=torch.uint8)
    impulse[..., 16, 16] = 255
    out = to_colours(run(impulse, blur=1.0, blur_sigma=(1.5, 1.5)))[0, 0]
    axis = torch.arange(-16, 17).float()
    kernel = torch.exp(-(axis**2) / (2 * 1.5**2))
    kernel = kernel / kernel.sum()
    torch.testing.assert_close(out, kernel[:, None] * kernel, atol=1e-5, rtol=0)
    flat = torch.full((1, 3, 16, 8), 100, dtype=torch.uint8)
    torch.testing.assert_close(run(flat, blur=1.0), normalise(flat), atol=1e-5, rtol=0)


def test_erasing_makes_one_rectangle_of_mean_colour():
    images = noise(100, 32, 16)
    out = run(images, erase=0.5, erase_area=(0.1, 0.3))
    changed = (out - normalise(images)).abs().amax(1) > 1e-4
    erased = changed.any(dim=2).any(dim=1)
    assert 0.35 < erased.float().mean() < 0.65
    for image, mask in zip(out[erased], changed[erased], strict=True):
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        box = (
            slice(None),
            slice(int(rows.min()), int(rows.max()) + 1),
            slice(int(columns.min()), int(columns.max()) + 1),
        )
        assert (image[box] == 0).all()
        assert 0.05 < mask.float().mean() < 0.4


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        augmentation("hap").flip = 1.0


def test_unknown_interpolation_is_an_error():
    with pytest.raises(ConfigError, match="nearest"):
        run(noise(), interpolation="nearest")


def test_downsampling_loses_detail_but_not_size_or_colour():
    """Every image comes from a half or a quarter of its pixels; the same draw without it differs in nothing else."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 3, 32, 16), dtype=torch.uint8, generator=generator)
    sharp = augment(images, Augmentation(name="sharp"), torch.Generator().manual_seed(1)).images
    soft = augment(images, Augmentation(name="soft", downsample=1.0), torch.Generator().manual_seed(1)).images
    expected = []
    for factor in (2, 4):
        small = F.interpolate(images.float(), (32 // factor, 16 // factor), mode="bilinear", antialias=True)
        large = F.interpolate(small, (32, 16), mode="bilinear")
        expected.append(torch.stack([normalise(x) for x in large]))
    errors = torch.stack([(soft - other).abs().flatten(1).amax(dim=1) for other in (*expected, sharp)])
    assert (errors[:2].amin(dim=0) < 1e-4).all(), "one of both reductions"
    assert (errors[:2] < 1e-4).any(dim=1).all(), "both occur"
    assert (errors[2] > 0.1).all()
    some = augment(images, Augmentation(name="some", downsample=0.3), torch.Generator().manual_seed(1)).images
    untouched = (some == sharp).flatten(1).all(dim=1)
    assert 0 < untouched.sum() < 40
    assert AUGMENTATIONS["strong-downsample"].downsample == 0.05


def test_sides_are_those_of_the_skeleton():
    """AI Challenger lists the right side first: joint 0 is the right shoulder, 3 the left one."""
    keypoints = torch.zeros(30, 14, 3)
    keypoints[:, 0] = torch.tensor([4.0, 5.0, 2.0])
    settings = Augmentation(name="flips", flip=0.5)
    moved = augment(noise(30), settings, generator(), keypoints=keypoints, mirrored=AIC.flip).keypoints
    names = moved[..., 2].nonzero()[:, 1]
    assert set(names.tolist()) == {0, 3}
    with pytest.raises(ConfigError, match="have 14 joints each, and mirror images of 17 are known"):
        augment(noise(30), settings, generator(), keypoints=keypoints)
