"""Names that come from a file may not lead out of the folder that they are relative to.

A json, a list, a mat or a manifest names images below a root. Whoever wrote it may have meant another machine's
folders, or harm. The one rule, for every reader of names and for everything that is written by such a name:

1. **As written** a name is relative and stays below its root: no `/x.png`, no `C:/x.png`, no `a/../../x.png`, no
   backslashes that would do the same, nothing that is no text. `a/../b.png` stays below.
2. **On disk** it stays there, too, links followed. What the user links is the user's own statement where it is the
   root itself, or a folder right below it (`market1501/query -> /data/query`), unless that folder holds the root.
   A link of a single file or one further down may have come out of an archive: it is refused.

`HCBENCH_ALLOW_OUTSIDE=1` (and `--allow-outside` of `hcbench data verify` and `hcbench data prepare`) lifts both, for
reading alone. Folders that hcbench lists by itself (`walk`) are not concerned: there nobody but the disk names a file.
So manifests that `hcbench data prepare` has made of such folders, or of names that were looked at, say that links may
lead anywhere (`manifest.schema.LINKS_KEY`). The root that a manifest names is not held against anything: `hcbench data
verify` prints it. In packed manifests names open nothing.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from posixpath import normpath

from hcbench.data.files.names import is_text, shown
from hcbench.errors import DataError

ALLOW = "HCBENCH_ALLOW_OUTSIDE"
"""Environment variable: 1 = names may lead anywhere. Workers inherit it."""
HINT = (
    f"Mend the file. If you trust it, {ALLOW}=1 in the environment lets its names lead anywhere, as does "
    "--allow-outside of `hcbench data verify` and `hcbench data prepare`."
)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class OutsideError(DataError):
    """A name leads out of the folder that it is relative to."""


def is_allowed() -> bool:
    """Whether the user lets names lead anywhere."""
    return os.environ.get(ALLOW, "") not in ("", "0")


def why_outside(name: str) -> str:
    """Why a name, as written, is none of a file below its root; empty where it is one.

    >>> why_outside("a/../b.png"), why_outside("a/../../b.png"), why_outside("/b.png")
    ('', 'leads out of its folder', 'is absolute')
    """
    if unusable := _unusable(name):
        return unusable
    forward = name.replace("\\", "/")
    if forward.startswith("/"):
        return "is absolute"
    if _DRIVE.match(name):
        return "begins with a drive"
    plain = normpath(forward)
    if plain == ".." or plain.startswith("../"):
        return "leads out of its folder"
    return "is the folder itself" if plain == "." else ""


class UnderRoot:
    """Holds names against a folder; what is known of its sub-folders is kept, so that many names cost little.

    Args:
        root: The folder that names are relative to.
        links: Whether links may lead anywhere: somebody has looked at them already.
    """

    def __init__(self, root: Path, *, links: bool = False) -> None:
        self.root, self._links = root, links
        self._real = os.path.realpath(root)
        self._folders: dict[str, str] = {}
        self._linked: dict[str, str] = {}

    def why(self, name: str) -> str:
        """Why a name leads out of the root, as written or on disk; empty where it does not, or may."""
        if unusable := _unusable(name):
            return unusable
        return "" if is_allowed() else why_outside(name) or ("" if self._links else self._why_on_disk(name))

    def check(self, name: str, called: str) -> None:
        """Refuse a name that leads out of the root.

        Args:
            name: The name.
            called: What an error says before the name: file, row, and "names" or the like.

        Raises:
            OutsideError: It does.
        """
        if why := self.why(name):
            raise OutsideError(f"{called} {_quoted(name)}, which {why}.", _hint(self.root))

    def _why_on_disk(self, name: str) -> str:
        folder, _, file = str(name).rpartition("/")
        real = self._folder(folder)
        path = os.path.join(real, file)
        try:
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                path = os.path.realpath(path)
                mode = os.stat(path).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                return "is a pipe, a socket or a device"
        except (OSError, ValueError):
            return ""  # it is not there, which its reader tells in words of its own
        if _is_below(path, self._real):
            return ""
        first, slash, _ = name.partition("/")
        if slash and (target := self._linked_folder(first)) and _is_below(path, target):
            return ""
        return f"is a link that leads out of its folder, to {shown(path)}"

    def _folder(self, folder: str) -> str:
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(os.path.join(self.root, folder))
        return self._folders[folder]

    def _linked_folder(self, first: str) -> str:
        """Where a folder right below the root really lies, if it is a link that the user may have made."""
        if first not in self._linked:
            path = os.path.join(self.root, first)
            real = os.path.realpath(path) if os.path.islink(path) and os.path.isdir(path) else ""
            self._linked[first] = "" if real and _is_below(self._real, real) else real
        return self._linked[first]


def check_names(root: Path, names: Iterable[str], called: Callable[[int], str]) -> None:
    """Refuse names that lead out of a folder.

    Args:
        root: The folder that they are relative to.
        names: The names, in the order of the file that they come from.
        called: What an error says before the name of a place in this order, from 0: file, row, and "names" or the like.

    Raises:
        OutsideError: The first such name with its row, and how many more there are.
    """
    inside = UnderRoot(root)
    wrong = [(place, name, why) for place, name in enumerate(names) if (why := inside.why(name))]
    if wrong:
        place, name, why = wrong[0]
        more = f" {len(wrong) - 1} names more are like that." if len(wrong) > 1 else ""
        raise OutsideError(f"{called(place)} {_quoted(name)}, which {why}.{more}", _hint(root))


def _hint(root: Path) -> str:
    return f"Expected a path below {shown(root.name)}/ ({shown(str(root))}). {HINT}"


def _unusable(name: str) -> str:
    """Why a name can be no file's on any system; empty where it can."""
    if not name or "\0" in name:
        return "is no name of a file"
    return "" if is_text(name) else "is not in UTF-8"


def _quoted(name: str) -> str:
    """A name in quotation marks, on one line."""
    return f"'{shown(name)}'"


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
