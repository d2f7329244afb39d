"""Multi-crop: a few large and several small crops of every image (SwAV, arXiv 2006.09882; DINO, arXiv 2104.14294)."""

from __future__ import annotations

import torch
from torch import Tensor

from hcbench.data.augment import augment
from hcbench.data.augment_settings import Augmentation, augmentation
from hcbench.errors import ConfigError, did_you_mean

MULTICROPS = {
    # The cpu recipe's: no hue and no grey, since clothing colour is what tells people apart.
    "people": ("people-global", "people-global", "people-local"),
    # SOLIDER's table (main_solider.py, DataAugmentationDINO).
    "dino": ("dino-global-1", "dino-global-2", "dino-local"),
}
"""Names of the presets of the first and the second global crop and of the local ones, by name of the whole."""


def multicrop(name: str) -> tuple[Augmentation, Augmentation, Augmentation]:
    """Look the augmentations of a multi-crop up: first global, second global, local.

    Raises:
        ConfigError: There is no such multi-crop.
    """
    if name not in MULTICROPS:
        raise ConfigError(f"Unknown multi-crop augmentation {name!r}.", did_you_mean(name, MULTICROPS))
    first, second, local = MULTICROPS[name]
    return augmentation(first), augmentation(second), augmentation(local)


def crop_views(
    images: Tensor,
    settings: tuple[Augmentation, Augmentation, Augmentation],
    generator: torch.Generator,
    *,
    size: tuple[int, int],
    local_size: tuple[int, int],
    local_crops: int,
) -> tuple[Tensor, Tensor]:
    """Two global and `local_crops` local crops of every image, with parameters of their own.

    Args:
        images: uint8 (B, 3, h, w), RGB.
        settings: See `multicrop`.
        generator: A CPU generator.
        size: Height and width of a global crop, pixels.
        local_size: Height and width of a local crop, pixels.
        local_crops: How many; may be 0.

    Returns:
        Global crops (2 * B, 3, *size) and local ones (local_crops * B, 3, *local_size), normalised, crop-major:
        all first crops, then all second ones.
    """
    first, second, local = settings
    large = torch.cat([augment(images, preset, generator, size=size).images for preset in (first, second)])
    small = [augment(images, local, generator, size=local_size).images for _ in range(local_crops)]
    return large, torch.cat(small) if small else large.new_zeros(0, 3, *local_size)


def half_size(size: tuple[int, int], unit: tuple[int, int]) -> tuple[int, int]:
    """Half of a height and width, in whole units (pixels of a token), at least one.

    >>> half_size((128, 64), (16, 16)), half_size((48, 16), (16, 16))
    ((64, 32), (32, 16))
    """
    rows, columns = (max(1, round(side / 2 / step)) * step for side, step in zip(size, unit, strict=True))
    return rows, columns
