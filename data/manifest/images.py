"""The images of a manifest: decoded when they are asked for, several at a time, resized to the input."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hcbench.data.files.under_root import OutsideError, UnderRoot
from hcbench.data.manifest.manifest import Manifest
from hcbench.data.pixels import Picture, read_picture
from hcbench.data.samples import Int
from hcbench.data.threads import in_threads
from hcbench.data.windows import resized
from hcbench.errors import CacheError, DataError

BROKEN_SHARE = 0.01
"""Share of a view's images that may be missing or damaged before its training ends."""
KEPT_BYTES = 256 * 2**20
"""Views whose decoded images take no more than this are decoded once; of larger ones nothing is kept."""
_NAMED = 5
"""Broken images that are named; the others are counted."""
_ROWS_AT_ONCE = 4_096

log = logging.getLogger(__name__)

Read = Callable[[int], Picture]
"""The picture of a row of the view; raises DataError."""


class ManifestImages:
    """uint8 (N, 3, H, W), decoded by threads at every access, or once where the view is small.

    A broken image is a black one: the draw of all methods stays the same. It is named once and counted.

    Args:
        read: Gives the image of a row.
        sizes: int64 (N, 2) width and height that the manifest promises, 0 = not told; labels in pixels depend on it.
        names: Name of a row, for messages.
        height: Input height, pixels.
        width: Input width, pixels.
    """

    def __init__(self, read: Read, sizes: Int, names: Callable[[int], str], *, height: int, width: int) -> None:
        self._read, self._sizes, self._names = read, sizes, names
        self.shape = (len(sizes), 3, height, width)
        self.broken: dict[int, str] = {}
        self._lock = threading.Lock()
        small = int(np.prod(self.shape)) <= KEPT_BYTES
        self._kept = np.zeros(self.shape, np.uint8) if small else None
        self._done = np.zeros(len(sizes), bool)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        rows = np.arange(len(self))[index]
        if np.ndim(rows) == 0:
            return self._many(np.array([rows]))[0]  # type: ignore[no-any-return]
        return self._many(rows)

    def _many(self, rows: Int) -> NDArray[np.uint8]:
        if self._kept is None:
            return np.stack(list(in_threads(self._one, rows.tolist(), "images"))) if len(rows) else self._nothing()
        missing = np.unique(rows[~self._done[rows]])
        for row, pixels in zip(missing, in_threads(self._one, missing.tolist(), "images"), strict=True):
            self._kept[row] = pixels
        self._done[missing] = True
        kept: NDArray[np.uint8] = self._kept[rows]
        return kept

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should hear of after the training; empty where every image could be read."""
        if not self.broken:
            return ()
        named = "; ".join(self.broken[row] for row in sorted(self.broken)[:_NAMED])
        more = f"; and {len(self.broken) - _NAMED} more" if len(self.broken) > _NAMED else ""
        return (f"{len(self.broken)} of {len(self):,} images could not be read and were black: {named}{more}",)

    def _nothing(self) -> NDArray[np.uint8]:
        return np.zeros((0, *self.shape[1:]), np.uint8)

    def _one(self, row: int) -> NDArray[np.uint8]:
        try:
            image = self._read(row).image
            promised = tuple(self._sizes[row].tolist())
            problem = another_size(image.size, promised)
            if problem:
                raise DataError(f"it {problem}")
            return resized(image, *self.shape[2:])
        except OutsideError:
            raise  # not damaged: it is not what was meant, and must not be black without a word
        except DataError as error:
            self._record_broken(row, f"{self._names(row)}: {error.message}")
            return np.zeros(self.shape[1:], np.uint8)

    def _record_broken(self, row: int, problem: str) -> None:
        with self._lock:
            if row in self.broken:
                return
            self.broken[row] = problem
            if len(self.broken) <= _NAMED:
                log.warning("%s; it is a black image now", problem)
        if len(self.broken) > BROKEN_SHARE * len(self):
            raise TooManyBroken(
                f"{len(self.broken)} of {len(self):,} images cannot be read, more than {BROKEN_SHARE:.0%}: {problem}.",
                "Mend or leave out what is broken, or say where the images lie (--data NAME=ROOT).",
            )


def another_size(found: tuple[int, int], promised: Sequence[int | None]) -> str:
    """How an image differs from the width and height of its row, 0 or null where that does not tell; empty if not."""
    if all(side in (0, None, real) for side, real in zip(promised, found, strict=True)):
        return ""
    told = " x ".join(str(side or "?") for side in promised)
    return f"is {found[0]} x {found[1]}, the manifest says {told}"


class TooManyBroken(DataError):
    """More images of a view are broken than a training can do without."""


def from_files(
    root: Path,
    paths: Sequence[str] | NDArray[np.str_],
    *,
    links: bool = False,
    called: Callable[[int], str] = "row {}".format,
) -> Read:
    """Reads images from files below a root; a path that leads out of it is an OutsideError.

    Args:
        root: The folder.
        paths: Path of each row below it.
        links: Whether links may lead out of it (`Manifest.links`).
        called: What an error calls a row.
    """
    inside = UnderRoot(root, links=links)

    def read(row: int) -> Picture:
        inside.check(str(paths[row]), f"{called(row)}: image_path is")
        path = root / str(paths[row])
        if not os.path.isfile(path):
            raise DataError("it is missing")
        return read_picture(path, "it")

    return read


def from_bytes(content: Callable[[int], bytes | memoryview]) -> Read:
    """Decodes images from their encoded bytes."""
    return lambda row: read_picture(io.BytesIO(content(row)), "it")


def unpacked(manifest: Manifest, rows: Int, cache: Path) -> Callable[[int], memoryview]:
    """The encoded images of some rows, from a memory-mapped file of their own.

    The manifest is read once, from its beginning to its end, as network file systems like it; any image is at hand
    afterwards. The file is keyed by content, written under another name and renamed.

    Args:
        manifest: With packed images.
        rows: int64 (M,), ascending.
        cache: Folder for it.

    Raises:
        CacheError: The cache cannot be written.
    """
    key = hashlib.sha256(manifest.fingerprint.encode() + np.ascontiguousarray(rows, "<i8").tobytes()).hexdigest()[:20]
    content, ends = cache / f"packed-{key}.bin", cache / f"packed-{key}.npy"
    if not ends.is_file():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            _unpack(manifest, rows, content, ends)
        except OSError as error:
            raise CacheError(f"{cache} cannot be written: {error}.", "Choose another --workspace.") from error
    offsets = np.load(ends, mmap_mode="r", allow_pickle=False)
    held = memoryview(np.memmap(content, np.uint8, "r").data) if offsets[-1] else memoryview(b"")
    return lambda row: held[int(offsets[row]) : int(offsets[row + 1])]


def _unpack(manifest: Manifest, rows: Int, content: Path, ends: Path) -> None:
    offsets = [0]
    with NamedTemporaryFile(dir=content.parent, prefix=content.stem, delete=False) as file:
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            for value in _images(manifest, rows[start : start + _ROWS_AT_ONCE]):
                file.write(value)
                offsets.append(offsets[-1] + len(value))
    Path(file.name).replace(content)
    with NamedTemporaryFile(dir=content.parent, prefix=ends.stem, delete=False) as file:
        np.save(file, np.array(offsets, np.int64))
    Path(file.name).replace(ends)  # the last thing: where it stands, the images do


def _images(manifest: Manifest, rows: Int) -> Sequence[pa.Buffer]:
    return [value.as_buffer() for value in manifest.take(["image_bytes"], rows)["image_bytes"]]
