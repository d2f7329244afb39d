"""Going through a folder as its owner has it: links are entered, each folder once, and what is no data is counted.

Every listing of a data set goes through here. The rules:

- a name that begins with a dot, and what operating systems leave, is no data, whatever lies in it;
- folders and files that links lead to count like others, since people link their data sets; a folder is entered once,
  under its own path rather than a link's, and never one that the listed folder itself lies in;
- links that lead nowhere, what may not be read, sockets and pipes are left out and named;
- so are images whose names are not in UTF-8, which no table of results could hold (`LeftOut.refuse_names`).
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hcbench.data.files.left_out import AGAIN, CLOSED, ENCODING, ENDING, HIDDEN, NO_FILE, NOWHERE, SYSTEM, LeftOut
from hcbench.data.files.names import is_text
from hcbench.errors import DataError

_SYSTEM_NAMES = frozenset({
    ".ds_store", ".appledouble", ".localized", ".spotlight-v100", ".trashes", ".fseventsd", "icon\r",  # macOS
    "__macosx",
    "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "recycler", "system volume information",  # Windows
    "lost+found", "@eadir", "#recycle", "#snapshot", "@recycle", "@__thumb",  # file systems and network drives
})  # fmt: skip
_SYSTEM_START = "._"
_HIDDEN_START = "."

Identity = tuple[int, int] | str


@dataclass(slots=True)
class Walk:
    """What lies in a folder.

    Attributes:
        files: Paths below the folder, with forward slashes, and sizes in bytes (0 where nobody asked), in no order.
        stamps: Path of every folder that was looked into, or of what could not be, to its `stamp`: while these stay, so
            does the listing.
        left_out: What was left out.
    """

    files: list[tuple[str, int]] = field(default_factory=list)
    stamps: dict[str, str] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)


def is_system(name: str) -> bool:
    """Whether operating systems or archivers leave files or folders of this name."""
    return name.lower() in _SYSTEM_NAMES or name.startswith(_SYSTEM_START)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is no data: hidden, or left by an operating system or an archiver."""
    return name.startswith(_HIDDEN_START) or is_system(name)


def stamp(path: Path | str) -> str:
    """What is another after a folder's list of names, or a file, has changed, or a link to it leads elsewhere.

    Empty where there is nothing, or nothing that one may look at.
    """
    about = _look(str(path))
    readable = os.access(path, os.R_OK)
    return f"{about.st_mtime_ns} {about.st_ino} {'open' if readable else 'closed'}" if about else ""


def walk(folder: Path, *, endings: Sequence[str], deep: bool = True, sizes: bool = False) -> Walk:
    """All files with one of these endings, lower case, in any spelling.

    Args:
        folder: Where to look.
        endings: Each with its dot.
        deep: Whether to look further down, too.
        sizes: Whether to ask for sizes, which costs a look at each file.

    Raises:
        DataError: There is no such folder, or it may not be read.
    """
    found, wanted = Walk(), tuple(endings)
    seen = {_identity(str(folder), _stat(folder))}
    above = {_identity(str(one), about) for one in folder.resolve().parents if (about := _look(str(one)))}
    places: deque[tuple[str, str]] = deque([(str(folder), "")])
    links: deque[tuple[str, str]] = deque()
    while places or links:
        linked = not places  # a folder counts under its own path before it counts under a link's
        place, start = (links if linked else places).popleft()
        if start:
            about = _look(place)
            if about is None:
                found.left_out.add(CLOSED, start[:-1])
                continue
            own = _identity(place, about)
            if own in seen or (linked and own in above):
                found.left_out.add(AGAIN, start[:-1])
                continue
            seen.add(own)
        try:
            found.stamps[place] = stamp(place)
            with os.scandir(place) as listed:
                below = _take(found, listed, start, wanted, sizes=sizes)
        except OSError as error:
            if not start:
                raise DataError(f"{folder} cannot be listed: {error.strerror or error}.", "Change its permissions.") \
                    from error  # fmt: skip
            found.left_out.add(CLOSED, start[:-1])
            continue
        for name, path, is_link in sorted(below) if deep else ():
            (links if is_link else places).append((path, f"{start}{name}/"))
    return found


def _take(
    found: Walk, listed: Iterable[os.DirEntry[str]], start: str, wanted: tuple[str, ...], *, sizes: bool
) -> list[tuple[str, str, bool]]:
    """Put the entries of one folder where they belong; gives its folders: name, path and whether it is a link.

    There may be millions of entries, so nothing is kept of those that count.
    """
    below = []
    for entry in listed:
        name, kind = f"{start}{entry.name}", _kind(entry)
        if kind == "folder":
            below.append((entry.name, entry.path, entry.is_symlink()))
        elif kind != "file":
            found.left_out.add(kind, name)
            if kind in (NOWHERE, CLOSED):
                found.stamps[entry.path] = stamp(entry.path)
        elif not entry.name.lower().endswith(wanted):
            found.left_out.add(ENDING, name)
        elif not is_text(name):
            found.left_out.add(ENCODING, name)
        else:
            about = entry.stat() if sizes else None
            found.files.append((name, about.st_size if about else 0))
    return below


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted; hidden ones are none, and none is found in a folder that may not be read.

    Of a folder and links to it the folder counts, of several links the first; links to where the folder itself lies
    are left out.
    """
    try:
        entries = [entry for entry in _entries(folder) if _kind(entry) == "folder"]
    except DataError:
        return []
    seen = {_identity(str(one), about) for one in (folder, *folder.resolve().parents) if (about := _look(str(one)))}
    found = []
    for entry in sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name)):
        about = _look(entry.path)
        own = None if about is None else _identity(entry.path, about)
        if own is not None and own not in seen:
            seen.add(own)
            found.append(folder / entry.name)
    return sorted(found)


def names_in(folder: Path) -> list[str]:
    """Names of what lies in a folder, sorted, without what is hidden.

    Raises:
        DataError: The folder may not be read.
    """
    return sorted(entry.name for entry in _entries(folder) if not is_hidden(entry.name))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as listed:
            return list(listed)
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror or error}.", "Change its permissions.") from error


def _kind(entry: os.DirEntry[str]) -> str:
    """`file`, `folder`, or why an entry is left out."""
    if is_hidden(entry.name):
        return SYSTEM if is_system(entry.name) else HIDDEN
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        mode = entry.stat().st_mode
        return NO_FILE if not stat.S_ISLNK(mode) else NOWHERE
    except PermissionError:
        return CLOSED
    except OSError:  # the target is not there, or the links lead in a circle
        return NOWHERE


def _stat(folder: Path) -> os.stat_result:
    if not os.path.isdir(folder):
        raise DataError(f"{folder} is no folder.", "Check the dataset with `hcbench data verify`.")
    return folder.stat()


def _look(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _identity(path: str, about: os.stat_result) -> Identity:
    """What two paths to one folder share; some network drives number no files."""
    return (about.st_dev, about.st_ino) if about.st_ino else os.path.realpath(path)
