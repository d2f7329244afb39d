"""Hashes of files, and an index that saves reading again those that did not change.

Only content identifies a file here. Its size, its times and its inode decide whether it is read again, as in git's
index: an entry counts while all of them are as they were when the file was read. A file that was written so shortly
before it was read that a second edit could bear the same time is not kept, and so read again the next time.

Indices lie outside of data sets and workspaces, in `$HCBENCH_CACHE`, else `$XDG_CACHE_HOME/hcbench`, else
`~/.cache/hcbench`, in a tree of folders like that of the files. They may be deleted at any time. Where none can be
written, files are read each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from hcbench.errors import DataError

VARIABLE = "HCBENCH_CACHE"
"""Environment variable that names the folder of everything that is kept for all workspaces of a user."""

State = tuple[int, int, int, int]
"""Size, time of the last edit and of the last change of the inode (nanoseconds), inode."""

_UNSETTLED_NS = 3_000_000_000
"""A file that changed within so long before it was read may change again without another time (FAT: 2 s)."""
_FILE = ".hashes.npz"
_AT_ONCE = 2**20
_TOGETHER = 64
"""Files that a thread is given together."""
_TELL_EVERY_S = 10.0

log = logging.getLogger(__name__)


def state_of(stat: os.stat_result) -> State:
    """What must be the same for a file not to be read again."""
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def file_hashes(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """SHA-256 of files below a folder.

    Args:
        folder: The folder; its index is used, or that of the nearest folder above it that has one.
        names: Paths below it.

    Returns:
        Name to 32 bytes.

    Raises:
        DataError: A file is missing or cannot be read; the first are named.
    """
    broken: list[str] = []
    states: dict[str, State] = {}
    for name in dict.fromkeys(names):
        try:
            states[name] = state_of(os.stat(folder / name))
        except OSError as error:
            broken.append(f"{name}: {error.strerror}")
    _refuse(folder, broken, len(states) + len(broken))
    return known_hashes(folder, states)


def known_hashes(folder: Path, states: Mapping[str, State]) -> dict[str, bytes]:
    """The same for files whose states a listing has told already."""
    index = _Index(folder)
    unread = [name for name, state in states.items() if index.get(name, state) is None]
    if unread:
        now, broken = time.time_ns(), []
        for name, found in _read_all(folder, unread, sum(states[name][0] for name in unread)):
            if isinstance(found, str):
                broken.append(f"{name}: {found}")
            else:
                index.add(name, states[name], found, now)
        _refuse(folder, broken, len(states))
        index.save()
    return {name: index.get(name, state) or b"" for name, state in states.items()}


def forget(folder: Path) -> None:
    """Let all files in and below a folder be read again, whatever indices say of them; a file's path will do, too."""
    place = _place_of(folder.absolute())
    if place is None:
        return
    shutil.rmtree(place, ignore_errors=True)
    for above in folder.absolute().parents:
        path = _path_of(above)
        if path is not None:
            path.unlink(missing_ok=True)


def index_folder() -> Path | None:
    """Where indices lie; None where there is no home."""
    with contextlib.suppress(RuntimeError):  # pathlib knows no home
        named = os.environ.get(VARIABLE)
        above = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return (Path(named).expanduser() if named else Path(above).expanduser() / "hcbench") / "contents"
    return None


class _Index:
    """What is known of the files below one folder; new entries are kept by `save`."""

    def __init__(self, folder: Path) -> None:
        own = folder.absolute()
        places = {above: path for above in (own, *own.parents) if (path := _path_of(above)) is not None}
        nearest = next((above for above, path in places.items() if path.is_file()), own)
        self._path = places.get(nearest)
        self._above = "" if nearest == own else f"{own.relative_to(nearest).as_posix()}/"
        self._entries = _load(self._path)
        self._new: dict[bytes, bytes] = {}

    def get(self, name: str, state: State) -> bytes | None:
        entry = os.fsencode(self._above + name)
        if (fresh := self._new.get(entry)) is not None:
            return fresh
        found = self._entries.get(entry)
        return found[1] if found is not None and found[0] == state else None

    def add(self, name: str, state: State, digest: bytes, read_at: int) -> None:
        entry = os.fsencode(self._above + name)
        self._new[entry] = digest
        settled = max(state[1], state[2]) < read_at - _UNSETTLED_NS
        if settled:
            self._entries[entry] = (state, digest)
        else:
            self._entries.pop(entry, None)

    def save(self) -> None:
        """Put everything into the file; of two processes that do so at once, the later one's entries are kept."""
        if self._path is None:
            return
        names = b"\0".join(self._entries)
        states = np.array([state for state, _ in self._entries.values()], np.int64).reshape(-1, 4)
        digests = np.frombuffer(b"".join(digest for _, digest in self._entries.values()), np.uint8)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._path.parent, suffix=".part", delete=False) as file:
                np.savez(file, names=np.frombuffer(names, np.uint8), states=states, digests=digests.reshape(-1, 32))
            Path(file.name).replace(self._path)
        except OSError as error:
            log.info("%s cannot be written (%s): files will be read again the next time", self._path.parent, error)


def _load(path: Path | None) -> dict[bytes, tuple[State, bytes]]:
    if path is None or not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as held:
            names = held["names"].tobytes().split(b"\0") if len(held["names"]) else []
            states, digests = held["states"].tolist(), held["digests"].tobytes()
        if len(names) * 32 == len(digests) and len(names) == len(states):
            return {name: (tuple(states[row]), digests[32 * row : 32 * row + 32]) for row, name in enumerate(names)}
        problem = f"{len(names)} names, {len(states)} states"
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        problem = str(error)
    log.warning("%s is damaged (%s); files are read again", path, problem)
    return {}


def _place_of(folder: Path) -> Path | None:
    """The folder in the tree of indices that stands for an absolute one."""
    place = index_folder()
    return None if place is None else place / folder.relative_to(folder.anchor)


def _path_of(folder: Path) -> Path | None:
    place = _place_of(folder)
    return None if place is None else place / _FILE


def _read_all(folder: Path, names: list[str], size: int) -> Iterator[tuple[str, bytes | str]]:
    """Hash, or what is wrong, of every file; told in the log where it takes long, since it happens once."""
    started = told = time.monotonic()
    parts = [names[start : start + _TOGETHER] for start in range(0, len(names), _TOGETHER)]
    done = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for part in pool.map(lambda part: [(name, _digest(folder / name)) for name in part], parts):
            yield from part
            done += len(part)
            if time.monotonic() - told > _TELL_EVERY_S:
                told = time.monotonic()
                log.info(
                    "looked into %d of %d files of %s (%.1f GB in all), %.0f per second; it happens once",
                    done, len(names), folder, size / 1e9, done / (told - started),
                )  # fmt: skip


def _digest(path: Path) -> bytes | str:
    try:
        with path.open("rb", buffering=0) as file:
            content = file.read(_AT_ONCE)
            if len(content) < _AT_ONCE:
                return hashlib.sha256(content).digest()
            digest = hashlib.sha256(content)
            while content := file.read(_AT_ONCE):
                digest.update(content)
            return digest.digest()
    except OSError as error:
        return error.strerror or str(error)


def _refuse(folder: Path, broken: list[str], count: int) -> None:
    if broken:
        more = f" (and {len(broken) - 3} more)" if len(broken) > 3 else ""
        raise DataError(
            f"{len(broken)} of {count} files of {folder} cannot be read: {'; '.join(broken[:3])}{more}.",
            "Copy them again from their source, or mend their permissions.",
        )
