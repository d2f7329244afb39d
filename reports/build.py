"""The report of a workspace: which tables and figures it has, and the files they are written to."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hcbench.errors import ConfigError, HcbenchError
from hcbench.reports.borrowed import BorrowedSpread, shipped
from hcbench.reports.comparisons import Analysis, analyse
from hcbench.reports.curves import comparison_tables
from hcbench.reports.formats import Document, Format, all_formats, find_formats
from hcbench.reports.ledger import cost_table
from hcbench.reports.render.table import Table
from hcbench.reports.render.terminal import print_tables
from hcbench.reports.results import Results
from hcbench.reports.tables import (
    bar_table,
    by_benchmark,
    detail_table,
    failure_table,
    group_table,
    main_table,
    rank_table,
)

if TYPE_CHECKING:
    from rich.console import Console

TITLE = "hcbench report"

log = logging.getLogger(__name__)


class ReportError(HcbenchError):
    """There is nothing to report, or it cannot be written."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a report holds.

    Attributes:
        tables: In order of reading.
        remarks: What the reader must know first: cells still to finish, failures, settings that differ from default.
        texts: The document by format (`md`, `csv`, `tex`, `html`), for the formats of text that were asked for.
        files: What was written, in order.
        partial: Whether cells or evaluations are still to finish.
        footer: Versions, commit, workspace.
    """

    tables: tuple[Table, ...]
    remarks: tuple[str, ...]
    texts: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    partial: bool = False
    footer: Mapping[str, str] = field(default_factory=dict)


def build_report(
    results: Results,
    *,
    formats: Sequence[str],
    out: Path | None = None,
    compare: Sequence[str] = (),
    further: Sequence[Format] = (),
    borrowed: Sequence[BorrowedSpread] | None = None,
) -> Report:
    """Tables, figures and files of everything that was measured.

    Args:
        results: What the store holds.
        formats: Names of formats (`hcbench.reports.formats`); `terminal` writes nothing (see `print_report`).
        out: Folder that documents (`report.md` ...) and `figures/` are written to; made where it does not exist.
            Without it the texts are only in `Report.texts`.
        compare: Dimensions to show side by side: `budget`, `backbone` or a setting that was swept (`lambda`).
            Budgets are compared unasked where there are several.
        further: Formats beside those of the package.
        borrowed: Seed spread that may stand for seeds that were not run; by default what comes with hcbench.

    Raises:
        ConfigError: A format or dimension is unknown, or a format has no folder to write to.
        ReportError: There is nothing to report.
    """
    chosen = find_formats(formats, further)
    needy = [one.name for one in chosen if one.needs_folder]
    if needy and out is None:
        raise ConfigError(f"The format {needy[0]} needs a folder to write to.", "Name one with --out.")
    analysis = _analysed(results, borrowed)
    tables, remarks = _tables(analysis, compare), _remarks(analysis)
    figures = _draw(analysis) if any(one.pictures or one.draws for one in chosen) else {}
    pictures = [one.suffix for one in chosen if one.pictures]
    files: list[Path] = []
    images: list[str] = []
    if out is not None:
        files += [
            _write(out / "figures" / f"{name}.{suffix}", figure(suffix))
            for name, figure in figures.items()
            for suffix in pictures
        ]
        images += [path.relative_to(out).as_posix() for path in files if path.suffix == f".{pictures[0]}"]
    document = Document(
        title=TITLE,
        remarks=tuple(remarks),
        tables=tuple(tables),
        images=tuple(images),
        figures=figures,
        footer=dict(analysis.arranged.footer),
    )
    texts: dict[str, str] = {}
    for one in all_formats(further).values():
        if one not in chosen or one.render is None:
            continue
        content = one.render(document)
        if isinstance(content, str):
            texts[one.name] = content
        if out is not None:
            files.append(
                _write(out / f"report.{one.suffix}", content.encode() if isinstance(content, str) else content)
            )
    return Report(
        tables=document.tables,
        remarks=document.remarks,
        texts=texts,
        files=tuple(files),
        partial=analysis.arranged.unfinished > 0,
        footer=document.footer,
    )


def print_report(
    results: Results,
    console: Console,
    *,
    compare: Sequence[str] = (),
    full: bool = False,
    only: tuple[Collection[str], Collection[str]] | None = None,
    borrowed: Sequence[BorrowedSpread] | None = None,
) -> None:
    """Print the comparison to a terminal.

    Args:
        results: What the store holds.
        console: A rich console.
        compare: Dimensions to show side by side, as for `build_report`.
        full: Every table of the report; else scores, comparisons and what was not done.
        only: Cells and evaluations to show; all others are judged with them, since no choice of what is shown may
            change a verdict.
        borrowed: As for `build_report`.

    Raises:
        ConfigError: A dimension is unknown.
        ReportError: There is nothing to report.
    """
    analysis = _analysed(results, borrowed)
    if only is not None:
        analysis = analysis.of_cells(*only)
    for remark in _remarks(analysis):
        console.print(remark, style="yellow", markup=False, highlight=False)
    print_tables(_tables(analysis, compare, full=full), console)
    footer = analysis.arranged.footer
    if footer:
        line = " · ".join(f"{key} {value}" for key, value in footer.items())
        console.print(line, style="dim", markup=False, highlight=False)


def _analysed(results: Results, borrowed: Sequence[BorrowedSpread] | None) -> Analysis:
    if results.cells.empty:
        raise ReportError(
            "There is nothing to report: the store holds no cells.", "Start with `hcbench run --methods ...`."
        )
    return analyse(results, shipped() if borrowed is None else borrowed)


def _tables(analysis: Analysis, compare: Sequence[str], *, full: bool = True) -> list[Table]:
    """The tables in order of reading: scores, curves, then (if `full`) groups, bar, ranks, details, cost; failures."""
    budgets = analysis.arranged.budgets
    tables: list[Table] = []
    if analysis.arranged.metrics:
        tables += [main_table(analysis, budget) for budget in budgets]
        names = [*(["budget"] if len(budgets) > 1 else []), *(name for name in compare if name != "budget")]
        if "budget" in compare and len(budgets) == 1:
            names.insert(0, "budget")  # asked for and impossible: let the error say so
        for name in names:
            tables += comparison_tables(analysis, name)
    if full and analysis.arranged.metrics:
        for budget in budgets:
            tables += [groups] if (groups := group_table(analysis, budget)) is not None else []
            kinds = {row.control for row in analysis.arranged.at(budget)}
            tables += [bar_table(analysis, budget)] if kinds == {True, False} else []
            tables += [rank_table(analysis, budget)] if analysis.views[budget].judged else []
            tables += [detail_table(analysis, metrics, budget) for metrics in by_benchmark(analysis)]
    if full:
        tables += [cost_table(analysis.arranged, budget) for budget in budgets]
    failures = failure_table(analysis)
    return tables + ([failures] if failures is not None else [])


def _remarks(analysis: Analysis) -> list[str]:
    arranged = analysis.arranged
    remarks = []
    if arranged.unfinished:
        remarks.append(f"Partial results: {arranged.unfinished} cells or evaluations are still to finish.")
    if arranged.failures:
        remarks.append(f"{len(arranged.failures)} cells or evaluations were not done; the last table says why.")
    if arranged.superseded:
        remarks.append(
            f"{arranged.superseded} older cells with the same settings (code or versions changed) are not shown."
        )
    if arranged.outdated:
        remarks.append(
            f"{arranged.outdated} evaluations by older versions of the benchmarks are not shown: newer ones are."
        )
    if analysis.hidden:
        remarks.append(
            f"{analysis.hidden} more rows of the store compete for best and are not shown; `hcbench report` shows all."
        )
    if arranged.common:
        listing = ", ".join(f"{key}={value}" for key, value in arranged.common)
        remarks.append(f"Every row differs from the defaults in {listing}.")
    if not arranged.metrics:
        remarks.append("No evaluation has been run yet.")
    return remarks


def _draw(analysis: Analysis) -> dict[str, Callable[[str], bytes]]:
    """Figures by name, each drawn once and given as bytes of a format."""
    from hcbench.reports.figures import draw_figures, figure_bytes  # matplotlib only where there are figures

    return {name: partial(figure_bytes, figure) for name, figure in draw_figures(analysis).items()}


def _write(path: Path, content: bytes) -> Path:
    """Write a file that is either complete or not there."""
    with _reporting(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    log.info("wrote %s", path)
    return path


@contextmanager
def _reporting(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ReportError(f"{path} cannot be written: {error}", "Name another folder with --out.") from error
