"""Tables as Markdown: what may be best **bold**, second <u>underlined</u>, footnotes as <sup>letters</sup>."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby

from hcbench.reports.render.signs import before, behind, bold, underlined
from hcbench.reports.render.table import Cell, Column, Table, TableRow, shown


def render_markdown(table: Table) -> str:
    """One table with its title, header sentences and footnotes."""
    titles = [f"{_escape(c.group)}: {_escape(c.title)}" if c.group else _escape(c.title) for c in table.columns]
    rules = [":--" if column.format == "text" else "--:" for column in table.columns]
    lines = [f"## {_escape(table.title)}", ""]
    lines += [*(f"- {_escape(line)}" for line in table.findings), ""] if table.findings else []
    lines += [*(_escape(line) for line in table.header), ""]
    lines += [_line([_escape(table.stub), *titles]), _line([":--", *rules])]
    for group, rows in groupby(table.rows, key=lambda row: row.group):
        if group:
            lines.append(_line([f"*{_escape(group)}*", *("" for _ in titles)]))
        for row in rows:
            cells = [_cell(cell, column) for cell, column in zip(row.cells, table.columns, strict=True)]
            lines.append(_line([_title(row) + _notes(row.notes), *cells]))
    if table.footnotes:
        lines += ["", *(f"- <sup>{mark}</sup> {_escape(text)}" for mark, text in table.footnotes.items())]
    return "\n".join(lines) + "\n"


def render_markdown_report(
    title: str, remarks: Sequence[str], tables: Sequence[Table], images: Sequence[str], footer: Mapping[str, str]
) -> str:
    """The whole report: title, remarks, tables, links to figures, versions."""
    parts = [f"# {_escape(title)}\n", *(f"**{_escape(remark)}**\n" for remark in remarks)]
    parts += [render_markdown(table) for table in tables]
    parts += [f"![{path}]({path})\n" for path in images]
    if footer:
        parts.append("---\n")
        parts.append(" · ".join(f"{_escape(key)} {_escape(value)}" for key, value in footer.items()) + "\n")
    return "\n".join(parts)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _title(row: TableRow) -> str:
    return f"{_escape(row.title)} *({_escape(row.label)})*" if row.label else _escape(row.title)


def _cell(cell: Cell, column: Column) -> str:
    text = _escape(shown(cell, column))
    if bold(cell):
        text = f"**{text}**"
    elif underlined(cell):
        text = f"<u>{text}</u>"
    return " ".join(filter(None, (before(cell), text, behind(cell)))) + _notes(cell.notes)


def _notes(notes: tuple[str, ...]) -> str:
    return f" <sup>{', '.join(notes)}</sup>" if notes else ""


def _escape(text: str) -> str:
    r"""Text that Markdown leaves alone, on one line.

    >>> _escape("a|b *c* <d>")
    'a\\|b \\*c\\* &lt;d>'
    """
    text = " ".join(text.split()).replace("<", "&lt;")
    return re.sub(r"([\\|*_`\[\]])", r"\\\1", text)
