"""Person crops: the window around a box, its exact geometry, and a memory-mapped cache of the pixels.

One convention everywhere: **pixel centres lie at integers**, in the original image and in the crop. A window
of centre c and size s covers the original coordinates c - s/2 .. c + s/2, and an output pixel j of W stands
for the point c + (j - (W - 1)/2) * s/W. `to_crop` and `to_original` are that one line and its inverse.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, features

from hcbench.errors import CacheError, DataError

Double = NDArray[np.float64]
Single = NDArray[np.float32]

Item = TypeVar("Item")
Result = TypeVar("Result")

log = logging.getLogger(__name__)

_SCALE = 1.25
"""Room around a box, as the field's top-down pose estimators leave it (HRNet, mmpose, ViTPose)."""
NO_LABEL = 255
"""What a label map holds where a pixel counts as nothing."""
_HALF_WAY = 1e-3
_PIXELS_VERSION = 3
"""Changes with every edit that changes pixels."""
_LOG_EVERY_S = 10.0
_DEEP_MODES = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
"""Pillow's modes of grey images with more than 8 bits."""
_WHITE_16 = 65_535


@dataclass(frozen=True, kw_only=True, slots=True)
class CropPlan:
    """Which pixels to cut out of which files: N crops of one size.

    Attributes:
        folder: Where the image files lie.
        files: File name of each crop's image, below `folder`, N of them.
        center: float32 (N, 2), window centres in the original image.
        size: float32 (N, 2), window widths and heights in the original image.
        height: Height of every crop, pixels.
        width: Width of every crop, pixels.
        image_sizes: Width and height that the annotations give each image, N of them; an image of another size is
            refused, since windows and keypoints would lie at wrong places. None where nobody says.
    """

    folder: Path
    files: Sequence[str]
    center: Single
    size: Single
    height: int
    width: int
    image_sizes: Sequence[tuple[int, int]] | None = None


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


def decoder() -> str:
    """The image decoder with its versions: another one may give other pixels."""
    return f"pillow {PIL.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}, crops {_PIXELS_VERSION}"


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


def resized(image: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    """A whole image at the size of the input, uint8 (3, height, width): what `cut` gives of the image as its window."""
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.uint8).transpose(2, 0, 1)


def whole_images(folder: Path, files: Sequence[str], height: int, width: int) -> CropPlan:
    """A plan that resizes whole images to one size, whatever their aspect: datasets whose images are crops already.

    Raises:
        DataError: An image is missing or is none; the first are named.
    """

    def size_of(file: str) -> tuple[int, int] | str:
        try:
            with Image.open(folder / file) as image:
                return image.size
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            return f"{file}: {error}."

    unique = sorted(set(files))
    found = dict(zip(unique, in_threads(size_of, unique, f"sizes of {folder.name}"), strict=True))
    broken = [problem for problem in found.values() if isinstance(problem, str)]
    if broken:
        raise DataError(
            f"{len(broken)} of {len(unique)} images in {folder} cannot be opened: {' '.join(broken[:3])}",
            "They are missing or damaged: copy them again from their source.",
        )
    center, size = whole_windows(np.array([found[file] for file in files]).reshape(-1, 2))
    return CropPlan(folder=folder, files=files, center=center, size=size, height=height, width=width)


def cached_crops(plan: CropPlan, cache: Path) -> tuple[NDArray[np.uint8], str]:
    """The crops of a plan as a read-only memory map, cut once and kept.

    The cache is keyed by file names and sizes, windows, crop size and decoder, never by paths; an image that
    is replaced by another of the same number of bytes is not noticed. The file is written under a temporary
    name and renamed, so a killed or a second process leaves no half of it.

    Args:
        plan: What to cut.
        cache: Folder of the cache, created where it is missing.

    Returns:
        uint8 (N, 3, H, W) and its key, 16 hex digits.

    Raises:
        DataError: An image is missing or cannot be decoded.
        CacheError: The cache folder cannot be written.
    """
    kind = _Kind(
        name="crops",
        channels=(3,),
        read=read_image,
        cut=cut,
        trouble="images cannot be used",
        hint="Damaged or incomplete files: copy them again. Another size (enlarged, turned upright): take the images "
        "that were annotated.",
    )
    return _cached(plan, cache, kind)


def cached_labels(
    plan: CropPlan, cache: Path, read: Callable[[Path], NDArray[np.uint8]]
) -> tuple[NDArray[np.uint8], str]:
    """The same windows of label maps, by the nearest pixel; `NO_LABEL` outside the map. Cached as `cached_crops`.

    Args:
        plan: What to cut; its files are label maps of the size of their images.
        cache: Folder of the cache, created where it is missing.
        read: Reads and checks a label map, uint8 (h, w); a DataError where it is none.

    Returns:
        uint8 (N, H, W) and its key, 16 hex digits.

    Raises:
        DataError: A label map is missing or is none.
        CacheError: The cache folder cannot be written.
    """
    kind = _Kind(
        name="labels",
        channels=(),
        read=read,
        cut=cut_labels,
        trouble="label maps cannot be used",
        hint="Take the label maps of the release, which hold one class number per pixel.",
    )
    return _cached(plan, cache, kind)


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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """What is cached: how its files are called, its leading dimensions, how one is read and cut, words of errors."""

    name: str
    channels: tuple[int, ...]
    read: Callable[[Path], Any]
    cut: Callable[[Any, Single, Single, int, int], NDArray[np.uint8]]
    trouble: str
    hint: str


def _cached(plan: CropPlan, cache: Path, kind: _Kind) -> tuple[NDArray[np.uint8], str]:
    key = _key(plan, kind)
    path = cache / f"{kind.name}-{key}.npy"
    shape = (len(plan.files), *kind.channels, plan.height, plan.width)
    crops = _open(path, shape)
    if crops is None:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=cache, prefix=path.stem, suffix=".part")
        except OSError as error:
            raise CacheError(f"{cache} cannot be written: {error}.", "Choose another --workspace.") from error
        os.close(handle)
        temporary = Path(name)
        try:
            _write(plan, temporary, shape, kind)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        crops = _open(path, shape)
        if crops is None:
            raise CacheError(f"{path} was written but cannot be read back.", "Check the disk, or choose another one.")
    return crops, key


def _key(plan: CropPlan, kind: _Kind) -> str:
    before = "labels|" if kind.name == "labels" else ""
    digest = hashlib.sha256(f"{before}{decoder()}|{plan.height}x{plan.width}|".encode())
    sizes = {file: (plan.folder / file).stat().st_size for file in sorted(set(plan.files))}
    digest.update("\n".join(f"{file} {sizes[file]}" for file in plan.files).encode())
    if plan.image_sizes is not None:  # what was cut from was held against them
        digest.update(str([tuple(size) for size in plan.image_sizes]).encode())
    for array in (plan.center, plan.size):
        digest.update(np.ascontiguousarray(array, "<f4").tobytes())
    return digest.hexdigest()[:16]


def _open(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """The cached array, or None where there is none or a damaged one, which is reported and made again."""
    if not path.exists():
        return None
    try:
        crops = np.load(path, mmap_mode="r", allow_pickle=False)
        if crops.shape == shape and crops.dtype == np.uint8:
            return crops  # type: ignore[no-any-return]
        found = f"holds {crops.dtype} {crops.shape}"
    except (ValueError, OSError, EOFError) as error:
        found = str(error)
    log.warning("%s is damaged (%s); it is made again", path, found)
    return None


def _write(plan: CropPlan, path: Path, shape: tuple[int, ...], kind: _Kind) -> None:
    """Cut every crop into a new file; each image is decoded once, several at a time."""
    crops = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)

    def one(rows: list[int]) -> str | None:
        try:
            image = kind.read(plan.folder / plan.files[rows[0]])
        except DataError as error:
            return error.message
        expected = None if plan.image_sizes is None else tuple(plan.image_sizes[rows[0]])
        if expected is not None and image.size != expected:
            return (
                f"{plan.files[rows[0]]} is {image.size[0]} x {image.size[1]}, its annotations say {_sides(expected)}."
            )
        for row in rows:
            crops[row] = kind.cut(image, plan.center[row], plan.size[row], plan.height, plan.width)
        return None

    by_file = sorted(range(shape[0]), key=lambda row: plan.files[row])
    jobs = [list(rows) for _, rows in groupby(by_file, key=lambda row: plan.files[row])]
    broken = [message for message in in_threads(one, jobs, f"images of {plan.folder.name}") if message]
    if broken:
        more = f" (and {len(broken) - 3} more)" if len(broken) > 3 else ""
        raise DataError(f"{len(broken)} of {len(jobs)} {kind.trouble}: {' '.join(broken[:3])}{more}", kind.hint)
    crops.flush()


def _sides(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))


def in_threads(work: Callable[[Item], Result], jobs: Sequence[Item], what: str) -> Iterator[Result]:
    """Results in order; Pillow decodes outside the interpreter lock, so threads do run side by side."""
    started = logged = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, result in enumerate(pool.map(work, jobs), start=1):
            yield result
            if time.monotonic() - logged > _LOG_EVERY_S:
                logged = time.monotonic()
                log.info("read %d of %d %s, %.0f per second", done, len(jobs), what, done / (logged - started))
