"""The formats of a report: what each makes of a document, and how one finds them by name.

A format is a `Format`; those of the package stand in `BUILT_IN`. Others come from whoever calls `build_report`: the
command line finds them in plugin files and under the entry point group `hcbench.report_formats`. One needs no more than

    CARD = Format(name="txt", suffix="txt", summary="Titles alone.", render=lambda document: document.title)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from hcbench.errors import ConfigError, did_you_mean
from hcbench.reports.render.html_page import render_html
from hcbench.reports.render.latex import render_latex
from hcbench.reports.render.markdown import render_markdown_report
from hcbench.reports.render.table import Table
from hcbench.reports.render.tidy_csv import render_csv


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A report before it has a format.

    Attributes:
        title: Heading.
        remarks: What the reader must know first.
        tables: In order of reading.
        images: Paths of the figures that are written beside the document, relative to it.
        figures: Figures by name; each is drawn as bytes of a format ("svg", "png"). Empty unless the format `draws`.
        footer: Versions, commit, workspace.
    """

    title: str
    remarks: tuple[str, ...]
    tables: tuple[Table, ...]
    images: tuple[str, ...] = ()
    figures: Mapping[str, Callable[[str], bytes]] = field(default_factory=dict)
    footer: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One format of a report.

    Attributes:
        name: What `--format` takes.
        summary: One sentence.
        suffix: Ending of its files, without the dot; "" where it writes none.
        render: The document in this format, written as `report.<suffix>`; None where there is no document: on the
            terminal, and where every figure is a file of its own.
        draws: Whether `render` wants `Document.figures`, which take seconds to draw.
        pictures: Whether every figure is written as `figures/<name>.<suffix>`, which matplotlib must know.
        needs_folder: Whether it is of no use without a folder to write to: pictures, bytes.
    """

    registry_kind: ClassVar[str] = "report_formats"
    """Under which a registry lists it."""

    name: str
    summary: str
    suffix: str
    render: Callable[[Document], str | bytes] | None = None
    draws: bool = False
    pictures: bool = False
    needs_folder: bool = False


def _markdown(document: Document) -> str:
    return render_markdown_report(document.title, document.remarks, document.tables, document.images, document.footer)


def _csv(document: Document) -> str:
    return render_csv(document.tables)


def _latex(document: Document) -> str:
    comments = [*document.remarks, *(f"{key} {value}" for key, value in document.footer.items())]
    lines = [f"% {' '.join(comment.split())}" for comment in comments]
    return "\n".join([*lines, *(render_latex(table) for table in document.tables)])


def _html(document: Document) -> str:
    figures = {name: figure("svg") for name, figure in document.figures.items()}
    return render_html(document.title, document.remarks, document.tables, figures, document.footer)


BUILT_IN = (
    Format(name="terminal", suffix="", summary="Tables on the screen; writes nothing."),
    Format(name="md", suffix="md", summary="Tables as Markdown, with links to figures.", render=_markdown),
    Format(name="csv", suffix="csv", summary="One tidy table, a line per number, at full precision.", render=_csv),
    Format(name="tex", suffix="tex", summary="Tables as LaTeX, to be included in a paper.", render=_latex),
    Format(name="png", suffix="png", summary="Figures as pixels.", pictures=True, needs_folder=True),
    Format(name="svg", suffix="svg", summary="Figures as curves.", pictures=True, needs_folder=True),
    Format(name="html", suffix="html", summary="One page with tables and figures inside.", render=_html, draws=True),
)
"""The formats of the package, in the order in which documents are made."""


def all_formats(further: Iterable[Format] = ()) -> dict[str, Format]:
    """Formats by name: those of the package, then `further` ones.

    Raises:
        ConfigError: Two share a name, or would write the same document.
    """
    known: dict[str, Format] = {}
    for one in (*BUILT_IN, *further):
        if one.name in known:
            raise ConfigError(f"Two report formats are called {one.name!r}.", "Give yours another name.")
        rival = next((own.name for own in known.values() if own.render and one.render and own.suffix == one.suffix), "")
        if rival:
            raise ConfigError(
                f"The report format {one.name!r} writes report.{one.suffix}, as {rival!r} does.",
                "Give it another suffix.",
            )
        known[one.name] = one
    return known


def find_formats(names: Iterable[str], further: Iterable[Format] = ()) -> list[Format]:
    """The formats of some names, in the order in which they were asked for.

    Raises:
        ConfigError: One of them is none; or as `all_formats`.
    """
    known = all_formats(further)
    names = list(dict.fromkeys(names))
    for name in names:
        if name not in known:
            raise ConfigError(f"{name!r} is no report format.", did_you_mean(name, known))
    return [known[name] for name in names]
