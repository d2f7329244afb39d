"""The contract of a data set: the checks in order, and how they are run and told.

`hcbench check NAME --data NAME=ROOT` shows them. What is promised stands in `dataset_checks.py`. A check whose ground
has failed is skipped: one mistake is told once.
"""

from __future__ import annotations

import inspect
import logging
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hcbench.errors import HcbenchError
from hcbench.harness.contract import dataset_checks as checks
from hcbench.harness.contract.dataset_under_test import DatasetUnderTest, Skipped

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DatasetCheck:
    """A promise.

    Attributes:
        name: Short name.
        promise: What is promised, in words.
        test: Gives a note; raises where the promise is broken.
        needs: Checks without which this one says nothing.
        files: Whether it needs a copy of the data set.
    """

    name: str
    promise: str
    test: Callable[[DatasetUnderTest], str]
    needs: tuple[str, ...] = ()
    files: bool = True


@dataclass(frozen=True, slots=True)
class DatasetResult:
    """How a check ended: ok, failed or skipped; a note or what was found, what to do next, seconds."""

    check: DatasetCheck
    status: str
    note: str = ""
    hint: str = ""
    seconds: float = 0.0


CHECKS = (
    DatasetCheck("card", "the card is complete", checks.complete_card, files=False),
    DatasetCheck("splits", "every split loads", checks.loaded_splits, ("card",)),
    DatasetCheck("images", "images are uint8 (N, 3, H, W)", checks.images_of_the_size, ("splits",)),
    DatasetCheck("ids", "ids are unique texts", checks.unique_ids, ("splits",)),
    DatasetCheck("fields", "fields of the card are there", checks.declared_fields, ("splits",)),
    DatasetCheck("shapes", "fields have their type and shape", checks.fields_as_promised, ("splits",)),
    DatasetCheck("apart", "splits share no image and no person", checks.apart, ("images", "ids", "shapes")),
    DatasetCheck("same", "same call, same fingerprint", checks.same_again, ("splits",)),
    DatasetCheck("empty", "an empty folder is refused", checks.refuses_nothing, ("splits",)),
    DatasetCheck("verify", "verify looks and writes nothing", checks.verify_only_looks, ("card",)),
    DatasetCheck("crops", "crops to pre-train on are counted", checks.crops_as_counted, ("splits",)),
)
"""All checks, in order."""


def examine(tested: DatasetUnderTest) -> Iterator[DatasetResult]:
    """Every check in turn."""
    done: dict[str, DatasetResult] = {}
    for check in CHECKS:
        done[check.name] = _perform(tested, check, done)
        yield done[check.name]


def _perform(tested: DatasetUnderTest, check: DatasetCheck, done: dict[str, DatasetResult]) -> DatasetResult:
    if check.files and tested.root is None:
        return DatasetResult(check, "skipped", f"needs its files: --data {tested.data_set.name}=ROOT")
    if broken := [name for name in check.needs if done[name].status != "ok"]:
        return DatasetResult(check, "skipped", f"needs {broken[0]}")
    start = time.perf_counter()
    status, hint = "ok", ""
    try:
        note = check.test(tested)
    except Skipped as reason:
        status, note = "skipped", str(reason)
    except HcbenchError as error:
        status, note, hint = "failed", error.message, error.hint
    except Exception as error:  # the code under test may fail in any way; other checks may still say something
        logger.debug("%s: %s", tested.data_set.name, check.name, exc_info=True)
        frames = traceback.extract_tb(error.__traceback__)
        load = tested.data_set.load
        own = inspect.getfile(load) if inspect.isroutine(load) else ""
        frame = next((one for one in reversed(frames) if one.filename == own), frames[-1])
        place = f"{frame.filename.rpartition('/')[2]}:{frame.lineno} in {frame.name}"
        status, note, hint = (
            "failed",
            f"{type(error).__name__}: {error} ({place})",
            "--debug shows the whole traceback.",
        )
    return DatasetResult(check, status, note, hint, time.perf_counter() - start)
