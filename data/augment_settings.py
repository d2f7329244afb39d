"""What augmentation may do to images: its settings, and presets of the recipes by name. Loads no torch.

`augment.py` does it to a batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hcbench.errors import ConfigError, did_you_mean


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """What is done to every image of a batch.

    Attributes:
        name: For logs and messages.
        crop_scale: Least and greatest share of the source area that a crop covers.
        crop_ratio: Least and greatest width/height of a crop, relative to that of the output, log-uniform.
        interpolation: "bilinear" or "bicubic", both anti-aliased.
        flip: Probability of a horizontal flip.
        jitter: Probability of colour jitter.
        brightness: Factor from [1 - b, 1 + b]; contrast and saturation likewise.
        contrast: See brightness.
        saturation: See brightness.
        hue: Turn of the hue in parts of a circle, from [-hue, hue].
        grey: Probability of losing all colour.
        blur: Probability of a Gaussian blur.
        blur_sigma: Least and greatest standard deviation, output pixels.
        solarise: Probability of inverting every colour channel where it is at least half of its range.
        erase: Probability of erasing one rectangle (to the mean colour).
        erase_area: Least and greatest share of the output area that is erased.
        downsample: Probability of losing detail first: the source is reduced to a half or a quarter in each direction
            and enlarged again, bilinear.
    """

    name: str
    crop_scale: tuple[float, float] = (1.0, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: str = "bilinear"
    flip: float = 0.0
    jitter: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarise: float = 0.0
    erase: float = 0.0
    erase_area: tuple[float, float] = (0.02, 0.2)
    downsample: float = 0.0


# Crop, flip and the colours of StableRep `strong` (dataset/data.py, the default there), but for crop ratios around the
# output's, since people are tall.
_STRONG = Augmentation(
    name="strong",
    crop_scale=(0.08, 1.0),
    flip=0.5,
    jitter=0.8,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    grey=0.2,
    blur=0.5,
)
# Crops and colours of SOLIDER's DINO (main_solider.py); widths .4-.6 of the height are .8-1.2 of the output's.
_DINO = replace(
    _STRONG,
    name="dino-global-1",
    crop_scale=(0.8, 1.0),
    crop_ratio=(0.8, 1.2),
    interpolation="bicubic",
    saturation=0.2,
    blur=1.0,
)
# The cpu recipe: flip and colours, without hue and grey, since clothing colour is what tells people apart.
_PEOPLE = Augmentation(
    name="people-global",
    crop_scale=(0.7, 1.0),
    crop_ratio=(0.8, 1.2),
    flip=0.5,
    jitter=1.0,
    brightness=0.2,
    contrast=0.2,
    saturation=0.2,
    blur=0.3,
    blur_sigma=(0.1, 1.0),
)

AUGMENTATIONS = {
    preset.name: preset
    for preset in (
        # Little crop, and one rectangle of three images in ten is hidden.
        replace(_PEOPLE, name="people", crop_ratio=(3 / 4, 4 / 3), erase=0.3),
        # HAP main_pretrain: RandomResizedCrop scale .8-1, ratio .375-.667 (= 3/4..4/3 of 1/2), cubic, flip.
        Augmentation(name="hap", crop_scale=(0.8, 1.0), interpolation="bicubic", flip=0.5),
        # GenPoCCL reports that stronger augmentation helps: HAP's geometry with StableRep's colours.
        replace(_STRONG, name="hap-strong", crop_scale=(0.8, 1.0), interpolation="bicubic"),
        _STRONG,
        # StableRep `--downsample`: one image in twenty comes from 64 or 128 instead of 256 pixels.
        replace(_STRONG, name="strong-downsample", downsample=0.05),
        # PLIP, and most fine-tuning on people: the mirror image alone.
        Augmentation(name="flip", flip=0.5),
        # StableRep `--weak_aug`: crop only.
        Augmentation(name="weak", crop_scale=(0.5, 1.0)),
        # MAE: RandomResizedCrop scale .2-1, cubic, flip.
        Augmentation(name="mae", crop_scale=(0.2, 1.0), interpolation="bicubic", flip=0.5),
        # Multi-crop of DINO and SOLIDER: two large crops that differ in blur and solarisation, and small ones.
        _DINO,
        replace(_DINO, name="dino-global-2", blur=0.1, solarise=0.2),
        replace(_DINO, name="dino-local", crop_scale=(0.05, 0.8), blur=0.5),
        # The same of the cpu recipe: small crops still show a part of the body; crops hide enough without erasing.
        _PEOPLE,
        replace(_PEOPLE, name="people-local", crop_scale=(0.1, 0.6)),
        Augmentation(name="none"),
    )
}
"""Presets by name; `people` and `people-*` are the cpu recipe's, the others are the papers'."""


def augmentation(name: str) -> Augmentation:
    """Look a preset up.

    Raises:
        ConfigError: There is no such preset.
    """
    if name not in AUGMENTATIONS:
        raise ConfigError(f"Unknown augmentation {name!r}.", did_you_mean(name, AUGMENTATIONS))
    return AUGMENTATIONS[name]
