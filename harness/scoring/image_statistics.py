"""How crops look, in a few numbers that do not know who is seen: colour, contrast, sharpness, what surroundings tell.

All are of 8-bit values (0..255), so that figures of different data sets may stand side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hcbench.errors import DataError

QUANTILES: Final = (0.05, 0.25, 0.50, 0.75, 0.95)
REC_601: Final = np.array([0.299, 0.587, 0.114], np.float32)
EDGE_SHARE: Final = 1 / 8
"""Columns at the left and at the right of a crop that count as its edges: surroundings, where the box is centred."""
MIDDLE_ROWS: Final = (1 / 5, 4 / 5)
MIDDLE_COLUMNS: Final = (1 / 3, 2 / 3)
"""The middle of a crop: trunk and thighs, where the box is tight."""
_SLOPE_BAND: Final = (1 / 32, 1 / 4)
"""Cycles per pixel between which the power spectrum's slope is fitted, in rings of 1/64."""
Statistics = Mapping[str, tuple[float, ...]]


def image_statistics(images: NDArray[np.uint8]) -> Statistics:
    """Statistics of N crops of one size, by name.

    Args:
        images: uint8 (N, 3, H, W), RGB, N >= 2.

    Returns:
        Five quantiles (see `QUANTILES`) of "chroma" (max - min of RGB, over all pixels), "luminance deviation" (inside
        an image, over images), "luminance mean" (likewise) and "gradient" (mean absolute difference of neighbours in a
        row, likewise); single numbers "chroma middle", "chroma edges" (means), "slope" (of log power over log frequency
        of the mean power spectrum), "share middle" and "share edges": how much of the colour variance of a region's
        pixels lies between the means of images.

    Raises:
        DataError: There are fewer than two images.
    """
    if len(images) < 2:
        raise DataError(
            f"Statistics of {len(images)} image(s) were asked for.", "They compare images: give two or more."
        )
    chroma = images.max(axis=1) - images.min(axis=1)
    luminance = np.einsum("nchw,c->nhw", images, REC_601, dtype=np.float32)
    gradient = np.abs(np.diff(luminance, axis=2)).mean(axis=(1, 2))
    middle, edges = _regions(*images.shape[2:])
    return {
        "chroma": _quantiles(chroma),
        "chroma middle": (float(chroma[:, middle].mean()),),
        "chroma edges": (float(chroma[:, edges].mean()),),
        "luminance deviation": _quantiles(luminance.std(axis=(1, 2))),
        "luminance mean": _quantiles(luminance.mean(axis=(1, 2))),
        "gradient": _quantiles(gradient),
        "slope": (_spectral_slope(luminance),),
        "share middle": (_share_between(images[:, :, middle]),),
        "share edges": (_share_between(images[:, :, edges]),),
    }


def _quantiles(values: NDArray[np.uint8] | NDArray[np.float32]) -> tuple[float, ...]:
    return tuple(float(value) for value in np.quantile(values, QUANTILES))


def _regions(height: int, width: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks (H, W) of the middle and of the edges."""
    middle, edges = np.zeros((height, width), bool), np.zeros((height, width), bool)
    rows = slice(*(round(share * height) for share in MIDDLE_ROWS))
    middle[rows, slice(*(round(share * width) for share in MIDDLE_COLUMNS))] = True
    band = max(1, round(EDGE_SHARE * width))
    edges[:, :band] = edges[:, -band:] = True
    return middle, edges


def _share_between(pixels: NDArray[np.uint8]) -> float:
    """Variance of the image means over the variance of all pixels, both summed over channels; pixels (N, 3, P)."""
    means = pixels.mean(axis=2, dtype=np.float64)
    squares = np.square(pixels, dtype=np.float64).mean(axis=(0, 2))
    total = float((squares - means.mean(axis=0) ** 2).sum())
    return float(means.var(axis=0).sum() / total) if total > 0 else 0.0


def _spectral_slope(luminance: NDArray[np.float32]) -> float:
    """Slope of log mean power over log frequency, rings of 1/64 cycles per pixel, under a Hann window."""
    height, width = luminance.shape[1:]
    window = np.hanning(height)[:, None] * np.hanning(width)[None]
    power = np.zeros((height, width))
    for image in luminance:
        power += np.abs(np.fft.fft2((image - image.mean()) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    edges = np.arange(_SLOPE_BAND[0], _SLOPE_BAND[1] + 1e-9, 1 / 64)
    ring = np.digitize(radius, edges)
    rings = np.array([power[ring == number].mean() for number in range(1, len(edges))])
    if not (rings > 0).all():
        return 0.0
    return float(np.polyfit(np.log((edges[1:] + edges[:-1]) / 2), np.log(rings), 1)[0])
