"""Names and sizes of very many files, listed once and kept: directories of millions are not walked at each start.

The index lies outside of the dataset and is opened as memory maps. It is made again when a folder that it lists has
changed (a file came or went); a file that is overwritten in place is not noticed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcbench.data.files.left_out import LeftOut
from hcbench.data.files.walk import stamp, walk
from hcbench.data.formats.listing import IMAGE_ENDINGS
from hcbench.errors import CacheError, DataError

log = logging.getLogger(__name__)

_VERSION = 2
"""Changes with every edit that changes what is listed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileIndex:
    """N files or entries below one folder.

    Attributes:
        names: str (N,), paths with forward slashes, sorted.
        sizes: int64 (N,), bytes.
        left_out: What was left out, and why.
    """

    names: NDArray[np.str_]
    sizes: NDArray[np.int64]
    left_out: LeftOut = field(default_factory=LeftOut)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """What a listing gives: names with sizes, what was left out, and what must not change for it to hold."""

    entries: Iterable[tuple[str, int]]
    stamps: Mapping[str, str]
    left_out: LeftOut = field(default_factory=LeftOut)


def index_images(base: Path, cache: Path, below: str = ".") -> FileIndex:
    """All images in a folder and further down, listed once; what is not taken goes to the log.

    Args:
        base: The folder that names are relative to.
        cache: Folder outside of it that keeps the index.
        below: The folder below `base` in which to look.

    Raises:
        DataError: There is no such folder, no image in it, or names are not in UTF-8.
        CacheError: The cache folder cannot be written.
    """
    index = kept_index(base, f"images in {below}", cache, lambda: list_images(base, below))
    check_listed(base / below, len(index), index.left_out)
    return index


def check_listed(folder: Path, images: int, left_out: LeftOut) -> None:
    """Refuse a listing that nothing can be read of, and log what was left out of another.

    Args:
        folder: What was listed.
        images: How many were found.
        left_out: What was left out.

    Raises:
        DataError: There is no image, or names are not in UTF-8.
    """
    left_out.refuse_names(folder)
    if not images:
        why = "".join(f" {remark}." for remark in (*left_out.problems(), *left_out.notes()))
        raise DataError(f"{folder} holds no image.{why}", f"Expected files that end in {', '.join(IMAGE_ENDINGS)}.")
    for remark in left_out.remarks():
        log.warning("%s: %s", folder, remark)


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
    key = hashlib.sha256(f"{_VERSION}|{what}|{source.resolve()}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
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
            about = {"source": str(source), "left_out": listed.left_out.plain(), "stamps": dict(listed.stamps)}
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
    that it is old. Names that are not in UTF-8 are left out: `check_listed` refuses them.

    Args:
        base: The folder that names are relative to.
        below: The folder below `base` in which to look.

    Raises:
        DataError: There is no such folder.
    """
    if not (base / below).is_dir():
        raise DataError(f"{base / below} is no folder.", "Give the folder that holds the images.")
    place = base.resolve() if below == "." else base.resolve() / below
    found = walk(place, endings=IMAGE_ENDINGS, sizes=True)
    start = "" if below == "." else f"{below}/"
    return Listed(entries=[(f"{start}{name}", size) for name, size in found.files], stamps=found.stamps,
                  left_out=found.left_out)  # fmt: skip


def _open(place: Path) -> FileIndex | None:
    """The index, or None where there is none, or the folders have changed, or it is damaged (which is reported)."""
    if not place.is_dir():
        return None
    try:
        about = json.loads((place / "about.json").read_text())
        if any(stamp(path) != state for path, state in about["stamps"].items()):
            return None
        names = np.load(place / "names.npy", mmap_mode="r", allow_pickle=False)
        sizes = np.load(place / "sizes.npy", mmap_mode="r", allow_pickle=False)
        if len(names) == len(sizes):
            return FileIndex(names=names, sizes=sizes, left_out=LeftOut.of_plain(about["left_out"]))
        problem = f"{len(names)} names, {len(sizes)} sizes"
    except (OSError, ValueError, KeyError, EOFError) as error:
        problem = str(error)
    log.warning("%s is damaged (%s); it is made again", place, problem)
    return None
