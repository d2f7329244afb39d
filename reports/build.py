"""The report of a workspace: which tables and figures it has, and the files they are written to."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hcbench.errors import ConfigError, HcbenchError, did_you_mean
from hcbench.reports.comparisons import Analysis, analyse
from hcbench.reports.curves import comparison_tables
from hcbench.reports.ledger import cost_table
from hcbench.reports.render_csv import render_csv
from hcbench.reports.render_html import render_html
from hcbench.reports.render_latex import render_latex
from hcbench.reports.render_markdown import render_markdown_report
from hcbench.reports.render_terminal import print_tables
from hcbench.reports.results import Results
from hcbench.reports.statistics import BOTH
from hcbench.reports.table import Table
from hcbench.reports.tables import bar_table, by_benchmark, detail_table, failure_table, main_table, rank_table

if TYPE_CHECKING:
    from rich.console import Console

FORMATS = ("terminal", "md", "csv", "tex", "png", "svg", "html")
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
        texts: The document by format (`md`, `csv`, `tex`, `html`), for the formats that were asked for.
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
    results: Results, *, formats: Sequence[str], out: Path | None = None, compare: Sequence[str] = ()
) -> Report:
    """Tables, figures and files of everything that was measured.

    Args:
        results: What the store holds.
        formats: Any of `FORMATS`; `terminal` writes nothing (see `print_report`).
        out: Folder that `report.md`, `report.csv`, `report.tex`, `report.html` and `figures/` are written to; made
            where it does not exist. Without it the texts are only in `Report.texts`.
        compare: Dimensions to show side by side: `budget`, `backbone` or a setting that was swept (`lambda`).
            Budgets are compared unasked where there are several.

    Raises:
        ConfigError: A format or dimension is unknown, or figures have no folder to go to.
        ReportError: There is nothing to report.
    """
    for name in formats:
        if name not in FORMATS:
            raise ConfigError(f"{name!r} is no report format.", did_you_mean(name, FORMATS))
    pictures = [name for name in formats if name in ("png", "svg")]
    if pictures and out is None:
        raise ConfigError(f"The format {pictures[0]} needs a folder to write to.", "Name one with --out.")
    analysis = _analysed(results)
    tables, remarks = _tables(analysis, compare), _remarks(analysis)
    footer = dict(analysis.arranged.footer)
    figures = _draw(analysis) if pictures or "html" in formats else {}
    files: list[Path] = []
    images: list[str] = []
    if out is not None:
        files += [
            _write(out / "figures" / f"{name}.{form}", figure(form))
            for name, figure in figures.items()
            for form in pictures
        ]
        images += [path.relative_to(out).as_posix() for path in files if path.suffix == f".{pictures[0]}"]
    texts = _texts(formats, remarks, tables, footer, images)
    if "html" in formats:
        texts["html"] = render_html(TITLE, remarks, tables, {k: figure("svg") for k, figure in figures.items()}, footer)
    if out is not None:
        files += [_write(out / f"report.{name}", text.encode()) for name, text in texts.items()]
    return Report(
        tables=tuple(tables),
        remarks=tuple(remarks),
        texts=texts,
        files=tuple(files),
        partial=analysis.arranged.unfinished > 0,
        footer=footer,
    )


def print_report(results: Results, console: Console, *, compare: Sequence[str] = (), full: bool = False) -> None:
    """Print the comparison to a terminal.

    Args:
        results: What the store holds.
        console: A rich console.
        compare: Dimensions to show side by side, as for `build_report`.
        full: Every table of the report; else scores, the bar, comparisons and what was not done.

    Raises:
        ConfigError: A dimension is unknown.
        ReportError: There is nothing to report.
    """
    analysis = _analysed(results)
    for remark in _remarks(analysis):
        console.print(remark, style="yellow", markup=False, highlight=False)
    print_tables(_tables(analysis, compare, full=full), console)
    footer = analysis.arranged.footer
    if footer:
        line = " · ".join(f"{key} {value}" for key, value in footer.items())
        console.print(line, style="dim", markup=False, highlight=False)


def _analysed(results: Results) -> Analysis:
    if results.cells.empty:
        raise ReportError(
            "There is nothing to report: the store holds no cells.", "Start with `hcbench run --methods ...`."
        )
    return analyse(results)


def _tables(analysis: Analysis, compare: Sequence[str], *, full: bool = True) -> list[Table]:
    """The tables in order of reading: scores, bar, curves, then (if `full`) ranks, details and cost; failures last."""
    budgets = analysis.arranged.budgets
    tables: list[Table] = []
    if analysis.arranged.metrics:
        for budget in budgets:
            tables.append(main_table(analysis, budget))
            kinds = {row.control for row in analysis.arranged.at(budget)}
            tables += [bar_table(analysis, budget)] if kinds == {True, False} else []
        names = [*(["budget"] if len(budgets) > 1 else []), *(name for name in compare if name != "budget")]
        if "budget" in compare and len(budgets) == 1:
            names.insert(0, "budget")  # asked for and impossible: let the error say so
        for name in names:
            tables += comparison_tables(analysis, name)
    if full and analysis.arranged.metrics:
        for budget in budgets:
            tables.append(main_table(analysis, budget, every_group=True))
            if any(estimate.kind == BOTH for estimate in analysis.estimates.values()):
                tables.append(rank_table(analysis, budget))
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
    if arranged.common:
        listing = ", ".join(f"{key}={value}" for key, value in arranged.common)
        remarks.append(f"Every row differs from the defaults in {listing}.")
    if not arranged.metrics:
        remarks.append("No evaluation has been run yet.")
    return remarks


def _texts(
    formats: Sequence[str],
    remarks: Sequence[str],
    tables: Sequence[Table],
    footer: Mapping[str, str],
    images: Sequence[str],
) -> dict[str, str]:
    """The documents that are made of tables alone."""
    texts = {}
    if "md" in formats:
        texts["md"] = render_markdown_report(TITLE, remarks, tables, images, footer)
    if "csv" in formats:
        texts["csv"] = render_csv(tables)
    if "tex" in formats:
        comments = [*remarks, *(f"{key} {value}" for key, value in footer.items())]
        lines = [f"% {' '.join(comment.split())}" for comment in comments]
        texts["tex"] = "\n".join([*lines, *(render_latex(table) for table in tables)])
    return texts


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
