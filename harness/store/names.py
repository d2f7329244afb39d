"""Names as the store takes them, and back: whatever a plug-in calls a metric, its result can be kept and shown.

MLflow takes letters, digits and `_ . - / : space`, at most 250 of them, and refuses names that are no plain path, since
some of its stores keep a file for each. Every other character is written `_x40_` (its code point, hexadecimal), as
Office Open XML does; sound names stay as they are. Of names that some store would mix up (`a` with `a/b`, `Acc` with
`acc`) the later ones are written so that it cannot.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import string
from collections.abc import Iterable, Mapping

LONGEST = 250
"""Characters of a name."""

_PLAIN = frozenset(string.ascii_letters + string.digits + "_.-/: ")
_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{2,6})_")
_KEPT = 180
"""Characters that stay of a name that is too long; a hash of the whole follows."""


def stored_names(names: Iterable[str]) -> dict[str, str]:
    """How each of several names of one run is stored; no two are stored alike, and `real_name` gives them back.

    >>> stored_names(["loss", "variance@1"])
    {'loss': 'loss', 'variance@1': 'variance_x40_1'}
    >>> stored_names(["a", "a/b", "A"])
    {'a': 'a', 'a/b': 'a_x2f_b', 'A': '_x41_'}
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    above: set[str] = set()
    for name in dict.fromkeys(names):
        stored = _stored(name, _PLAIN)
        if _clashes(stored, taken, above):
            stored = _stored(name, _PLAIN - {"/"})
        if _clashes(stored, taken, above):
            stored = _stored(name, _PLAIN - {"/"} - frozenset(string.ascii_uppercase))
        if _clashes(stored, taken, above):  # small letters after all: the first name had the large ones
            stored = _stored(name, _PLAIN - {"/"} - frozenset(string.ascii_letters))
        found[name] = stored
        taken.add(stored.lower())
        above |= set(_folders(stored.lower()))
    return found


def real_name(stored: str, shortened: Mapping[str, str] | None = None) -> str:
    """The name that was stored.

    Args:
        stored: As `stored_names` gave it.
        shortened: Whole names of those that were too long, which the run's facts hold.

    >>> real_name("train.main.variance_x40_1")
    'train.main.variance@1'
    """
    if shortened and stored in shortened:
        return shortened[stored]
    return _ESCAPE.sub(lambda found: _character(found[0], int(found[1], 16)), stored)


def shortened_names(names: Mapping[str, str]) -> dict[str, str]:
    """Those of `stored_names` that `real_name` cannot give back by itself: stored name to whole name."""
    return {stored: name for name, stored in names.items() if real_name(stored) != name}


def name_trouble(name: str) -> str:
    """Why a name cannot be stored as it is; empty where it can.

    >>> name_trouble("variance@1")
    "holds '@'"
    """
    if not name:
        return "is empty"
    if odd := sorted(set(name) - _PLAIN):
        return f"holds {', '.join(repr(one) for one in odd[:3])}"
    if len(name) > LONGEST:
        return f"has {len(name)} characters, more than {LONGEST}"
    if not _is_path(name):
        return "is no plain path"
    return ""


def clashing_names(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of names that a store on a file system mixes up: `Acc` and `acc`, `a` and `a/b`."""
    seen: dict[str, str] = {}
    found = []
    several = sorted(dict.fromkeys(names), key=len)
    for name in several:
        twin = next((seen[part] for part in (name.lower(), *_folders(name.lower())) if part in seen), None)
        if twin is not None:
            found.append((twin, name))
        seen.setdefault(name.lower(), name)
    return found


def _stored(name: str, plain: frozenset[str]) -> str:
    if not _is_path(name):
        plain -= {"/", "."}
    begins = {place for place in range(len(name)) if _looks_escaped(name, place, plain)}
    written = "".join(
        one if one in plain and place not in begins else f"_x{ord(one):02x}_" for place, one in enumerate(name)
    )
    written = written or "_x00_"
    if len(written) <= LONGEST:
        return written
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{written[:_KEPT]}...{digest}"


def _looks_escaped(name: str, place: int, plain: frozenset[str]) -> bool:
    """Whether an underscore would be read as the beginning of an escape, by itself or with the escape after it."""
    if name[place : place + 2] != "_x":
        return False
    for end in range(place + 2, place + 9):
        digits, following = name[place + 2 : end], name[end : end + 1]
        if len(digits) >= 2 and following and (following == "_" or following not in plain):
            return True
        if not following or following not in string.hexdigits:
            return False
    return False


def _clashes(stored: str, taken: set[str], above: set[str]) -> bool:
    name = stored.lower()
    return name in taken or name in above or any(folder in taken for folder in _folders(name))


def _folders(name: str) -> list[str]:
    """The paths above a name that is read as one."""
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _is_path(name: str) -> bool:
    plain = posixpath.normpath(name)
    return plain == name and plain != "." and not plain.startswith(("..", "/"))


def _character(written: str, code: int) -> str:
    if code == 0:
        return ""
    return chr(code) if code <= 0x10FFFF else written
