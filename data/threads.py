"""Many images at once."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

log = logging.getLogger(__name__)

_LOG_EVERY_S = 10.0


def in_threads(work: Callable[[Item], Result], jobs: Sequence[Item], what: str) -> Iterator[Result]:
    """Results in order; Pillow decodes outside the interpreter lock, so threads do run side by side."""
    started = logged = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, result in enumerate(pool.map(work, jobs), start=1):
            yield result
            if time.monotonic() - logged > _LOG_EVERY_S:
                logged = time.monotonic()
                log.info("read %d of %d %s, %.0f per second", done, len(jobs), what, done / (logged - started))
