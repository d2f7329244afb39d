"""Tables in a terminal, through rich: what may be best bold, second underlined, footnotes as raised letters."""

from __future__ import annotations

import textwrap
from itertools import groupby

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from hcbench.reports.render.signs import any_behind, before, behind, bold, underlined
from hcbench.reports.render.table import Cell, Column, Table, TableRow, shown

_STUB_WIDTH = 40
_HEADING_WIDTH = 16
_PROSE_WIDTH = 24
_BELOW = "\n  "
_GAP = 3
"""Space between two columns."""
_TICK_STYLES = {"above": "green", "below": "red", "open": "dim"}


def render_terminal(table: Table, width: int | None = None) -> RenderableType:
    """The table as something that a rich console prints.

    Args:
        table: What to show.
        width: Columns of the terminal; a wider table is cut into blocks of columns, each with the rows' names. None
            leaves it in one piece. Labels of rows stand beside their names where that leaves room for all columns,
            else below.
    """
    below = [Text(f"{mark}  {text}", "dim") for mark, text in table.footnotes.items()]
    above = [*(Text(f"• {line}") for line in table.findings), *(Text(line, "dim") for line in table.header)]
    grids: list[RenderableType] = []
    beside = width is None or len(_blocks(table, width, beside=True)) == 1
    for columns in _blocks(table, width, beside=beside):
        grids += [Text(), Padding(_grid(table, columns, beside=beside), (0, 0, 0, 1), expand=False)]
    return Group(Text(table.title, "bold"), *above, *grids, *below, Text())


def print_tables(tables: list[Table], console: Console) -> None:
    """Print tables one after the other."""
    for table in tables:
        console.print(render_terminal(table, console.width))


def _grid(table: Table, chosen: slice, *, beside: bool) -> RichTable:
    """Some columns of the table, with the rows' names."""
    grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="")
    columns = table.columns[chosen]
    headings = _headings(columns)
    stub = Text("\n" * (headings[0].plain.count("\n") if headings else 0) + table.stub, "dim")
    # Where even one column is wider than the terminal, headings give way before the names of the rows do.
    grid.add_column(stub, no_wrap=True, min_width=min(_stub_width(table, beside=beside), _STUB_WIDTH))
    for column, heading in zip(columns, headings, strict=True):
        justify = "left" if column.format == "text" else "right"
        grid.add_column(heading, justify=justify, no_wrap=column.format != "text")  # type: ignore[arg-type]
    bodies = [_body(table, index) for index in range(len(table.columns))][chosen]
    at = 0
    for group, rows in groupby(table.rows, key=lambda row: row.group):
        if group:
            grid.add_row(Text(group, "dim italic"))
        for row in rows:
            grid.add_row(_title(row, beside=beside), *(body[at] for body in bodies))
            at += 1
    return grid


def _blocks(table: Table, width: int | None, *, beside: bool) -> list[slice]:
    """Runs of columns that fit beside the rows' names; columns of prose wrap, and ask for little room."""
    if width is None:
        return [slice(None)]
    room = width - 1 - _stub_width(table, beside=beside)
    starts, used = [0], 0
    for index, (column, heading) in enumerate(zip(table.columns, _headings(table.columns), strict=True)):
        cells = [text.cell_len for text in _body(table, index)]
        natural = max([*(len(line) for line in heading.plain.splitlines()), *cells], default=0)
        needed = _GAP + (min(natural, _PROSE_WIDTH) if column.format == "text" else natural)
        if used + needed > room and index > starts[-1]:
            starts.append(index)
            used = 0
        used += needed
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], None], strict=True)]


def _stub_width(table: Table, *, beside: bool) -> int:
    """Room that the rows' names with their labels, and those of their groups take."""
    lines = [line for row in table.rows for line in (row.group, *_title(row, beside=beside).plain.split("\n"))]
    return max([len(table.stub), *map(cell_len, lines)])


def _headings(columns: tuple[Column, ...]) -> list[Text]:
    """Headings of equal height; a benchmark stands above its first metric alone, in lines that leave room for rows."""
    if not any(column.group for column in columns):
        return [Text(column.title) for column in columns]
    groups, previous = [], ""
    for column in columns:
        groups.append(textwrap.wrap(column.group if column.group != previous else "", _HEADING_WIDTH))
        previous = column.group
    height = max(len(lines) for lines in groups)
    return [
        Text.assemble(("\n".join([""] * (height - len(lines)) + lines), "dim"), "\n", column.title)
        for lines, column in zip(groups, columns, strict=True)
    ]


def _title(row: TableRow, *, beside: bool) -> Text:
    label = f"{'  ' if beside else _BELOW}{row.label}" if row.label else ""
    return Text.assemble("  " if row.group else "", row.title, _notes(row.notes), (label, "dim"))


def _body(table: Table, index: int) -> list[Text]:
    """The cells of a column; where a sign stands behind some value, all others leave room for one."""
    column, cells = table.columns[index], [row.cells[index] for row in table.rows]
    if not any_behind(cells):
        return [_cell(cell, column) for cell in cells]
    texts = [_cell(cell, column, (f" {behind(cell) or ' '}", "yellow")) for cell in cells]
    heading = max(len(line) for line in _headings((column,))[0].plain.splitlines())
    width = max([heading, *(text.cell_len for text in texts)])
    for text in texts:  # rich strips spaces at the end before it justifies
        text.pad_left(width - text.cell_len)
        text.justify = "left"
    return texts


def _cell(cell: Cell, column: Column, sign: tuple[str, str] = ("", "")) -> Text:
    plain = cell.value is None and column.format != "text"
    style = "dim" if plain else "bold" if bold(cell) else "underline" if underlined(cell) else ""
    tick = (f"{before(cell)} " if cell.tick else "", _TICK_STYLES.get(cell.tick, ""))
    return Text.assemble(
        tick, (shown(cell, column), style), ("", "") if cell.value is None else sign, _notes(cell.notes)
    )


def _notes(notes: tuple[str, ...]) -> tuple[str, str]:
    return (f" [{','.join(notes)}]" if notes else "", "dim")
