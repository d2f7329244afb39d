"""What stands for the data on disk that decide a result: their contents, wherever they lie and whatever their times.

A copy on another machine is the same data, and a file that was replaced is not, even by one of the same name, size and
time. What this does not notice, in one sentence: of a data set with more than 500,000 files or 32 GiB, an edit that
changes no name in a folder and touches none of the files in the sample (`--fresh` does not look further either).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hcbench.data.files.hash_index import State, file_hashes, known_hashes, state_of
from hcbench.data.files.walk import walk
from hcbench.errors import DataError

MOST_FILES = 500_000
MOST_BYTES = 32 * 2**30
"""A set with more files or bytes than these is not read whole."""
SAMPLE = 4_096
"""Files of such a set that are looked into."""
_DIGITS = 64
_BLOCK, _BLOCKS = 2**20, 64
"""Of a sampled file larger than all blocks so many blocks are read, evenly spread, the first and last among them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What stands for some files.

    Attributes:
        digest: 16 hex digits: of names and contents, or of names, sizes and the contents of a sample.
        files: How many files there are.
        size: Their bytes; None where nobody has looked at each.
        read: How many of them the digest has seen from within.
    """

    digest: str
    files: int
    size: int | None
    read: int

    @property
    def fingerprint(self) -> str:
        """What goes into fingerprints: a sample never equals a whole."""
        return f"{'contents' if self.read == self.files else 'sample'}:{self.digest}"

    def __str__(self) -> str:
        amount = f"{self.files:,} file{'' if self.files == 1 else 's'}"
        amount += "" if self.size is None else f", {self.size / 1e6:,.1f} MB"
        if self.read == self.files:
            return f"{self.fingerprint} ({amount})"
        seen = "names" if self.size is None else "names, sizes"
        return f"{self.fingerprint} ({amount}; too many to read: {seen} and the contents of {self.read:,})"


def fingerprints(contents: Mapping[str, Contents]) -> tuple[str, ...]:
    """What fingerprints of results hold of data on disk: where the data have their names from is no content."""
    return tuple(one.fingerprint for one in contents.values())


def described(contents: Mapping[str, Contents]) -> dict[str, str]:
    """The same in words, by the names of the data, for records of results."""
    return {name: str(one) for name, one in contents.items()}


def folder_contents(root: Path, folders: Iterable[Path] | None = None, always: Iterable[Path] = ()) -> Contents:
    """What stands for the files in and below folders; what counts among them says `walk`.

    Args:
        root: The folder that the user named; where it lies does not matter.
        folders: Folders below it that count; None = all that is there.
        always: Further files, which are read whole however many others there are.

    Raises:
        DataError: There is no file, or one cannot be read.
    """
    found: dict[str, State] = {}
    for folder in (root,) if folders is None else folders:
        start = os.path.relpath(folder, root)
        for name, _ in walk(folder, endings=("",)).files:
            found[os.path.normpath(os.path.join(start, name))] = state_of(os.stat(folder / name))
    whole = {os.path.relpath(path, root) for path in always}
    for name in sorted(whole - found.keys()):
        found[name] = state_of(os.stat(root / name))
    if not found:
        raise DataError(f"{root} holds no file.", "Give the folder that holds the data.")
    held, blocks = _held(root, found, whole)
    digest = hashlib.sha256()
    for name in sorted(found):
        outside = name.startswith(f"{os.pardir}/")  # a file beside the root has its own name alone
        digest.update(_line(os.path.basename(name) if outside else name, held[name]))
    size = sum(state[0] for state in found.values())
    read = sum(len(one) == _DIGITS for one in held.values()) - blocks
    return Contents(digest=digest.hexdigest()[:16], files=len(found), size=size, read=read)


def listed_contents(root: Path, names: Iterable[str], *, count: int | None = None, named: bool = True) -> Contents:
    """What stands for files that a list names below a root.

    Files that are missing stand for themselves by that: who reads them says what is wrong.

    Args:
        root: Folder that names are relative to.
        names: All of them, or a sample where there are more than `MOST_FILES`.
        count: How many there are in all; None = no more than were named.
        named: Whether the names belong to the content; without them, their order does.

    Raises:
        DataError: A file cannot be read.
    """
    listed = sorted(set(names)) if named else list(names)
    found: dict[str, State] = {}
    for name in listed:
        with contextlib.suppress(OSError):
            found[name] = state_of(os.stat(root / name))
    held, blocks = _held(root, found, frozenset())
    digest = hashlib.sha256()
    for name in listed:
        digest.update(_line(name if named else "", held.get(name, "missing")))
    unread = blocks + sum(len(one) < _DIGITS for one in held.values()) + (0 if count is None else count - len(listed))
    size = sum(state[0] for state in found.values())
    return Contents(
        digest=digest.hexdigest()[:16],
        files=len(listed) if count is None else count,
        size=size if count is None else None,
        read=(len(listed) if count is None else count) - unread,
    )


def path_contents(path: Path) -> Contents:
    """What stands for one file, or for all files of a folder.

    Raises:
        DataError: It cannot be read.
    """
    path = path.absolute()
    if path.is_dir():
        return folder_contents(path)
    (digest,) = file_hashes(path.parent, [path.name]).values()
    return Contents(digest=digest.hex()[:16], files=1, size=path.stat().st_size, read=1)


def _held(root: Path, found: Mapping[str, State], whole: Collection[str]) -> tuple[dict[str, str], int]:
    """What each file holds: its hash, or its size where it is not read; and of how many only blocks were read."""
    size = sum(state[0] for state in found.values())
    if len(found) <= MOST_FILES and size <= MOST_BYTES:
        return {name: value.hex() for name, value in known_hashes(root, found).items()}, 0
    sample = {*_sample(list(found)), *whole}
    huge = {name for name in sample if name not in whole and found[name][0] > _BLOCK * _BLOCKS}
    held = {name: str(state[0]) for name, state in found.items()}
    held |= {name: _blocks(root / name, found[name][0]) for name in sorted(huge)}
    held |= {
        name: value.hex() for name, value in known_hashes(root, {one: found[one] for one in sample - huge}).items()
    }
    return held, len(huge)


def _line(name: str, held: str) -> bytes:
    return os.fsencode(name) + b"\0" + held.encode() + b"\n"


def _sample(names: Sequence[str]) -> list[str]:
    """Names with the smallest hashes: the same ones on every machine, and nearly the same when files come or go."""
    return sorted(names, key=lambda name: hashlib.sha256(os.fsencode(name)).digest())[:SAMPLE]


def _blocks(path: Path, size: int) -> str:
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb", buffering=0) as file:
        for number in range(_BLOCKS):
            file.seek((size - _BLOCK) * number // (_BLOCKS - 1))
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()
