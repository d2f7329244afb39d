"""What stands for the data on disk that decide a result: their contents, wherever they lie and whatever their times.

A copy on another machine is the same data, and a file that was replaced is not, even by one of the same name, size and
time. What this does not notice, in one sentence: of a data set with more than 500,000 files or 32 GiB, an edit that
changes no name in a folder and touches none of the files in the sample (`--fresh` does not look further either).
"""

from __future__ import annotations

import hashlib
import heapq
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hcbench.data.files.hash_index import file_hashes, known_hashes, state_of
from hcbench.data.files.walk import walk
from hcbench.errors import DataError

MOST_FILES = 500_000
MOST_BYTES = 32 * 2**30
"""A set with more files or bytes than these is not read whole."""
SAMPLE = 4_096
"""Files of such a set that are looked into."""
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
    whole = {os.path.relpath(path, root) for path in always}
    names = {*whole}
    for folder in (root,) if folders is None else folders:
        start = os.path.relpath(folder, root)
        below = "" if start == os.curdir else f"{start}/"
        names.update(f"{below}{name}" for name, _ in walk(folder, endings=("",)).files)
    if not names:
        raise DataError(f"{root} holds no file.", "Give the folder that holds the data.")
    return _contents(root, sorted(names), whole)


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
    there = [name for name in listed if os.path.isfile(root / name)]
    found = _contents(root, there, (), named=named)
    digest = hashlib.sha256(found.digest.encode())
    for name in listed if named else ():
        digest.update(_line(name, ""))
    unseen = 0 if count is None else count - len(listed)
    return replace(
        found,
        digest=digest.hexdigest()[:16],
        files=len(listed) + unseen,
        size=found.size if count is None else None,
        read=found.read + len(listed) - len(there),
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


def _contents(root: Path, names: Sequence[str], whole: Collection[str], *, named: bool = True) -> Contents:
    """What stands for files in the order of their names, read whole where they are not too many."""
    if len(names) <= MOST_FILES:
        states = {name: state_of(os.stat(f"{root}/{name}")) for name in names}
        size = sum(state[0] for state in states.values())
        if size <= MOST_BYTES:
            held = known_hashes(root, states)
            digest = hashlib.sha256()
            for name in names:
                digest.update(_line(name if named else "", held[name].hex()))
            return Contents(digest=digest.hexdigest()[:16], files=len(names), size=size, read=len(names))
    return _sampled(root, names, whole, named=named)


def _sampled(root: Path, names: Sequence[str], whole: Collection[str], *, named: bool) -> Contents:
    """The same of too many files. There may be millions: nothing is kept of those that are not in the sample."""
    states = {name: state_of(os.stat(f"{root}/{name}")) for name in {*_sample(names), *whole}}
    huge = {name for name, state in states.items() if name not in whole and state[0] > _BLOCK * _BLOCKS}
    read = known_hashes(root, {name: state for name, state in states.items() if name not in huge})
    held = {name: value.hex() for name, value in read.items()}
    held |= {name: _blocks(root / name, states[name][0]) for name in sorted(huge)}
    digest, total = hashlib.sha256(), 0
    for name in names:
        size = os.stat(f"{root}/{name}").st_size
        total += size
        digest.update(_line(name if named else "", held.get(name) or str(size)))
    return Contents(digest=digest.hexdigest()[:16], files=len(names), size=total, read=len(read))


def _line(name: str, held: str) -> bytes:
    if name.startswith(f"{os.pardir}/"):  # a file beside the root has its own name alone
        name = os.path.basename(name)
    return os.fsencode(name) + b"\0" + held.encode() + b"\n"


def _sample(names: Sequence[str]) -> list[str]:
    """Names with the smallest hashes: the same ones on every machine, and nearly the same when files come or go."""
    return heapq.nsmallest(SAMPLE, names, key=lambda name: hashlib.sha256(os.fsencode(name)).digest())


def _blocks(path: Path, size: int) -> str:
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb", buffering=0) as file:
        for number in range(_BLOCKS):
            file.seek((size - _BLOCK) * number // (_BLOCKS - 1))
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()
