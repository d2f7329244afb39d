"""What commands show of a workspace: how a run ended, reports."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from hcbench.errors import ConfigError, HcbenchError
from hcbench.harness.cli.console import OK, USAGE_ERROR
from hcbench.harness.cli.options import open_registry
from hcbench.harness.cli.plan import counted
from hcbench.harness.cli.progress import STYLES
from hcbench.harness.planning.cell import Matrix
from hcbench.harness.planning.registry import Registry
from hcbench.harness.running.run import RunOutcome
from hcbench.harness.store.results import tables
from hcbench.harness.store.store_access import open_store
from hcbench.reports.build import build_report, print_report
from hcbench.reports.comparisons import analyse
from hcbench.reports.formats import Format, find_formats
from hcbench.reports.measured_spread import spread_of, spread_text
from hcbench.reports.results import Results


def read_results(workspace: Path, tracking_uri: str | None, split: str = "test") -> Results:
    """Everything that was measured on a split, as reports want it."""
    return Results(**tables(open_store(workspace, tracking_uri), split)._asdict())


def show_outcome(
    console: Console, matrix: Matrix, outcome: RunOutcome, workspace: Path, tracking_uri: str | None
) -> None:
    """The comparison of a run that ended, what failed, and where everything is."""
    results = read_results(workspace, tracking_uri)
    cells = {cell.fingerprint for cell in matrix.cells}
    evaluations = {one.fingerprint for several in matrix.evaluations.values() for one in several}
    if results.cells["cell"].isin(cells).any() and results.scores["evaluation"].isin(evaluations).any():
        # All that is stored is judged, and a part of it shown: a row is marked alike here and in `hcbench report`.
        print_report(results, console, only=(cells, evaluations))
    for cell in matrix.cells:
        ended = outcome.cells.get(cell.fingerprint)
        if ended is not None and ended.status not in ("done", "skipped"):
            words = f"{cell.title} ({cell.fingerprint[:8]}) {ended.status}: {ended.reason}"
            console.print(Text(words, style=STYLES.get(ended.status, "")), soft_wrap=True)
    for aside in outcome.set_aside:
        console.print(Text(aside.told, style="bold red"), soft_wrap=True)
    told = Counter("cached" if one.cached else one.status for one in outcome.cells.values())
    kept_out = f" Set aside, not stored: {len(outcome.set_aside)}." if outcome.set_aside else ""
    console.print(f"Cells: {counted(told)}.{kept_out} Workspace: {workspace}", soft_wrap=True)
    named = "" if str(workspace) == "hcbench-runs" else f" --workspace {shlex.quote(str(workspace))}"
    uri = f" --tracking-uri {shlex.quote(tracking_uri)}" if tracking_uri else ""
    console.print(
        f"Next: hcbench report{named}{uri} · hcbench ui{named}{uri} · hcbench show CELL{named}{uri}", soft_wrap=True
    )


def show_report(
    console: Console,
    workspace: Path,
    tracking_uri: str | None,
    formats: Sequence[str],
    out: Path | None,
    compare: Sequence[str],
    *,
    trials: bool = False,
    plugins: list[Path] | None = None,
) -> None:
    """Print the report, write its files, or both; of what was scored on test, or of the trials of a search.

    Raises:
        ConfigError: No such format or dimension, or a plugin cannot be used.
    """
    further = plugged_formats(open_registry(plugins), formats)
    find_formats(formats, further)  # a wrong name is told of before the store is read
    results = read_results(workspace, tracking_uri, *(["val"] if trials else []))
    files = [name for name in formats if name != "terminal"]
    folder = out or workspace / "report" if files else None
    built = build_report(results, formats=formats, out=folder, compare=compare, further=further)
    if "terminal" in formats:
        print_report(results, console, compare=compare, full=True)
    for path in built.files:
        console.print(f"wrote {path}", soft_wrap=True)


def print_seed_spread(console: Console, workspace: Path) -> int:
    """Print the seed spread of a store as the file that others may borrow from; gives the exit code."""
    try:
        text = spread_text(spread_of(analyse(read_results(workspace, None))))
    except HcbenchError as error:
        console.print(str(error), style="red")
        return USAGE_ERROR
    console.print(text, end="", soft_wrap=True)
    return OK


def plugged_formats(registry: Registry, asked: Sequence[str] = ()) -> tuple[Format, ...]:
    """Report formats of plugins and of installed packages.

    Args:
        registry: Where they were found.
        asked: Names of formats that somebody wants.

    Raises:
        ConfigError: A registered thing is no `Format`, or one that is wanted cannot be loaded.
    """
    for name in asked:
        if reason := registry.broken.get(f"{Format.registry_kind}:{name}"):
            raise ConfigError(
                f"The report format {name!r} is installed but cannot be loaded: {reason}", "Mend its package."
            )
    found = []
    for name, card in registry.report_formats.items():
        if not isinstance(card, Format):
            raise ConfigError(
                f"The report format {name!r} of {registry.origins[f'{Format.registry_kind}:{name}']} is a "
                f"{type(card).__name__}.",
                "It must be a Format of hcbench.reports.formats.",
            )
        found.append(card)
    return tuple(found)
