"""Batched augmentation on uint8 tensors, with parameters drawn per image.

A batch passes through a few linear maps and one clamp, instead of one call per image and operation:

1. crop, resize (anti-aliased), flip and Gaussian blur are separable and linear, so they become one row and
   one column matrix per image;
2. brightness, contrast, saturation, hue, grey and the normalisation are affine in RGB, so they become one
   3x4 matrix per image, composed in a random order per image;
3. solarising inverts bright pixels, erasing sets one rectangle to the mean colour.

Two things differ from a chain of 8-bit operations: colours are clamped once, at the end, and hue turns
around the grey axis of YIQ instead of HSV. The blur of colour-jittered pixels equals the jitter of blurred
pixels but for that clamp. Shapes: B images, H x W source, h x w output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from hcbench.data.augment_settings import Augmentation
from hcbench.data.samples import COCO_FLIP
from hcbench.errors import ConfigError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_LUMA = (0.299, 0.587, 0.114)
_CROP_TRIES = 10
_PIECE = 32
_RADIUS = {"bilinear": 1, "bicubic": 2}


@dataclass(frozen=True, slots=True)
class Augmented:
    """Augmented images, float32 (B, 3, h, w), normalised; keypoints (B, K, 3) in their pixels, or None."""

    images: Tensor
    keypoints: Tensor | None = None


def normalise(images: Tensor) -> Tensor:
    """Turn uint8 images (..., 3, H, W) into float32 with ImageNet mean and standard deviation."""
    scale, shift = _normalisation(images.device)
    return images.float().mul_(scale[:, None, None] / 255).add_(shift[:, None, None])


def without_colour(images: Tensor) -> Tensor:
    """The luminance of normalised images (B, 3, H, W), as three equal channels that are normalised again."""
    scale, shift = (x[:, None, None] for x in _normalisation(images.device))
    luma = torch.tensor(_LUMA, device=images.device)[:, None, None]
    return ((images - shift) / scale * luma).sum(dim=1, keepdim=True) * scale + shift


def augment(
    images: Tensor,
    settings: Augmentation,
    generator: torch.Generator,
    *,
    size: tuple[int, int] | None = None,
    keypoints: Tensor | None = None,
    flip_groups: Tensor | None = None,
    mirrored: Sequence[int] = COCO_FLIP,
) -> Augmented:
    """Augment and normalise a batch; every image has parameters of its own.

    Args:
        images: uint8 (B, 3, H, W), RGB.
        settings: What to do.
        generator: A CPU generator; the only source of randomness, whatever the device of the images.
        size: Output height and width; None keeps the source's.
        keypoints: float (B, K, 3) in source pixels (centres at integers). They follow crop and flip (left and right
            change names); those that leave the image get v = 0.
        flip_groups: int64 (B,); images with equal numbers share one draw of the flip.
        mirrored: The mirrored joint of each of the K (`Skeleton.flip`).

    Raises:
        ConfigError: There are more or fewer joints than names.
    """
    source = (images.shape[2], images.shape[3])
    parameters = _draw(len(images), source, size or source, settings, generator, flip_groups)
    # On a CPU small pieces stay in the cache, and their buffers are used again instead of mapped anew.
    piece = _PIECE if images.device.type == "cpu" else max(1, len(images))
    out = torch.empty(len(images), 3, *(size or source), device=images.device)
    for start in range(0, len(images), piece):
        chosen = slice(start, start + piece)
        _render(images[chosen], parameters.pick(chosen), settings.interpolation, out[chosen])
    moved = (
        None
        if keypoints is None
        else _move_keypoints(keypoints, parameters.boxes, parameters.flips, size or source, mirrored)
    )
    return Augmented(out, moved)


@dataclass(frozen=True, slots=True)
class _Parameters:
    """Parameters of B images, all on the CPU.

    Attributes:
        boxes: (B, 4), crop windows: top, left, height, width in source pixels.
        flips: bool (B,).
        sigma: (B,), blur; 0 = none.
        factors: (B, 3), brightness, contrast, saturation.
        angle: (B,), hue.
        order: int64 (B, 4), order of brightness, contrast, saturation and hue.
        grey: bool (B,).
        erased: int64 (B, 4), rectangle: top, left, height, width in output pixels; height 0 = none.
        solarised: bool (B,).
        reduction: int64 (B,), by how much the source is reduced first; 1 = not.
    """

    boxes: Tensor
    flips: Tensor
    sigma: Tensor
    factors: Tensor
    angle: Tensor
    order: Tensor
    grey: Tensor
    erased: Tensor
    solarised: Tensor
    reduction: Tensor

    def pick(self, chosen: slice) -> _Parameters:
        """The parameters of some of the images."""
        return _Parameters(*(getattr(self, f.name)[chosen] for f in fields(self)))


def _draw(
    batch: int,
    source: tuple[int, int],
    output: tuple[int, int],
    settings: Augmentation,
    generator: torch.Generator,
    flip_groups: Tensor | None,
) -> _Parameters:
    """Draw every parameter of every image, used or not, so that no setting moves the draws of another."""
    boxes = _draw_crops(batch, source, output, settings, generator)
    flips = _draw_flips(batch, settings.flip, generator, flip_groups)
    blurred = torch.rand(batch, generator=generator) < settings.blur
    sigma = blurred * _uniform(generator, batch, low=settings.blur_sigma[0], high=settings.blur_sigma[1])
    jittered = (torch.rand(batch, generator=generator) < settings.jitter).float()
    strength = torch.tensor([settings.brightness, settings.contrast, settings.saturation])
    factors = 1 + jittered[:, None] * strength * _uniform(generator, batch, 3, low=-1.0)
    angle = jittered * (2 * math.pi * settings.hue) * _uniform(generator, batch, low=-1.0)
    order = torch.rand(batch, 4, generator=generator).argsort(dim=1)
    grey = torch.rand(batch, generator=generator) < settings.grey
    erased = _draw_erasing(batch, output, settings, generator)
    # Drawn last and only where it is used: presets without it keep the stream that they had before there was any.
    solarised = torch.zeros(batch, dtype=torch.bool)
    if settings.solarise:
        solarised = torch.rand(batch, generator=generator) < settings.solarise
    reduction = torch.ones(batch, dtype=torch.int64)
    if settings.downsample:
        reduced = torch.rand(batch, generator=generator) < settings.downsample
        reduction = torch.where(reduced, 2 + 2 * torch.randint(2, (batch,), generator=generator), reduction)
    return _Parameters(boxes, flips, sigma, factors.clamp(min=0), angle, order, grey, erased, solarised, reduction)


def _render(images: Tensor, parameters: _Parameters, interpolation: str, out: Tensor) -> None:
    """Write the augmented images (b, 3, h, w) into `out`."""
    batch, _, source_h, source_w = images.shape
    height, width = out.shape[2:]
    device = images.device
    rows = _resample_matrices(parameters.boxes[:, 0], parameters.boxes[:, 2], source_h, height, interpolation)
    columns = _resample_matrices(parameters.boxes[:, 1], parameters.boxes[:, 3], source_w, width, interpolation)
    rows, columns = _reduce(rows, parameters.reduction), _reduce(columns, parameters.reduction)
    columns = torch.where(parameters.flips[:, None, None], columns.flip(1), columns)
    rows, columns = _blur(rows, parameters.sigma).to(device), _blur(columns, parameters.sigma).to(device)

    # Rows first, on a layout (b, H, 3W) where all channels share one product; the copy is the uint8 cast.
    flat = images.permute(0, 2, 1, 3).to(torch.float32, memory_format=torch.contiguous_format)
    flat = torch.bmm(rows, flat.reshape(batch, source_h, 3 * source_w))
    flat = torch.bmm(flat.view(batch, height * 3, source_w), columns.transpose(1, 2))
    pixels = flat.view(batch, height, 3, width).permute(0, 2, 1, 3).reshape(batch, 3, height * width)
    _apply_colours(pixels, parameters, out.view(batch, 3, height * width))
    _solarise(out, parameters.solarised)
    _erase(out, parameters.erased)


def _uniform(generator: torch.Generator, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return torch.rand(*shape, generator=generator) * (high - low) + low


def _draw_crops(
    batch: int, source: tuple[int, int], output: tuple[int, int], settings: Augmentation, generator: torch.Generator
) -> Tensor:
    """Crop windows (B, 4): top, left, height, width in source pixels, not rounded.

    As usual, the first of ten draws that fits counts; if none fits, the largest centred window with an
    allowed ratio.
    """
    source_h, source_w = source
    aspect = output[1] / output[0]
    low, high = (math.log(r * aspect) for r in settings.crop_ratio)
    area = _uniform(generator, batch, _CROP_TRIES, low=settings.crop_scale[0], high=settings.crop_scale[1])
    ratio = _uniform(generator, batch, _CROP_TRIES, low=low, high=high).exp()
    place = torch.rand(batch, 2, generator=generator)
    if settings.crop_scale == (1.0, 1.0):
        full = torch.tensor([0.0, 0.0, source_h, source_w])
        return full.expand(batch, 4)
    area = area * (source_h * source_w)
    heights, widths = (area / ratio).sqrt(), (area * ratio).sqrt()
    fits = (heights <= source_h) & (widths <= source_w)
    first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)
    h, w = heights.gather(1, first)[:, 0], widths.gather(1, first)[:, 0]
    whole = min(max(source_w / source_h, math.exp(low)), math.exp(high))
    found = fits.any(dim=1)
    h = torch.where(found, h, torch.tensor(min(source_h, source_w / whole)))
    w = torch.where(found, w, torch.tensor(min(source_w, source_h * whole)))
    place = torch.where(found[:, None], place, torch.tensor(0.5))
    return torch.stack([place[:, 0] * (source_h - h), place[:, 1] * (source_w - w), h, w], dim=1)


def _draw_flips(batch: int, probability: float, generator: torch.Generator, groups: Tensor | None) -> Tensor:
    """Whether each image is flipped, bool (B,); images of one group follow the group's first image."""
    draws = torch.rand(batch, generator=generator) < probability
    if groups is None:
        return draws
    numbers = groups.cpu()
    first = (numbers[:, None] == numbers[None, :]).to(torch.uint8).argmax(dim=1)
    return draws[first]


def _resample_matrices(start: Tensor, extent: Tensor, source: int, output: int, interpolation: str) -> Tensor:
    """Weights (b, output, source) of anti-aliased resampling of the window [start, start + extent)."""
    if interpolation not in _RADIUS:
        raise ConfigError(f"Unknown interpolation {interpolation!r}.", "Use bilinear or bicubic.")
    scale = extent / output
    support = scale.clamp(min=1.0)
    centres = start[:, None] + (torch.arange(output) + 0.5) * scale[:, None] - 0.5
    # Only the taps within reach of the kernel are evaluated, then set into the (mostly zero) matrix.
    reach = math.ceil(_RADIUS[interpolation] * float(support.max()))
    taps = centres.floor()[:, :, None] + torch.arange(1 - reach, 1 + reach)
    distance = ((taps - centres[:, :, None]) / support[:, None, None]).abs_()
    weights = _cubic(distance) if interpolation == "bicubic" else (1 - distance).clamp_(min=0)
    weights = torch.where((taps >= 0) & (taps < source), weights, torch.zeros(()))
    weights = weights / weights.sum(dim=2, keepdim=True)
    matrices = torch.zeros(len(start), output, source)
    return matrices.scatter_add_(2, taps.long().clamp_(0, source - 1), weights)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic kernel with a = -1/2."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, torch.zeros(())))


def _reduce(matrices: Tensor, reduction: Tensor) -> Tensor:
    """Let the resampling (b, n, N) read a source that was reduced (b,) times and enlarged again."""
    size = matrices.shape[2]
    for factor in (2, 4):
        chosen = (reduction == factor).nonzero()[:, 0]
        if len(chosen):
            small, start = max(1, size // factor), torch.zeros(1)
            down = _resample_matrices(start, torch.tensor([float(size)]), size, small, "bilinear")
            up = _resample_matrices(start, torch.tensor([float(small)]), small, size, "bilinear")
            matrices = matrices.index_copy(0, chosen, matrices[chosen] @ (up @ down))
    return matrices


def _blur(matrices: Tensor, sigma: Tensor) -> Tensor:
    """Follow the resampling (b, n, N) by a Gaussian of each sigma (b,), cut and renormalised at the borders."""
    chosen = sigma.nonzero()[:, 0]
    if len(chosen) == 0:
        return matrices
    position = torch.arange(matrices.shape[1])
    profile = torch.exp(position.float().square() * (-0.5 / sigma[chosen].square())[:, None])
    kernel = profile[:, (position[:, None] - position).abs()]
    blurred = torch.bmm(kernel, matrices[chosen]) / kernel.sum(dim=2, keepdim=True)
    return matrices.index_copy_(0, chosen, blurred)


def _apply_colours(pixels: Tensor, parameters: _Parameters, out: Tensor) -> None:
    """Jitter, grey, clamp to the legal range and normalise pixels (b, 3, N) in 0..255 into `out`."""
    scale, shift = _normalisation(pixels.device)
    mean = (pixels.mean(dim=2) / 255).cpu()
    matrix, offset = (x.to(pixels.device) for x in _compose_colours(mean, parameters))
    torch.baddbmm((offset * scale + shift)[:, :, None], matrix * (scale[:, None] / 255), pixels, out=out)
    torch.clamp(out, min=shift[:, None], max=(scale + shift)[:, None], out=out)


def _compose_colours(mean: Tensor, parameters: _Parameters) -> tuple[Tensor, Tensor]:
    """One affine map (b, 3, 3), (b, 3) on RGB in 0..1, given the mean colour (b, 3) of each image."""
    batch = len(mean)
    eye = torch.eye(3)
    luma = torch.tensor(_LUMA)
    to_grey = luma.expand(3, 3)
    brightness, contrast, saturation = (parameters.factors[:, i, None, None] for i in range(3))
    turns = _hue_matrices(parameters.angle)
    candidates = torch.stack(
        [brightness * eye, contrast * eye, saturation * eye + (1 - saturation) * to_grey, turns], dim=1
    )
    matrix, offset = eye.expand(batch, 3, 3), torch.zeros(batch, 3)
    rows = torch.arange(batch)
    for turn in range(4):
        kind = parameters.order[:, turn]
        step = candidates[rows, kind]
        # Contrast pulls towards the mean grey of the image as it stands at its turn.
        level = ((matrix @ mean[:, :, None])[:, :, 0] + offset) @ luma
        pull = torch.where(kind == 1, (1 - parameters.factors[:, 1]) * level, torch.zeros(()))
        matrix = step @ matrix
        offset = (step @ offset[:, :, None])[:, :, 0] + pull[:, None]
    greyed = parameters.grey[:, None]
    matrix = torch.where(greyed[:, :, None], to_grey @ matrix, matrix)
    offset = torch.where(greyed, offset @ to_grey.T, offset)
    return matrix, offset


def _hue_matrices(angle: Tensor) -> Tensor:
    """Rotations (B, 3, 3) of RGB that keep the luma: turns of the chroma plane of YIQ."""
    to_yiq = torch.tensor([_LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)], dtype=torch.float64)
    cos, sin = torch.cos(angle.double()), torch.sin(angle.double())
    turn = torch.zeros(len(angle), 3, 3, dtype=torch.float64)
    turn[:, 0, 0] = 1
    turn[:, 1, 1], turn[:, 1, 2] = cos, -sin
    turn[:, 2, 1], turn[:, 2, 2] = sin, cos
    matrices: Tensor = torch.linalg.inv(to_yiq) @ turn @ to_yiq
    return matrices.float()


def _draw_erasing(batch: int, size: tuple[int, int], settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Rectangles (B, 4) to erase: top, left, height, width; height 0 = none."""
    chosen = torch.rand(batch, generator=generator) < settings.erase
    area = _uniform(generator, batch, low=settings.erase_area[0], high=settings.erase_area[1])
    ratio = _uniform(generator, batch, low=math.log(0.3), high=math.log(1 / 0.3)).exp()
    place = torch.rand(batch, 2, generator=generator)
    height, width = size
    h = (area * height * width * ratio).sqrt().round().clamp(1, height)
    w = (area * height * width / ratio).sqrt().round().clamp(1, width)
    top = (place[:, 0] * (height - h + 1)).floor()
    left = (place[:, 1] * (width - w + 1)).floor()
    return torch.stack([top, left, h * chosen, w], dim=1).long()


def _solarise(out: Tensor, chosen: Tensor) -> None:
    """Invert the colours of chosen normalised images (b, 3, h, w) where they are 128 of 255 or more (PIL's rule)."""
    if not chosen.any():
        return
    scale, shift = (x[:, None, None] for x in _normalisation(out.device))
    rows = chosen.nonzero()[:, 0].to(out.device)
    colours = (out[rows] - shift) / scale
    out[rows] = torch.where(colours > 127.5 / 255, 1 - colours, colours) * scale + shift


def _erase(out: Tensor, rectangles: Tensor) -> None:
    """Set one rectangle each of normalised images (b, 3, h, w) to 0, the mean colour."""
    for image, (top, left, height, width) in zip(out, rectangles.tolist(), strict=True):
        if height:
            image[:, top : top + height, left : left + width] = 0


def _move_keypoints(
    keypoints: Tensor, boxes: Tensor, flips: Tensor, size: tuple[int, int], mirrored: Sequence[int]
) -> Tensor:
    """Map keypoints (B, K, 3) into the augmented images."""
    if keypoints.shape[1] != len(mirrored):
        raise ConfigError(
            f"The images have {keypoints.shape[1]} joints each, and mirror images of {len(mirrored)} are known.",
            "Pass `mirrored`, the flip of the joints' skeleton.",
        )
    height, width = size
    top, left, box_h, box_w = boxes.to(keypoints).unbind(dim=1)
    x = (keypoints[..., 0] + 0.5 - left[:, None]) * (width / box_w)[:, None] - 0.5
    y = (keypoints[..., 1] + 0.5 - top[:, None]) * (height / box_h)[:, None] - 0.5
    flipped = flips.to(keypoints.device)[:, None]
    x = torch.where(flipped, width - 1 - x, x)
    inside = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
    moved = torch.stack([x, y, torch.where(inside, keypoints[..., 2], torch.zeros_like(x))], dim=2)
    return torch.where(flipped[:, :, None], moved[:, list(mirrored)], moved)


def _normalisation(device: torch.device) -> tuple[Tensor, Tensor]:
    """Scale and shift (3,) that turn colours in 0..1 into normalised ones."""
    std = torch.tensor(IMAGENET_STD, device=device)
    return 1 / std, -torch.tensor(IMAGENET_MEAN, device=device) / std
