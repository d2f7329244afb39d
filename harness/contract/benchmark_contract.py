"""The contract of a benchmark: the checks in order, and how they are run and told.

`hcbench check NAME` shows them. What is promised stands in `benchmark_checks.py`. A check whose ground has failed is
skipped: one mistake is told once.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from hcbench.errors import HcbenchError
from hcbench.harness.contract import benchmark_checks as checks
from hcbench.harness.contract.benchmark_under_test import BenchmarkUnderTest
from hcbench.harness.contract.dataset_under_test import Skipped

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BenchmarkCheck:
    """A promise.

    Attributes:
        name: Short name.
        promise: What is promised, in words.
        test: Gives a note; raises where the promise is broken.
        needs: Checks without which this one says nothing.
    """

    name: str
    promise: str
    test: Callable[[BenchmarkUnderTest], str]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """How a check ended: ok, failed or skipped; a note or what was found, what to do next, seconds."""

    check: BenchmarkCheck
    status: str
    note: str = ""
    hint: str = ""
    seconds: float = 0.0


CHECKS = (
    BenchmarkCheck("card", "the card is complete", checks.complete_card),
    BenchmarkCheck("class", "every protocol has its class", checks.importable_classes, ("card",)),
    BenchmarkCheck("data", "its data know what it needs", checks.data_that_fit, ("class",)),
    BenchmarkCheck("works", "it fits, predicts and scores", checks.whole_evaluation, ("data",)),
    BenchmarkCheck("numbers", "scores are fractions, or NaN", checks.sound_numbers, ("works",)),
    BenchmarkCheck("stored", "scores can be stored, sample by sample", checks.storable_scores, ("works",)),
    BenchmarkCheck("replicates", "replicates have the right length", checks.right_replicates, ("works",)),
    BenchmarkCheck("labels", "predict keeps no label", checks.no_labels_in_predictions, ("works",)),
    BenchmarkCheck("same", "same inputs, same numbers", checks.same_twice, ("works",)),
    BenchmarkCheck("oracle", "the truth scores best", checks.oracle_is_best, ("works",)),
    BenchmarkCheck("blind", "equal features score worse than the truth", checks.blind_is_worse, ("works", "oracle")),
)
"""All checks, in order."""


def examine(tested: BenchmarkUnderTest) -> Iterator[BenchmarkResult]:
    """Every check in turn."""
    done: dict[str, BenchmarkResult] = {}
    for check in CHECKS:
        done[check.name] = _perform(tested, check, done)
        yield done[check.name]


def _perform(tested: BenchmarkUnderTest, check: BenchmarkCheck, done: Mapping[str, BenchmarkResult]) -> BenchmarkResult:
    if broken := [name for name in check.needs if name in done and done[name].status != "ok"]:
        return BenchmarkResult(check, "skipped", f"needs {broken[0]}")
    start = time.perf_counter()
    status, hint = "ok", ""
    try:
        note = check.test(tested)
    except Skipped as reason:
        status, note = "skipped", str(reason)
    except HcbenchError as error:
        status, note, hint = "failed", error.message, error.hint
    except Exception as error:  # the code under test may fail in any way; other checks may still say something
        logger.debug("%s: %s", tested.card.name, check.name, exc_info=True)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{frame.filename.rpartition('/')[2]}:{frame.lineno} in {frame.name}"
        status, note = "failed", f"{type(error).__name__}: {error} ({place})"
        hint = "--debug shows the whole traceback."
    return BenchmarkResult(check, status, note, hint, time.perf_counter() - start)
