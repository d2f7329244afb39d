"""From an exception to how a cell or an evaluation ended (`events.STATUSES`), and why in one line."""

from __future__ import annotations

import signal

from hcbench.errors import DivergedError, HcbenchError


class Interrupted(BaseException):
    """Somebody asked the process to stop; passes by every `except Exception`."""


def classify(error: BaseException) -> tuple[str, str]:
    """Status and reason.

    >>> classify(ValueError("no such thing"))
    ('failed', 'ValueError: no such thing')
    """
    if isinstance(error, Interrupted | KeyboardInterrupt):
        return "interrupted", "stopped on request"
    if isinstance(error, DivergedError):
        return "diverged", error.message
    if is_out_of_memory(error):
        return "out-of-memory", f"{first_line(error) or 'no memory left'}; run fewer --workers or smaller batches"
    if isinstance(error, HcbenchError):
        return "failed", error.message
    return "failed", f"{type(error).__name__}: {first_line(error)}".rstrip(": ")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's, the processor's in torch's words, or the GPU's."""
    words = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "allocate memory" in words)
    )


def first_line(error: BaseException) -> str:
    """The first line of an error's text, empty where it has none."""
    return next(iter(str(error).splitlines()), "")


def classify_exit(code: int) -> tuple[str, str]:
    """Status and reason of a process that ended without a word.

    >>> classify_exit(3)
    ('failed', 'its process ended with exit code 3')
    """
    if code == -signal.SIGKILL:
        return "out-of-memory", "its process was killed (signal 9), as the system does when memory runs out"
    if code < 0:
        return "failed", f"its process died of {signal.Signals(-code).name}"
    return "failed", f"its process ended with exit code {code}"
