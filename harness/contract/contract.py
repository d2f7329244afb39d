"""The contract of a method: the checks in order, and how they are run and told.

`hcbench check` shows them, `tests/methods/test_contract.py` runs them on every built-in. What is promised stands in
`contract_checks.py`. A check whose ground has failed is skipped: one mistake is told once.
"""

from __future__ import annotations

import inspect
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from hcbench.errors import HcbenchError
from hcbench.harness.contract.card import check_card
from hcbench.harness.contract.checks import (
    FALL_STEPS,
    Skipped,
    buildable_class,
    checkpoint_restores,
    collapse_shows,
    complete_card,
    complete_state,
    exact_resume,
    figures_are_pictures,
    finite_losses,
    first_line,
    gradients_arrive,
    loss_falls,
    odd_batches,
    same_seed,
    stages_and_optimisers,
    views_of_a_generator,
)
from hcbench.harness.contract.method_under_test import MethodUnderTest
from hcbench.harness.contract.stored_names import storable_names
from hcbench.methods.card import MethodCard

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Check:
    """A promise.

    Attributes:
        name: Short name.
        promise: What is promised, in words.
        test: Gives a note; raises where the promise is broken.
        needs: Checks without which this one says nothing.
        controls: Whether controls, which do not train, promise it too.
    """

    name: str
    promise: str
    test: Callable[[MethodUnderTest], str]
    needs: tuple[str, ...] = ()
    controls: bool = False


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How a check ended: ok, failed or skipped; a note or what was found, what to do next, seconds."""

    check: Check
    status: str
    note: str = ""
    hint: str = ""
    seconds: float = 0.0


def examine(tested: MethodUnderTest) -> Iterator[CheckResult]:
    """Every check in turn."""
    done: dict[str, CheckResult] = {}
    for check in CHECKS:
        done[check.name] = perform(tested, check, done)
        yield done[check.name]


def perform(tested: MethodUnderTest, check: Check, done: Mapping[str, CheckResult]) -> CheckResult:
    """One check, given how those before it ended."""
    if not check.controls and not tested.card.trains:
        return CheckResult(check, "skipped", "a control does not train")
    if check.name != "card" and tested.cell.skip:
        return CheckResult(check, "skipped", tested.cell.skip)
    broken = [name for name in check.needs if name in done and done[name].status != "ok"]
    broken = [name for name in broken if tested.card.trains or done[name].check.controls]
    if broken:
        return CheckResult(check, "skipped", f"needs {broken[0]}")
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
        status, note, hint = "failed", _told(error, tested), "--debug shows the whole traceback."
    return CheckResult(check, status, note, hint, time.perf_counter() - start)


def card_problem(card: MethodCard) -> CheckResult | None:
    """The result of the first check where it fails; settings cannot be read then, and no `MethodUnderTest` be made."""
    try:
        check_card(card)
    except HcbenchError as error:
        return CheckResult(CHECKS[0], "failed", error.message, error.hint)
    return None


CHECKS = (
    Check("card", "the card is complete", complete_card, controls=True),
    Check("class", "the class can be built", buildable_class, ("card",), controls=True),
    Check("stages", "stages and optimisers fit", stages_and_optimisers, ("class",)),
    Check("views", "views draw from their generator alone", views_of_a_generator, ("stages",)),
    Check("losses", "losses are finite", finite_losses, ("stages",)),
    Check("gradients", "gradients reach the backbone", gradients_arrive, ("losses",)),
    Check("falls", f"the loss falls in {FALL_STEPS} steps", loss_falls, ("losses",)),
    Check("seed", "same seed, same numbers", same_seed, ("losses",)),
    Check("batches", "odd batches work", odd_batches, ("losses",)),
    Check("state", "its state is complete", complete_state, ("losses",)),
    Check("resume", "an interrupted training goes on exactly", exact_resume, ("seed", "state")),
    Check("diagnostics", "a collapse would show in the log", collapse_shows, ("losses",)),
    Check("figures", "figures are pictures", figures_are_pictures, ("losses",)),
    Check("names", "what it logs can be stored by name", storable_names, ("losses",)),
    Check("checkpoint", "the encoder can be saved and loaded", checkpoint_restores, ("class", "losses"), controls=True),
)
"""All checks, in order."""


def _told(error: Exception, tested: MethodUnderTest) -> str:
    """An error of the method's own code, with its place there."""
    frames = traceback.extract_tb(error.__traceback__)
    try:
        own = inspect.getfile(tested.cls)
    except (TypeError, HcbenchError):
        own = ""
    frame = next((frame for frame in reversed(frames) if frame.filename == own), frames[-1])
    place = f"{frame.filename.rpartition('/')[2]}:{frame.lineno} in {frame.name}"
    notes = "".join(f", {note}" for note in getattr(error, "__notes__", ()))
    return f"{type(error).__name__}: {first_line(error)} ({place}{notes})"
