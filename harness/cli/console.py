"""The terminal of a command, its exit codes, and lists as they are typed."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

OK, SOME_FAILED, USAGE_ERROR, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""

_WIDTH = 140
"""Columns of tables where there is no terminal."""


def console(*, stderr: bool = False) -> Console:
    """A console on standard output or error."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors="backslashreplace")  # names of files may hold what the terminal cannot write
    return Console(stderr=stderr, highlight=False, markup=False, width=None if stream.isatty() else _WIDTH)


def words(text: str | None) -> tuple[str, ...]:
    """The words of a list with commas."""
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())
