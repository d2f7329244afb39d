"""People of any size: rendered in whole tiles and then resized, where a network's size is none of the renderer's.

Sizes that are whole numbers of 14-pixel patches are seldom multiples of 8. Such people are rendered at the next
multiple of 8 in both directions and resized, by at most 7 pixels either way; labels follow exactly. Sizes that the
renderer knows pass through untouched.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hcbench.data.pixels import decoder
from hcbench.data.samples import Float, ImageArray, Samples
from hcbench.data.windows import resized, to_crop, whole_windows
from hcbench.errors import ConfigError

log = logging.getLogger(__name__)

TILE: Final = 8
"""The renderer's: its sizes are multiples of this."""
_HEIGHTS: Final = (32, 1024)
_WIDTHS: Final = (16, 1024)


def render_size(height: int, width: int) -> tuple[int, int]:
    """Height and width at which people are rendered for an input of this size: the next multiples of the tile.

    Raises:
        ConfigError: The input is smaller or larger than people can be rendered.
    """
    for value, (least, most) in ((height, _HEIGHTS), (width, _WIDTHS)):
        if not least <= value <= most:
            raise ConfigError(
                f"People of {height} x {width} pixels cannot be rendered.",
                f"Choose a height of {_HEIGHTS[0]}-{_HEIGHTS[1]} and a width of {_WIDTHS[0]}-{_WIDTHS[1]}, "
                "such as 128x64 or 224x112.",
            )
    return -(-height // TILE) * TILE, -(-width // TILE) * TILE


def fitted(samples: Samples, height: int, width: int) -> Samples:
    """Rendered people at the size of an input: the same samples where they have it, else resized.

    Args:
        samples: People of `render_size(height, width)`.
        height: Of the input, pixels.
        width: Of the input, pixels.

    Returns:
        Samples whose name says the size that they were rendered at. Images are resized bilinearly, parts by the nearest
        pixel, both when they are asked for; keypoints, joints, areas and boxes are scaled.
    """
    rendered = render_size(height, width)
    if rendered == (height, width):
        return samples
    log.info("%s: rendered at %dx%d and resized to %dx%d", samples.name, *rendered, height, width)
    factor = np.array([width / rendered[1], height / rendered[0]])
    return replace(
        samples,
        name=f"{samples.name} rendered at {rendered[0]}x{rendered[1]}",
        fingerprint=f"{samples.fingerprint}@{height}x{width} {decoder()}",
        images=Resized(samples.images, height, width),
        parts=None if samples.parts is None else ResizedParts(samples.parts, height, width),
        keypoints=_moved(samples.keypoints, rendered, (height, width), labelled=True),
        joints=_moved(samples.joints, rendered, (height, width), labelled=False),
        area=None if samples.area is None else (samples.area * factor.prod()).astype(np.float32),
        boxes=None if samples.boxes is None else (samples.boxes * np.tile(factor, 2)).astype(np.float32),
    )


class Resized:
    """Images of another size, resized whenever they are asked for.

    Args:
        source: uint8 (N, 3, H, W).
        height: Of what it gives.
        width: Of what it gives.
    """

    def __init__(self, source: ImageArray, height: int, width: int) -> None:
        self.source, self.height, self.width = source, height, width

    def __len__(self) -> int:
        return len(self.source)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, 3, H, W)."""
        return len(self), 3, self.height, self.width

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        found = self.source[index]
        flat = found.reshape(-1, *found.shape[-3:])
        out = np.empty((len(flat), 3, self.height, self.width), np.uint8)
        for row, pixels in enumerate(flat):
            image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
            out[row] = resized(image, self.height, self.width)
        return out.reshape(*found.shape[:-3], *out.shape[1:])


class ResizedParts(Resized):
    """Part masks of another size, uint8 (N, H, W): each pixel takes the nearest part."""

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """(N, H, W)."""
        return len(self), self.height, self.width

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        found = self.source[index]
        rows = _nearest(found.shape[-2], self.height)
        columns = _nearest(found.shape[-1], self.width)
        return np.ascontiguousarray(found[..., rows[:, None], columns])


def _nearest(old: int, new: int) -> NDArray[np.int64]:
    """Which of `old` pixels lies under the centre of each of `new` ones."""
    return np.floor((np.arange(new) + 0.5) * old / new).astype(np.int64)


def _moved(points: Float | None, rendered: tuple[int, int], size: tuple[int, int], *, labelled: bool) -> Float | None:
    """Points (N, 17, 3) at another size; of labelled ones the third number is v, of others the depth in pixels."""
    if points is None:
        return None
    center, window = whole_windows(np.array([rendered[::-1]]))
    xy = to_crop(points[..., :2].astype(np.float64), center, window, *size)
    if labelled:
        third = points[..., 2:]
        xy = np.where(third > 0, xy, 0)
    else:
        third = points[..., 2:] * np.sqrt(size[0] * size[1] / (rendered[0] * rendered[1]))
    return np.concatenate([xy, third], axis=-1).astype(np.float32)
