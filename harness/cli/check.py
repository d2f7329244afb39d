"""`hcbench check`: the contract's checks on methods and benchmarks, one line each."""

from __future__ import annotations

import logging
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.text import Text

from hcbench.benchmarks.card import TaskCard
from hcbench.harness.cli.plan import counted
from hcbench.harness.jobs.worker_process import worker_environment
from hcbench.harness.planning.registry import ALIASES, Registry
from hcbench.methods.card import MethodCard

if TYPE_CHECKING:
    from hcbench.harness.contract.contract import CheckResult

logger = logging.getLogger(__name__)


class Promise(Protocol):
    """A check as its line shows it."""

    @property
    def promise(self) -> str:
        """What is promised, in words."""


class Shown(Protocol):
    """How a check ended, whatever was checked."""

    @property
    def check(self) -> Promise:
        """The promise."""

    @property
    def status(self) -> str:
        """One of ok, failed, skipped."""

    @property
    def note(self) -> str:
        """A note, or what was found."""

    @property
    def hint(self) -> str:
        """What to do next."""

    @property
    def seconds(self) -> float:
        """How long it took."""


ALL = "all"
_STYLES = {"ok": "green", "failed": "bold red", "skipped": "yellow"}


def chosen(registry: Registry, words: Sequence[str], plugins: Sequence[Path]) -> list[MethodCard]:
    """The methods that are to be checked: those named, else those of the plugins, else all.

    Raises:
        ConfigError: No such method.
    """
    if words and ALL not in words:
        return list({card.name: card for card in map(registry.method, words)}.values())
    own = methods_of(registry, plugins)
    return own if own and not words else list(registry.methods.values())


def methods_of(registry: Registry, plugins: Sequence[Path]) -> list[MethodCard]:
    """The methods that plug-in files hold."""
    files = {str(path.expanduser().resolve()) for path in plugins}
    return [card for name, card in registry.methods.items() if registry.origins.get(f"methods:{name}") in files]


def check_methods(
    console: Console, registry: Registry, cards: Sequence[MethodCard], sets: Sequence[str], backbone: str | None
) -> bool:
    """Run every check on every method, printing as they end; gives whether none failed.

    Raises:
        ConfigError: A setting or backbone does not exist.
    """
    _calm_threads()
    from hcbench.harness.contract.contract import card_problem, examine
    from hcbench.harness.contract.method_under_test import MethodUnderTest, trial_cell

    # A card that is broken would break the settings of all.
    problems = {name: problem for name, card in registry.methods.items() if (problem := card_problem(card))}
    sound = replace(registry, methods={name: card for name, card in registry.methods.items() if name not in problems})
    cells = {card.name: trial_cell(card, sound, sets, backbone) for card in cards if card.name not in problems}
    results: dict[str, list[CheckResult]] = {}
    for card in cards:
        several = results.setdefault(card.name, [])
        console.print(Text(card.name, style="bold"), end="" if card.name in cells else "\n")
        if card.name in problems:
            several.append(problems[card.name])
            show_result(console, problems[card.name])
            continue
        with tempfile.TemporaryDirectory(prefix="hcbench-check-") as folder:
            tested = MethodUnderTest(card, cells[card.name], Path(folder))
            console.print(Text(f"  {tested.setting}", style="dim"), soft_wrap=True)
            with _quiet_methods():
                for result in examine(tested):
                    several.append(result)
                    show_result(console, result)
    return conclude(console, results)


def chosen_benchmarks(
    registry: Registry, words: Sequence[str], plugins: Sequence[Path]
) -> tuple[list[TaskCard], tuple[str, ...]]:
    """The benchmarks that are to be checked, those named or else those of plug-ins, and the words that name none."""
    if words:
        plain = {word: ALIASES.get(word, word.replace("_", "-")) for word in words if word not in registry.methods}
        named = {word: name for word, name in plain.items() if name in registry.benchmarks}
        rest = tuple(word for word in words if word not in named)
        return [registry.benchmarks[name] for name in dict.fromkeys(named.values())], rest
    files = {str(path.expanduser().resolve()) for path in plugins}
    origins = registry.origins
    return [card for name, card in registry.benchmarks.items() if origins.get(f"benchmarks:{name}") in files], ()


def check_benchmarks(console: Console, cards: Sequence[TaskCard], roots: Mapping[str, str]) -> bool:
    """Run every check on every benchmark, printing as they end; gives whether none failed.

    Args:
        console: Where it is printed.
        cards: What is checked.
        roots: Where data sets lie, by name, for benchmarks that are not run on the embedded people.
    """
    _calm_threads()
    from hcbench.harness.contract.benchmark_contract import BenchmarkResult, examine
    from hcbench.harness.contract.benchmark_under_test import BenchmarkUnderTest

    results: dict[str, list[BenchmarkResult]] = {}
    for card in cards:
        with tempfile.TemporaryDirectory(prefix="hcbench-check-") as folder:
            tested = BenchmarkUnderTest(card, roots, Path(folder))
            console.print(Text(card.name, style="bold"), Text(f" {tested.setting}", style="dim"), soft_wrap=True)
            for result in examine(tested):
                results.setdefault(card.name, []).append(result)
                show_result(console, result)
    return conclude(console, results)


def _calm_threads() -> None:
    """Before torch is imported: threads that spin cost more than these small networks."""
    os.environ.update({name: value for name, value in worker_environment(1).items() if name not in os.environ})


@contextmanager
def _quiet_methods() -> Iterator[None]:
    """Without the methods' warnings, for which so few pictures give cause; `--debug` shows them."""
    methods = logging.getLogger("hcbench.methods")
    level = methods.level
    if not logger.isEnabledFor(logging.DEBUG):
        methods.setLevel(logging.ERROR)
    try:
        yield
    finally:
        methods.setLevel(level)


def show_result(console: Console, result: Shown) -> None:
    """The line of a check, and what is wrong below it."""
    seconds = "" if result.status == "skipped" else f"{result.seconds:.1f} s"
    note = "" if result.status == "failed" else result.note
    line = Text(f"  {result.status:8}", style=_STYLES[result.status])
    line.append(f"{result.check.promise:42}{seconds:>7}  ", style="default").append(note, style="dim")
    console.print(line, soft_wrap=True)
    if result.status == "failed":
        _explain(console, result.note, result.hint)


def _explain(console: Console, message: str, hint: str) -> None:
    for text in filter(None, (message, hint)):
        console.print(Text(f"          {text}"), soft_wrap=True)


def conclude(console: Console, results: Mapping[str, Sequence[Shown]]) -> bool:
    """How many checks ended how, and what has a broken promise."""
    told = Counter(result.status for several in results.values() for result in several)
    seconds = sum(result.seconds for several in results.values() for result in several)
    failed = [name for name, several in results.items() if any(result.status == "failed" for result in several)]
    console.print(f"Checks: {counted(told)}, in {seconds:.1f} s.")
    if failed:
        console.print(Text(f"The contract is broken by {', '.join(failed)}.", style=_STYLES["failed"]))
    return not failed
