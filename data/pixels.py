"""From a file to the pixels that count: the one decoder of every picture, in runs and in checks alike."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL
from PIL import Image, features

from hcbench.errors import DataError

_PIXELS_VERSION = 3
"""Changes with every edit that changes pixels."""
_DEEP_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
"""Pillow's modes of grey images with more than 8 bits."""
_WHITE_16 = 65_535


def decoder() -> str:
    """The image decoder with its versions: another one may give other pixels."""
    return f"pillow {PIL.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}, crops {_PIXELS_VERSION}"


def read_image(path: Path) -> Image.Image:
    """Decode an image as RGB, exactly as its pixels are stored.

    An EXIF orientation is ignored, as annotators and evaluators of COCO ignore it. Of an animation the first frame
    counts, transparency is dropped, and grey values of 16 bits are scaled to 8 (65535 is white).

    Raises:
        DataError: The file cannot be decoded, or has pixels of another range; the message names it.
    """
    return decode_image(path, str(path))


def decode_image(source: Path | BinaryIO, name: str) -> Image.Image:
    """Decode an image as `read_image` does, from a path or from bytes in memory.

    Args:
        source: The path, or a stream.
        name: What an error message calls it.

    Raises:
        DataError: It cannot be decoded.
    """
    try:
        with Image.open(source) as image:
            return _as_rgb(image, name)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{name} cannot be decoded: {error}.", "The file is damaged or incomplete: copy it again from its source."
        ) from error


def _as_rgb(image: Image.Image, name: str) -> Image.Image:
    """The image in 8 bits per colour; Pillow would cut off what is above 255 in deeper ones."""
    if image.mode not in _DEEP_MODES:
        return image.convert("RGB")
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > _WHITE_16:
        raise DataError(
            f"{name} has pixels from {values.min():g} to {values.max():g} (mode {image.mode}).",
            "Which of them is white nobody says: save it with 8 or 16 bits per pixel.",
        )
    scaled = (values.astype(np.uint32) * 255 + _WHITE_16 // 2) // _WHITE_16
    return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
