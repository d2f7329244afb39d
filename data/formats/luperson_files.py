"""LUPerson and LUPerson-NL on disk: folders of images, or an LMDB whose list of keys is a pickle.

The pickle is not needed: the LMDB knows its keys, and they hold video and person. It is opened only for those who say
that they trust it, and even then may hold nothing but lists, dictionaries, text and numbers.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench.data.decoded import open_lmdb
from hcbench.data.files.names import shown, some
from hcbench.data.files.walk import stamp
from hcbench.data.formats.file_index import FileIndex, Listed, kept_index
from hcbench.data.formats.loading import numbered
from hcbench.errors import DataError

KEYS_FILE = "keys.pkl"
TRUST = "--trust-pickle of `hcbench data verify` and `hcbench data prepare` (in Python trust_pickle=True)"
"""What has a keys.pkl read."""
_KEY = re.compile(r"(?P<video>\d{5,})_(?P<person>\d+)_.+")
"""`{video:05d}_{original stem}`; the stem begins with the person's number, which restarts in each video."""
_VIDEO = re.compile(r"(?P<video>\d{5,})_.+")


@dataclass(frozen=True, slots=True)
class KeyList:
    """What a trusted keys.pkl holds: keys, sorted, and the number beside each."""

    keys: NDArray[np.str_]
    numbers: NDArray[np.int64]


def index_lmdb(path: Path, cache: Path) -> FileIndex:
    """All keys of an LMDB, listed once; sizes are 0, since knowing them would mean reading every image.

    Raises:
        DataError: It cannot be opened, or holds no image.
        CacheError: The cache folder cannot be written.
    """
    index = kept_index(path, "keys", cache, lambda: list_lmdb(path))
    if not len(index):
        raise DataError(f"{path} holds no image.", "Expected an LMDB of encoded images by key.")
    return index


def list_lmdb(path: Path) -> Listed:
    """Walk the keys of an LMDB; entries such as `__len__` that some writers add are left out."""

    def entries() -> Iterator[tuple[str, int]]:
        with environment.begin(write=False) as transaction:
            for key in transaction.cursor().iternext(keys=True, values=False):
                name = _text(bytes(key), path)
                if not name.startswith("__"):
                    yield name, 0

    data = lmdb_file(path)
    stamps = {str(data.resolve()): stamp(data)}
    environment = open_lmdb(path)
    try:
        return Listed(entries=list(entries()), stamps=stamps)
    finally:
        environment.close()


def _text(key: bytes, path: Path) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} has the key {shown(os.fsdecode(key))}, which is not in UTF-8.",
            "Write the LMDB again with keys in UTF-8.",
        ) from error


def lmdb_file(path: Path) -> Path:
    """The file that holds the LMDB's data.

    Raises:
        DataError: It is not there.
    """
    data = path / "data.mdb" if path.is_dir() else path
    if not data.is_file():
        raise DataError(f"{data} is missing.", "An LMDB is a folder with data.mdb: copy it again from its source.")
    return data


def persons_of_keys(keys: NDArray[np.str_], where: Path) -> NDArray[np.int64]:
    """Noisy identities from the keys alone: a person is a number within a video.

    Returns:
        int64 (N,), 0..K-1 by sorted (video, person).

    Raises:
        DataError: A key is not of the published form.
    """
    pairs = np.empty((len(keys), 2), np.int64)
    strange = []
    for row, key in enumerate(keys):
        match = _KEY.fullmatch(str(key))
        if match is None:
            strange.append(str(key))
            continue
        pairs[row] = int(match["video"]), int(match["person"])
    if strange:
        raise DataError(
            f"{len(strange)} of {len(keys):,} keys of {where} do not say video and person: {some(strange)}.",
            f"Expected keys such as 00012_7_000345. If {KEYS_FILE} has the labels and you trust where it comes from, "
            f"{TRUST} takes them.",
        )
    return _paired(pairs[:, 0], pairs[:, 1])


def persons_of_numbers(listed: KeyList) -> tuple[NDArray[np.int64], str]:
    """Noisy identities of a keys.pkl with persons, which restart in each video unless somebody has merged them.

    Returns:
        int64 (N,), 0..K-1: by sorted (video, person) where a number stands under several videos of the keys, else by
        sorted number; and what is to be said of it, "" where there is nothing.
    """
    matches = [_VIDEO.fullmatch(str(key)) for key in listed.keys]
    alone = numbered(listed.numbers)
    videos = [int(match["video"]) for match in matches if match is not None]
    if len(videos) < len(matches):
        return alone, f"keys do not say the video: the numbers of {KEYS_FILE} are taken for persons as they stand"
    both = _paired(np.array(videos, np.int64), listed.numbers)
    numbers, persons = int(alone.max()) + 1, int(both.max()) + 1
    if numbers == persons:
        return alone, ""
    return both, f"the {numbers:,} numbers of {KEYS_FILE} restart in each video: labels are {persons:,} (video, person)"


def _paired(videos: NDArray[np.int64], persons: NDArray[np.int64]) -> NDArray[np.int64]:
    person = numbered(persons)
    return numbered(numbered(videos) * (person.max() + 1) + person)


def read_keys(path: Path, field: str) -> KeyList:
    """Read a keys.pkl that the user trusts.

    Args:
        path: The file.
        field: What stands beside `keys`: `pids` or `vids`.

    Raises:
        DataError: It holds objects of any class, or not two lists of one length.
    """
    try:
        with path.open("rb") as file:
            content = _PlainUnpickler(file).load()
    except _ForeignClassError as error:
        raise DataError(
            f"{path} holds {error}, not only lists, text and numbers: it was not read to its end.",
            "Write it again as {'keys': [str, ...], '" + field + "': [int, ...]}.",
        ) from error
    except (OSError, ValueError, EOFError, IndexError, KeyError, AttributeError, pickle.UnpicklingError) as error:
        raise DataError(f"{path} cannot be read: {error}.", "Copy it again from its source.") from error
    lists = [content.get(name) if isinstance(content, dict) else None for name in ("keys", field)]
    if not all(isinstance(one, list) for one in lists) or len(lists[0] or ()) != len(lists[1] or ()) or not lists[0]:
        raise DataError(f"{path} does not hold two lists of one length.", f"Expected the keys 'keys' and '{field}'.")
    keys, numbers = np.array(lists[0], np.str_), np.array(lists[1], np.int64)
    order = np.argsort(keys, kind="stable")
    return KeyList(keys[order], numbers[order])


class _ForeignClassError(Exception):
    pass


class _PlainUnpickler(pickle.Unpickler):
    """Reads lists, dictionaries, text and numbers; everything else would need a class, and is refused unexecuted."""

    def find_class(self, module: str, name: str) -> Any:
        raise _ForeignClassError(f"{module}.{name}")
