"""Person crops: which windows of which files, and a memory-mapped cache of their pixels."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench.data.files.hash_index import file_hashes
from hcbench.data.pixels import decoder, picture_size, read_image
from hcbench.data.threads import in_threads
from hcbench.data.windows import Single, cut, cut_labels, whole_windows
from hcbench.errors import CacheError, DataError

log = logging.getLogger(__name__)


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


def whole_images(folder: Path, files: Sequence[str], height: int, width: int) -> CropPlan:
    """A plan that resizes whole images to one size, whatever their aspect: datasets whose images are crops already.

    Raises:
        DataError: An image is missing or is none; the first are named.
    """

    def size_of(file: str) -> tuple[int, int] | str:
        try:
            return picture_size(folder / file, file)
        except DataError as error:
            return error.message

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

    The cache is keyed by the images' names and contents (`files/hash_index.py`), windows, crop size and decoder, never
    by paths. The file is written under a temporary name and renamed, so that a killed or a second process leaves no
    half of it.

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
    hashes = file_hashes(plan.folder, plan.files)
    for file in plan.files:
        digest.update(os.fsencode(file) + b" " + hashes[file])
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
