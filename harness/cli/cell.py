"""Everything about one cell: settings, cost, scores, what validation chose, files, the end of its log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from hcbench.benchmarks.settings import EvaluateConfig
from hcbench.errors import CacheError
from hcbench.harness.cli.progress import STYLES
from hcbench.harness.cli.tables import plain_table
from hcbench.harness.jobs.atomic_files import read_json
from hcbench.harness.jobs.cell_folder import CHECKPOINT, FIGURES, LOG, RECORD
from hcbench.harness.store.import_cell import CONTENT
from hcbench.harness.store.long_facts import whole_items
from hcbench.harness.store.mlflow_store import CELL, EVALUATION, StoredRun, Tracker
from hcbench.harness.store.store_access import open_store

_LOG_LINES, _LOG_WIDTH = 15, 160


def show_cell(console: Console, name: str, workspace: Path, tracking_uri: str | None) -> None:
    """Print everything about the cell that `name` names.

    Raises:
        CacheError: There is no such cell, or several begin like this.
    """
    tracker = open_store(workspace, tracking_uri)
    cell = find_cell(tracker.records(CELL), name)
    made = f"{datetime.fromtimestamp(cell.created):%Y-%m-%d %H:%M:%S}"
    console.print(Text(f"{cell.name}  {cell.fingerprint}", style="bold"))
    reason = f": {cell.tags['reason']}" if cell.tags.get("reason") else ""
    console.print(Text(f"{cell.status}{reason} ({made})", style=STYLES.get(cell.status, "")), soft_wrap=True)
    if cell.damage:
        console.print(Text(f"Parts of it are cut: {cell.damage}", style="yellow"), soft_wrap=True)
    warnings, whole = whole_items(cell.tags.get("warnings", "[]"))
    for warning in [*warnings, *([] if whole else ["further warnings were cut by an older hcbench"])]:
        console.print(Text(f"warning: {warning}", style="yellow"), soft_wrap=True)
    if cell.tags.get("weights"):
        console.print(Text(cell.tags["weights"]), soft_wrap=True)
    _print_pairs(console, "Settings", cell.params)
    _print_pairs(console, "Data on disk", _below(CONTENT, cell.tags))
    _print_pairs(console, "Cost", _below("ledger.", cell.metrics))
    _print_pairs(console, "Diagnostics", _below("diagnostics.", cell.metrics))
    evaluations = [record for record in tracker.records(EVALUATION) if record.tags.get("cell") == cell.fingerprint]
    for record in evaluations:
        _print_evaluation(console, tracker, record)
    if not evaluations:
        console.print("\nNo evaluation yet.")
    folder = tracker.workspace.cell(cell.fingerprint)
    _print_files(console, tracker, cell, folder)


def find_cell(cells: Sequence[StoredRun], name: str) -> StoredRun:
    """The cell whose fingerprint begins with `name`, or whose title holds all words of `name`.

    Raises:
        CacheError: There is none, or several.
    """
    words = name.split()
    found = [record for record in cells if words and record.fingerprint.startswith(name)]
    found = found or [record for record in cells if words and set(words) <= set(record.name.split())]
    if len(found) == 1:
        return found[0]
    listing = "\n".join(f"  {one.fingerprint[:8]}  {one.name} {one.params['backbone']}" for one in found or cells)
    if found:
        raise CacheError(f"{len(found)} cells are called {name!r}.", f"Name one of them:\n{listing}")
    raise CacheError(f"No cell is called {name!r}.", f"There are:\n{listing}" if cells else "The store is empty.")


def _print_pairs(console: Console, title: str, values: Mapping[str, Any]) -> None:
    if not values:
        return
    console.print(Text(f"\n{title}", style="bold"))
    table = plain_table("", "")
    table.show_header = False
    for name, value in values.items():
        table.add_row(name, _number(value))
    console.print(table)


def _print_evaluation(console: Console, tracker: Tracker, record: StoredRun) -> None:
    params = record.params
    usual = {item.name for item in fields(EvaluateConfig)}
    knobs = [f"{name} {value}" for name, value in _below("evaluate.", params).items() if name not in usual]
    heading = [f"{params['benchmark']} {params['version']} on {params['data']}", params["protocol"], *knobs]
    if (split := params.get("split", "test")) != "test":
        heading.append(f"scored on {split}")
    title = f"\n{', '.join(heading)}"
    console.print(Text(title, style="bold") + Text(f"  {record.fingerprint[:8]}", style="dim"))
    if record.status != "done":
        console.print(Text(f"{record.status}: {record.tags.get('reason', '')}", style=STYLES.get(record.status, "")))
        return
    for data, told in _below(CONTENT, record.tags).items():
        console.print(f"{data}: {told}", soft_wrap=True)
    scores = ", ".join(f"{name} {value:.4f}" for name, value in record.metrics.items())
    console.print(f"scores (fractions): {scores}", soft_wrap=True)
    chosen, path = _chosen(console, tracker, record)
    trials = chosen.pop("trials", [])
    words = ", ".join(f"{name} {_number(value)}" for name, value in chosen.items())
    if words:
        console.print(f"chosen on validation: {words}", soft_wrap=True)
    if trials:
        console.print(Text(f"{len(trials)} trials behind it: {path}", style="dim"), soft_wrap=True)


def _chosen(console: Console, tracker: Tracker, record: StoredRun) -> tuple[dict[str, Any], Path | None]:
    """What validation chose, and the file that says it; where that is lost or damaged, this is shown in its place."""
    path = None
    try:
        path = tracker.artifact(record, RECORD)
        return ({} if path is None else dict(read_json(path)["chosen"])), path
    except CacheError as error:
        words = f"{error.message} {error.hint}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        words = f"{path} is damaged ({type(error).__name__}); compute it again with --fresh."
    console.print(Text(words, style="bold red"), soft_wrap=True)
    return {}, path


def _figures(console: Console, tracker: Tracker, cell: StoredRun) -> Path | None:
    try:
        return tracker.artifact(cell, FIGURES)
    except CacheError as error:
        console.print(Text(f"{error.message} {error.hint}", style="bold red"), soft_wrap=True)
        return None


def _print_files(console: Console, tracker: Tracker, cell: StoredRun, folder: Path) -> None:
    console.print(Text("\nFiles", style="bold"))
    console.print(f"run {cell.run}, artifacts {cell.location}", soft_wrap=True)
    for name in (CHECKPOINT, LOG):
        there = (folder / name).exists()
        console.print(f"{name}: {folder / name}" if there else f"{name}: not on this machine", soft_wrap=True)
    pictures = folder / FIGURES if (folder / FIGURES).is_dir() else _figures(console, tracker, cell)
    for path in sorted(pictures.glob("*.png")) if pictures else ():
        console.print(f"figure: {path}", soft_wrap=True)
    log = folder / LOG
    if log.is_file():
        console.print(Text("\nEnd of the log", style="bold"))
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]:
            console.print(Text(line if len(line) <= _LOG_WIDTH else line[: _LOG_WIDTH - 4] + " ..."), soft_wrap=True)


def _below(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.4g}"
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
