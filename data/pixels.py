"""From a file to the pixels that count: the one decoder of every picture, in runs and in `verify` alike.

Which pixels a file of each kind gives, and which kinds are refused, stands in one table: docs/pictures.md.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np
import PIL
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, UnidentifiedImageError, features

from hcbench.errors import DataError

_PIXELS_VERSION = 4
"""Changes with every edit that changes pixels."""
_WHITE_16 = 65_535
_DEEP_FORMATS = frozenset({"PNG", "PPM", "JPEG2000"})
"""Formats whose deep greys Pillow gives as whole numbers from 0 to 65535, whatever their depth in the file."""
_UNDONE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""What takes an orientation back that Pillow has applied."""
_WIDTH_TAG, _HEIGHT_TAG, _BITS_TAG, _GREYS_TAG, _PLANES_TAG = 256, 257, 258, 262, 284
_SEPARATE_PLANES = 2
_ZERO_IS_WHITE = 0
TROUBLE = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError,
    RuntimeError, MemoryError, struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip
"""What Pillow's readers raise on files that are damaged, or made to be so."""
_DAMAGED = "The file is damaged or incomplete: copy it again from its source."
_TOO_LARGE = "Shrink it (and its annotations with it) below Pillow's limit of pixels, or leave it out."
_NO_WHITE = "Which of them is white nobody says: save it with 8 or 16 bits per pixel."


class Remark(StrEnum):
    """What `verify` says of pictures of which not everything counts; the text follows a number of pictures."""

    DEEP = "have more than 8 bits per colour: they are scaled to 8"
    FRAMES = "hold several frames or pages: the first counts"
    ALPHA = "have transparency: it is dropped, the colours below it count"
    TURNED = "have an EXIF orientation that is not 1: it is ignored, pixels count as they are stored"
    COLOURS = "are in CMYK, YCbCr or LAB: they are turned into RGB without a colour profile"
    TINY = "are one pixel wide or high"


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture.

    Attributes:
        image: Its pixels, RGB.
        remarks: What of the file does not count, or counts in another form.
    """

    image: Image.Image
    remarks: frozenset[Remark]


@runtime_checkable
class _Frames(Protocol):
    """Pictures of Pillow's readers of formats that know frames."""

    is_animated: bool


def decoder() -> str:
    """The image decoder with its versions: another one may give other pixels."""
    return f"pillow {PIL.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}, crops {_PIXELS_VERSION}"


def read_image(path: Path) -> Image.Image:
    """Decode a file as RGB, exactly as its pixels are stored, by the rules of docs/pictures.md.

    Raises:
        DataError: The file cannot be decoded, or nobody says what its numbers mean; the message names it.
    """
    return read_picture(path, str(path)).image


def decode_image(source: Path | BinaryIO, name: str) -> Image.Image:
    """Decode an image as `read_image` does, from a path or from bytes in memory.

    Args:
        source: The path, or a stream.
        name: What an error message calls it.

    Raises:
        DataError: It cannot be decoded.
    """
    return read_picture(source, name).image


def read_picture(source: Path | BinaryIO, name: str) -> Picture:
    """Decode an image as `read_image` does, and say what of its file does not count.

    Args:
        source: The path, or a stream.
        name: What an error message calls it.

    Raises:
        DataError: It cannot be decoded.
    """
    try:
        with Image.open(source) as opened:
            return _decoded(opened, name)
    except TROUBLE as error:
        raise DataError(f"{name} cannot be decoded: {said(error, source)}", advice(error)) from error


def picture_size(path: Path, told: str) -> tuple[int, int]:
    """Width and height of what `read_image` gives, from the beginning of the file alone.

    Args:
        path: The file.
        told: What an error message begins with.

    Raises:
        DataError: It is no image.
    """
    try:
        with Image.open(path) as opened:
            return _stored_size(opened)
    except TROUBLE as error:
        raise DataError(f"{told}: {said(error, path)}", advice(error)) from error


def _decoded(opened: ImageFile.ImageFile, name: str) -> Picture:
    layout = str(opened.tile)  # of the file: Pillow keeps eight bits of some modes
    turned = orientation(opened)
    remarks = {
        Remark.FRAMES: isinstance(opened, _Frames) and opened.is_animated,
        Remark.TURNED: turned in _UNDONE,
        Remark.COLOURS: opened.mode in ("CMYK", "YCbCr", "LAB"),
    }
    if isinstance(opened, TiffImagePlugin.TiffImageFile):
        _check_planes(opened, name)
    deep = opened.mode.startswith("I") or opened.mode == "F"
    image: Image.Image = _grey(opened, name) if deep else opened
    rgb = _without_alpha(image).convert("RGB")
    if isinstance(opened, TiffImagePlugin.TiffImageFile) and turned in _UNDONE:  # of TIFF alone Pillow applies it
        rgb = rgb.transpose(_UNDONE[turned])
    remarks |= {
        Remark.DEEP: deep or ";16" in layout,
        Remark.ALPHA: _shows_through(image),
        Remark.TINY: min(rgb.size) == 1,
    }
    return Picture(rgb, frozenset(remark for remark, applies in remarks.items() if applies))


def orientation(opened: Image.Image) -> int:
    """What EXIF says of how to turn it, 1 where it says nothing that can be read."""
    try:
        found = opened.getexif().get(ExifTags.Base.Orientation, 1)
    except TROUBLE:  # of damaged EXIF alone: the pixels may be whole, and no orientation counts
        return 1
    return found if isinstance(found, int) else 1


def _grey(image: ImageFile.ImageFile, name: str) -> Image.Image:
    """Greys of more than 8 bits in 8; Pillow would cut off what is above 255."""
    white = _white(image)
    values = np.asarray(image)
    if white is None or values.min() < 0 or values.max() > white:
        raise DataError(
            f"{name} has pixels from {values.min():g} to {values.max():g} (mode {image.mode}).",
            _NO_WHITE,
        )
    scaled = (values.astype(np.uint32) * 255 + white // 2) // white
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(_GREYS_TAG) == _ZERO_IS_WHITE:
        scaled = 255 - scaled  # Pillow turns it round for 8 bits alone
    return Image.fromarray(scaled.astype(np.uint8))


def _white(image: ImageFile.ImageFile) -> int | None:
    """The number that stands for white in greys of more than 8 bits; None where the format does not say."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(_BITS_TAG, (0,))[0]
        return 2**bits - 1 if image.mode.startswith("I;16") else None
    return _WHITE_16 if image.format in _DEEP_FORMATS and image.mode != "F" else None


def _check_planes(image: TiffImagePlugin.TiffImageFile, name: str) -> None:
    """Refuse what Pillow reads as something else: colours of 16 bits that lie one after the other."""
    bits = image.tag_v2.get(_BITS_TAG, (1,))
    if len(bits) > 1 and max(bits) > 8 and image.tag_v2.get(_PLANES_TAG) == _SEPARATE_PLANES:
        raise DataError(
            f"{name} holds each colour of {max(bits)} bits in a plane of its own, which Pillow cannot read.",
            "Save it with the colours of a pixel side by side, or as PNG.",
        )


def _without_alpha(image: Image.Image) -> Image.Image:
    """An image whose colours are no longer multiplied by their transparency; others as they are."""
    return image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode]) if image.mode in ("La", "RGBa") else image


def _shows_through(image: Image.Image) -> bool:
    """Whether a pixel is not opaque; of palettes and single colours, whether one is declared so."""
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa"):
        return image.getchannel(image.getbands()[-1]).getextrema() != (255, 255)
    return "transparency" in image.info


def _stored_size(image: Image.Image) -> tuple[int, int]:
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # Pillow gives that of the upright picture
        return int(image.tag_v2[_WIDTH_TAG]), int(image.tag_v2[_HEIGHT_TAG])
    return image.size


def said(error: BaseException, source: Path | BinaryIO) -> str:
    """An error of `TROUBLE` as a sentence."""
    if isinstance(error, UnidentifiedImageError):
        return "it is empty (0 bytes)." if not _bytes(source) else "it is no picture of a format that Pillow knows."
    text = str(error).rstrip(".")
    return f"{text or type(error).__name__}."


def _bytes(source: Path | BinaryIO) -> int:
    return source.stat().st_size if isinstance(source, Path) else source.seek(0, 2)


def advice(error: BaseException) -> str:
    """What to do about an error of `TROUBLE`."""
    too_large = (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError)
    return _TOO_LARGE if isinstance(error, too_large) else _DAMAGED
