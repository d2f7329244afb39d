"""The window around a box: its exact geometry, and the pixels in it.

One convention everywhere: **pixel centres lie at integers**, in the original image and in the crop. A window
of centre c and size s covers the original coordinates c - s/2 .. c + s/2, and an output pixel j of W stands
for the point c + (j - (W - 1)/2) * s/W. `to_crop` and `to_original` are that one line and its inverse.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Double = NDArray[np.float64]
Single = NDArray[np.float32]

_SCALE = 1.25
"""Room around a box, as the field's top-down pose estimators leave it (HRNet, mmpose, ViTPose)."""
NO_LABEL = 255
"""What a label map holds where a pixel counts as nothing."""
_HALF_WAY = 1e-3


def crop_windows(boxes: Double, height: int, width: int, *, scale: float = _SCALE) -> tuple[Single, Single]:
    """Windows around boxes, widened to the aspect of the input and then enlarged.

    Args:
        boxes: float64 (N, 4), x, y, w, h in the original image, w and h above 0.
        height: Input height, pixels.
        width: Input width, pixels.
        scale: Factor on the widened box.

    Returns:
        Centres and sizes, float32 (N, 2) each. They are rounded to float32 here, before anything else uses
        them, so that pixels and keypoints share the very same window.
    """
    x, y, w, h = boxes.T
    window_height = np.maximum(h, w * height / width) * scale
    size = np.stack([window_height * width / height, window_height], axis=1)
    return np.stack([x + w / 2, y + h / 2], axis=1).astype(np.float32), size.astype(np.float32)


def whole_windows(sizes: NDArray[Any]) -> tuple[Single, Single]:
    """Windows that are whole images of these widths and heights (N, 2): centres and sizes, float32 (N, 2) each."""
    size = sizes.astype(np.float32)
    return (size - np.float32(1)) / np.float32(2), size


def to_crop(points: Double, center: Single, size: Single, height: int, width: int) -> Double:
    """Original coordinates (..., 2) to crop pixels, float64; `center` and `size` broadcast against them."""
    output = np.array([width, height], np.float64)
    return (points - center.astype(np.float64)) * (output / size.astype(np.float64)) + (output - 1) / 2


def to_original(points: Double, center: Single, size: Single, height: int, width: int) -> Double:
    """Crop pixels (..., 2) to original coordinates, float64: the inverse of `to_crop`."""
    output = np.array([width, height], np.float64)
    return (points - (output - 1) / 2) * (size.astype(np.float64) / output) + center.astype(np.float64)


def cut(image: Image.Image, center: Single, size: Single, height: int, width: int) -> NDArray[np.uint8]:
    """Cut one window out of an RGB image; what lies outside the image is black.

    Bilinear with a support that grows with the reduction, so that shrinking does not alias.

    Args:
        image: The original image.
        center: float32 (2,), window centre, pixel centres at integers.
        size: float32 (2,), window width and height.
        height: Height of the crop.
        width: Width of the crop.

    Returns:
        uint8 (3, height, width).
    """
    # Pillow counts from the corner of the first pixel, half a pixel before its centre.
    low = center.astype(np.float64) + 0.5 - size.astype(np.float64) / 2
    high = low + size
    margin = np.ceil(np.maximum(size / np.array([width, height]), 1)) + 1  # the filter's reach beyond the window
    # Black is what the window sees outside the image; the filter's reach beyond a window inside it sees nothing.
    left, top = (int(v) for v in np.where(low >= 0, np.maximum(np.floor(low - margin), 0), np.floor(low - margin)))
    reach = np.ceil(high + margin)
    right, bottom = (int(v) for v in np.where(high <= image.size, np.minimum(reach, image.size), reach))
    patch = image.crop((left, top, right, bottom))
    box = (low[0] - left, low[1] - top, high[0] - left, high[1] - top)
    resized = patch.resize((width, height), Image.Resampling.BILINEAR, box=box)
    return np.asarray(resized, np.uint8).transpose(2, 0, 1)


def resized(image: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    """A whole image at the size of the input, uint8 (3, height, width): what `cut` gives of the image as its window."""
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.uint8).transpose(2, 0, 1)


def cut_labels(labels: NDArray[np.uint8], center: Single, size: Single, height: int, width: int) -> NDArray[np.uint8]:
    """Cut one window out of a label map (h, w), each output pixel taking the nearest label: uint8 (height, width)."""
    grid = np.stack([np.arange(max(height, width))] * 2, axis=1).astype(np.float64)
    # Half-way between two pixels the later one counts; windows are float32, so half-way is not exact.
    places = np.floor(to_original(grid, center, size, height, width) + 0.5 + _HALF_WAY).astype(np.int64)
    columns, rows = places[:width, 0], places[:height, 1]
    in_x, in_y = (columns >= 0) & (columns < labels.shape[1]), (rows >= 0) & (rows < labels.shape[0])
    out = np.full((height, width), NO_LABEL, np.uint8)
    out[np.ix_(in_y, in_x)] = labels[np.ix_(rows[in_y], columns[in_x])]
    return out
