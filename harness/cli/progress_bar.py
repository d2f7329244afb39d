"""How far long work is, for commands that do one thing after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

_LINE_EVERY_S: Final = 15.0


@contextmanager
def bar(console: Console, what: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar in a terminal, a line now and then elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    if not console.is_terminal:
        last = [time.monotonic()]

        def line(done: int, total: int, more: str) -> None:
            if time.monotonic() - last[0] > _LINE_EVERY_S:
                last[0] = time.monotonic()
                console.print(f"{what}: {done:,} of {total:,} {more}".rstrip(), soft_wrap=True)

        yield line
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[more]}"))
    with Progress(*columns, console=console) as shown:
        task = shown.add_task(what, total=None, more="")
        yield lambda done, total, more: shown.update(task, completed=done, total=total, more=more)
