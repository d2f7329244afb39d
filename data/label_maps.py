"""Label maps: pictures whose numbers are classes, and never colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from hcbench.data.pixels import TROUBLE, advice, orientation, said
from hcbench.data.windows import NO_LABEL
from hcbench.errors import DataError

_SPREAD = {"L;4": 17, "L;2": 85}
"""Greys of fewer than 8 bits are spread over 0..255 when they are decoded: the factor, by Pillow's raw mode."""
_AS_STORED = ("1", "L", "P", "P;1", "P;2", "P;4", "I;16", "I;16B", "I;16N")
"""Pillow's raw modes of one channel whose numbers are those of the file."""
_LOSSY = ("JPEG", "MPO", "WEBP", "AVIF", "JPEG2000")


def read_labels(path: Path, names: Sequence[str]) -> NDArray[np.uint8]:
    """The class numbers of a label map, uint8 (h, w): those that the file holds, indices where it has a palette.

    Raises:
        DataError: The file is no image of one channel, changes numbers, or holds a number that is no class.
    """
    try:
        with Image.open(path) as image:
            mode, kind, spread, turned = image.mode, image.format, _spread(image), orientation(image)
            labels = np.asarray(image)
    except TROUBLE as error:
        raise DataError(f"{path} cannot be decoded: {said(error, path)}", advice(error)) from error
    if kind in _LOSSY:
        raise DataError(
            f"{path} is a {kind} picture, which need not keep numbers as they were.",
            "Take the label maps of the release, as PNG.",
        )
    if labels.ndim != 2 or spread is None:
        raise DataError(
            f"{path} is a picture of mode {mode}.",
            "Expected one class number per pixel, not colours for people to see.",
        )
    if kind == "TIFF" and turned != 1:
        raise DataError(f"{path} has the orientation {turned}.", "Save it upright: images count as they are stored.")
    labels = labels.astype(np.int64) // spread
    strange = np.setdiff1d(labels, [*range(len(names)), NO_LABEL])
    if strange.size:
        raise DataError(
            f"{path} holds the number {strange[0]}.", f"Expected 0 to {len(names) - 1}, or {NO_LABEL} for no label."
        )
    return labels.astype(np.uint8)


def _spread(image: ImageFile.ImageFile) -> int | None:
    """The factor between a decoded number and the stored one; None where no class number is stored."""
    if not image.tile:
        return None
    arguments = image.tile[0][3]  # a raw mode, alone or with what else the decoder wants
    raw = arguments[0] if isinstance(arguments, tuple) else arguments
    if image.mode == "L" and raw in _SPREAD:
        return _SPREAD[raw]
    return 1 if raw in _AS_STORED else None
