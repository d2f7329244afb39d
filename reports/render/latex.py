r"""Tables as LaTeX (`\usepackage{booktabs,amssymb}`): what may be best `\textbf`, second `\underline`, notes below."""

from __future__ import annotations

import re
from itertools import groupby

from hcbench.reports.render.signs import before, behind, bold, underlined
from hcbench.reports.render.table import Cell, Column, Table, TableRow, shown

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "–": "--",
    "↓": r"$\downarrow$",
    "λ": r"$\lambda$",
    "▲": r"$\blacktriangle$",
    "▼": r"$\blacktriangledown$",
    "△": r"$\vartriangle$",
    "▽": r"$\triangledown$",
    "★": r"$\bigstar$",
    "☆": r"$\star$",
    "○": r"$\circ$",
}
_PATTERN = re.compile("|".join(re.escape(character) for character in _SPECIAL))


def escape(text: str) -> str:
    r"""Text that LaTeX prints as it stands.

    >>> escape("50 % of a_b & c")
    '50 \\% of a\\_b \\& c'
    """
    return _PATTERN.sub(lambda found: _SPECIAL[found.group()], text)


def render_latex(table: Table) -> str:
    """A `table` environment with caption, label, booktabs rules and footnotes; signs need amssymb."""
    alignment = "l" + "".join("l" if column.format == "text" else "r" for column in table.columns)
    lines = [*(f"% {' '.join(line.split())}" for line in table.findings)]
    lines += [r"\begin{table}", r"\centering", rf"\caption{{{escape(' '.join((f'{table.title}.', *table.header)))}}}"]
    lines += [rf"\label{{tab:{re.sub(r'[^a-zA-Z0-9-]', '-', table.name)}}}", rf"\begin{{tabular}}{{{alignment}}}"]
    lines += [r"\toprule", *_head(table), r"\midrule"]
    for index, (group, rows) in enumerate(groupby(table.rows, key=lambda row: row.group)):
        if group:
            lines += [r"\addlinespace"] if index else []
            lines.append(rf"\multicolumn{{{len(alignment)}}}{{l}}{{\emph{{{escape(group)}}}}} \\")
        for row in rows:
            cells = [_cell(cell, column) for cell, column in zip(row.cells, table.columns, strict=True)]
            lines.append(" & ".join([_title(row) + _notes(row.notes), *cells]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = [rf"\textsuperscript{{{mark}}} {escape(text)}" for mark, text in table.footnotes.items()]
    lines += [r"\par\smallskip{\footnotesize", *(rf"{note}\par" for note in notes), "}"] if notes else []
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _head(table: Table) -> list[str]:
    titles = " & ".join([escape(table.stub), *(escape(column.title) for column in table.columns)]) + r" \\"
    groups = [(group, len(list(members))) for group, members in groupby(table.columns, key=lambda c: c.group)]
    if not any(group for group, _ in groups):
        return [titles]
    spans, rules, start = [], [], 2
    for group, width in groups:
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(group)}}}")
        rules += [rf"\cmidrule(lr){{{start}-{start + width - 1}}}"] if group else []
        start += width
    return [" & ".join(["", *spans]) + r" \\", "".join(rules), titles]


def _title(row: TableRow) -> str:
    return rf"{escape(row.title)} {{\footnotesize {escape(row.label)}}}" if row.label else escape(row.title)


def _cell(cell: Cell, column: Column) -> str:
    text = escape(shown(cell, column))
    if bold(cell):
        text = rf"\textbf{{{text}}}"
    elif underlined(cell):
        text = rf"\underline{{{text}}}"
    signs = (escape(before(cell)), text, escape(behind(cell)))
    return r"\,".join(filter(None, signs)) + _notes(cell.notes)


def _notes(notes: tuple[str, ...]) -> str:
    return rf"\textsuperscript{{{','.join(notes)}}}" if notes else ""
