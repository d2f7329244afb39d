"""Seeds from names: every stream of random numbers is named by what it is for, and depends on no other."""

from __future__ import annotations

import hashlib

SEPARATOR = "\x1f"
"""Between names, which are text that people can read and so never hold it: ("a", "b") is not ("ab",)."""


def name_seed(*parts: object, separator: str = SEPARATOR) -> int:
    """A 63-bit seed by hashing names, so that streams never depend on each other's order.

    Args:
        parts: Names and numbers, taken as text.
        separator: Between the names. Another one gives other numbers: the heads of the benchmarks keep the "/" that
            their published numbers were made with.

    >>> name_seed("budget", 0) == name_seed("budget", 0) != name_seed("budget", 1)
    True
    """
    digest = hashlib.sha256(separator.join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
