"""The terminal of a command, its exit codes, and lists as they are typed."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

OK, SOME_FAILED, USAGE_ERROR, INTERRUPTED, CLOSED_PIPE = 0, 1, 2, 130, 141
"""Exit codes; 141 is what a shell says of a program that a closed pipe has ended."""

_WIDTH = 140
"""Columns of tables where there is no terminal."""


def console(*, stderr: bool = False) -> Console:
    """A console on standard output or error."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors="backslashreplace")  # names of files may hold what the terminal cannot write
    return Console(stderr=stderr, highlight=False, markup=False, width=None if stream.isatty() else _WIDTH)


def is_closed_pipe(error: BaseException) -> bool:
    """Whether nobody reads the output any more, as after `| head -1`; libraries turn this into an exit of their own."""
    return isinstance(error, BrokenPipeError) or (
        isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError)
    )


def let_go_of_output() -> None:
    """Write nothing more to standard output, so that its end tells of nothing either."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def words(text: str | None) -> tuple[str, ...]:
    """The words of a list with commas."""
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())
