"""Names and sizes of very many files, listed once and kept: directories of millions are not walked at each start.

The index lies outside of the dataset and is opened as memory maps. It is made again when a folder that it lists has
changed (a file came or went); a file that is overwritten in place is not noticed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcbench.data.formats.listing import IMAGE_ENDINGS, is_junk
from hcbench.errors import CacheError, DataError

log = logging.getLogger(__name__)

_VERSION = 1
"""Changes with every edit that changes what is listed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileIndex:
    """N files or entries below one folder.

    Attributes:
        names: str (N,), paths with forward slashes, sorted.
        sizes: int64 (N,), bytes.
        junk: How many files of operating systems were left out.
    """

    names: NDArray[np.str_]
    sizes: NDArray[np.int64]
    junk: int = 0

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """What a listing gives: names with sizes, files left out, and what must not change for it to hold."""

    entries: Iterable[tuple[str, int]]
    stamps: Mapping[str, int]
    junk: int = 0


def index_images(base: Path, cache: Path, below: str = ".") -> FileIndex:
    """All images in a folder and further down, listed once.

    Args:
        base: The folder that names are relative to.
        cache: Folder outside of it that keeps the index.
        below: The folder below `base` in which to look.

    Raises:
        DataError: There is no such folder, or no image in it.
        CacheError: The cache folder cannot be written.
    """
    index = kept_index(base, f"images in {below}", cache, lambda: list_images(base, below))
    if not len(index):
        raise DataError(f"{base / below} holds no image.", f"Expected files that end in {', '.join(IMAGE_ENDINGS)}.")
    return index


def kept_index(source: Path, what: str, cache: Path, make: Callable[[], Listed]) -> FileIndex:
    """An index from the cache, or a new one.

    Args:
        source: Where the entries lie; with `what` and its full path the index's key.
        what: What is listed there.
        cache: Folder that keeps indices.
        make: Lists it.

    Raises:
        CacheError: The cache folder cannot be written.
    """
    key = hashlib.sha256(f"{_VERSION}|{what}|{source.resolve()}".encode()).hexdigest()[:16]
    place = cache / f"index-{key}"
    found = _open(place)
    if found is not None:
        return found
    listed = make()
    entries = sorted(listed.entries)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=cache, prefix=place.name, suffix=".part"))
        try:
            np.save(temporary / "names.npy", np.array([name for name, _ in entries], np.str_))
            np.save(temporary / "sizes.npy", np.array([size for _, size in entries], np.int64))
            about = {"source": str(source), "junk": listed.junk, "stamps": dict(listed.stamps)}
            (temporary / "about.json").write_text(json.dumps(about))
            shutil.rmtree(place, ignore_errors=True)
            temporary.replace(place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        # A second process may have put the same index there in the meantime.
        if (found := _open(place)) is not None:
            return found
        raise CacheError(f"{cache} cannot be written: {error}.", "Choose another --workspace.") from error
    log.info("listed %d files of %s", len(entries), source)
    made = _open(place)
    if made is None:
        raise CacheError(f"{source} changed while it was listed.", "Try again when nothing writes there any more.")
    return made


def list_images(base: Path, below: str = ".") -> Listed:
    """Walk a folder: every image with its size, and when each folder changed last.

    Not `listing.list_files`, which tells names alone: fingerprints need the sizes, and by the times a kept index knows
    that it is old. Links to folders are followed here.

    Args:
        base: The folder that names are relative to.
        below: The folder below `base` in which to look.

    Raises:
        DataError: There is no such folder.
    """
    if not (base / below).is_dir():
        raise DataError(f"{base / below} is no folder.", "Give the folder that holds the images.")
    entries: list[tuple[str, int]] = []
    stamps: dict[str, int] = {}
    junk, level = 0, [(base.resolve() / below, "" if below == "." else f"{below}/")]
    while level:
        place, start = level.pop()
        stamps[str(place)] = place.stat().st_mtime_ns
        with os.scandir(place) as found:
            for entry in found:
                if is_junk(entry.name):
                    junk += 1
                elif entry.is_dir():
                    level.append((Path(entry.path), f"{start}{entry.name}/"))
                elif entry.name.lower().endswith(IMAGE_ENDINGS):
                    entries.append((f"{start}{entry.name}", entry.stat().st_size))
    return Listed(entries=entries, stamps=stamps, junk=junk)


def _changed(path: Path) -> int | None:
    """When a file or folder changed last, nanoseconds; None where it is gone."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _open(place: Path) -> FileIndex | None:
    """The index, or None where there is none, or the folders have changed, or it is damaged (which is reported)."""
    if not place.is_dir():
        return None
    try:
        about = json.loads((place / "about.json").read_text())
        if any(_changed(Path(path)) != time for path, time in about["stamps"].items()):
            return None
        names = np.load(place / "names.npy", mmap_mode="r", allow_pickle=False)
        sizes = np.load(place / "sizes.npy", mmap_mode="r", allow_pickle=False)
        if len(names) == len(sizes):
            return FileIndex(names=names, sizes=sizes, junk=about["junk"])
        problem = f"{len(names)} names, {len(sizes)} sizes"
    except (OSError, ValueError, KeyError, EOFError) as error:
        problem = str(error)
    log.warning("%s is damaged (%s); it is made again", place, problem)
    return None
