"""Renderers: terminal, Markdown, LaTeX, csv, html."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from hcbench.reports.comparisons import analyse
from hcbench.reports.render.html_page import render_html
from hcbench.reports.render.latex import escape, render_latex
from hcbench.reports.render.markdown import render_markdown
from hcbench.reports.render.table import Cell, Column, Table, TableRow
from hcbench.reports.render.terminal import print_tables, render_terminal
from hcbench.reports.render.tidy_csv import render_csv
from hcbench.reports.tables import main_table

TABLE = Table(
    name="main_1pct",
    title="Scores & more",
    header=("50 % of_it.",),
    columns=(Column(title="mAP", group="ReID"), Column(title="R1", group="ReID"), Column(title="why", format="text")),
    rows=(
        TableRow(
            title="A_b|c",
            group="images <only>",
            cells=(
                Cell(value=0.5, low=0.48, high=0.52, mark="star", tick="above"),
                Cell(value=0.25, mark="second"),
                Cell(text="x*y"),
            ),
            notes=("a",),
        ),
        TableRow(
            title="D",
            group="labels",
            cells=(
                Cell(text="failed", notes=("b",)),
                Cell(value=0.1, tick="below", mark="may be best", hollow=True),
                Cell(),
            ),
        ),
    ),
    footnotes={"a": "not equal: {x}", "b": "disk\nfull"},
)


def test_markdown() -> None:
    lines = render_markdown(TABLE).splitlines()
    assert lines == [
        "## Scores & more",
        "",
        r"50 % of\_it.",
        "",
        "| method | ReID: mAP | ReID: R1 | why |",
        "| :-- | --: | --: | :-- |",
        "| *images &lt;only>* |  |  |  |",
        r"| A\_b\|c <sup>a</sup> | ▲ **50.0 ± 2.0** ★ | <u>25.0</u> | x\*y |",
        "| *labels* |  |  |  |",
        "| D | failed <sup>b</sup> | ▽ 10.0 ○ | – |",
        "",
        "- <sup>a</sup> not equal: {x}",
        "- <sup>b</sup> disk full",
    ]


def test_latex() -> None:
    text = render_latex(TABLE)
    assert r"\caption{Scores \& more. 50 \% of\_it.}" in text
    assert r"\label{tab:main-1pct}" in text
    assert r" & \multicolumn{2}{c}{ReID} & \multicolumn{1}{c}{} \\" in text
    assert r"\cmidrule(lr){2-3}" in text
    assert (
        r"A\_b|c\textsuperscript{a} & $\blacktriangle$\,\textbf{50.0 $\pm$ 2.0}\,$\bigstar$ & \underline{25.0} & x*y \\"
        in text
    )
    assert r"\emph{images \textless{}only\textgreater{}}" in text
    assert r"\textsuperscript{a} not equal: \{x\}\par" in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    for line in text.splitlines():
        if line.endswith(r"\\") and r"\multicolumn" not in line:
            assert len(re.findall(r"(?<!\\)&", line)) == 3


@pytest.mark.parametrize("text", ["a\\b", "~^", "$x$", "#1", "10%", "{}", "a<b>c", "x_1 & y"])
def test_latex_escapes_leave_nothing_special(text) -> None:
    escaped = escape(text)
    commands_gone = re.sub(r"\\[a-z]+\{\}|\\[&%$#_{}]", "", escaped)
    assert not re.search(r"[\\&%$#_{}~^<>]", commands_gone)


def test_csv_gives_the_same_bits_back(full) -> None:
    table = main_table(analyse(full(3).results()), "1pct")
    records = list(csv.DictReader(io.StringIO(render_csv([table]))))
    values = [(c.value, c.low, c.high) for row in table.rows for c in row.cells]
    assert [tuple(float(record[name]) for name in ("value", "low", "high")) for record in records] == values
    (line,) = [record for record in records if record["method"] == "genpoccl" and record["metric"] == "mAP"]
    assert (line["benchmark"], line["budget"], line["seeds"], line["mark"], line["tick"]) == (
        "reid",
        "1pct",
        "3",
        "second",
        "above",
    )
    assert line["interval"] == "test sampling and seeds"


def test_csv_of_odd_tables_stays_rectangular() -> None:
    rows = list(csv.reader(io.StringIO(render_csv([TABLE]))))
    assert {len(row) for row in rows} == {len(rows[0])}
    record = dict(zip(rows[0], rows[4], strict=True))
    assert (record["row"], record["shown"], record["value"], record["notes"]) == ("D", "failed", "", "disk\nfull")


def test_terminal_shows_styles_and_notes() -> None:
    console = Console(width=100, file=io.StringIO(), force_terminal=True, color_system="standard", legacy_windows=False)
    console.print(render_terminal(TABLE))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[1m50.0 ± 2.0\x1b[0m" in text
    assert "\x1b[4m25.0\x1b[0m" in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    for piece in ("A_b|c [a]", "images <only>", "failed [b]", "▽ 10.0 ○", "▲ 50.0 ± 2.0 ★", "a  not equal: {x}"):
        assert piece in plain


def test_terminal_cuts_wide_tables_into_blocks() -> None:
    columns = tuple(Column(title=f"quantity {i}", format="number") for i in range(9))
    row = TableRow(title="GenPoCCL", cells=tuple(Cell(value=float(i)) for i in range(9)))
    wide = Table(name="cost", title="Cost", columns=columns, rows=(row,))
    console = Console(width=60, file=io.StringIO())
    print_tables([wide], console)
    text = console.file.getvalue()
    assert max(len(line) for line in text.splitlines()) <= 60
    assert text.count("GenPoCCL") == 3
    assert text.count("Cost") == 1
    assert all(f"quantity {i}" in text for i in range(9))


def test_terminal_takes_titles_for_text_not_for_markup() -> None:
    table = Table(
        name="x", title="[red]x[/]", columns=(Column(title="[b]"),), rows=(TableRow(title="[i]", cells=(Cell(),)),)
    )
    console = Console(width=80, file=io.StringIO())
    console.print(render_terminal(table))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[red]x[/]" in text
    assert "[b]" in text
    assert "[i]" in text


class _Balance(HTMLParser):
    """Checks that elements close in order."""

    VOID = frozenset({"meta", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[int] = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.cells.append(0)
        if tag in ("td", "th"):
            self.cells[-1] += int(dict(attrs).get("colspan", 1))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_html_is_balanced_escaped_and_self_contained() -> None:
    page = render_html("a <title>", ["50 < 60"], [TABLE], {"fig": b"<svg/>"}, {"commit": "abc"})
    parser = _Balance()
    parser.feed(page)
    assert parser.open == []
    assert set(parser.cells) == {4}
    assert "images &lt;only&gt;" in page
    assert '<td class="percent bold"><span class="above">▲</span> 50.0 ± 2.0<span class="star"> ★</span></td>' in page
    assert '<td class="percent "><span class="below">▽</span> 10.0<span class="star"> ○</span></td>' in page
    assert "50 &lt; 60" in page
    assert "data:image/svg+xml;base64,PHN2Zy8+" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)


LABELLED = Table(
    name="x",
    title="Scores",
    findings=("mAP: MAE is <best>.",),
    columns=(Column(title="mAP"), Column(title="R1")),
    rows=(
        TableRow(title="MAE", label="images only", cells=(Cell(value=0.5, mark="star"), Cell(value=0.5, tick="open"))),
        TableRow(title="PLIP", label="captions & more", cells=(Cell(value=0.25), Cell(value=0.5))),
        TableRow(title="Pixels", group="controls", cells=(Cell(value=0.25), Cell(value=0.5))),
    ),
)


def test_findings_stand_above_the_table_in_every_format() -> None:
    assert render_markdown(LABELLED).splitlines()[2] == "- mAP: MAE is &lt;best>."
    assert "<li>mAP: MAE is &lt;best&gt;.</li>" in render_html("t", [], [LABELLED], {}, {})
    assert render_latex(LABELLED).startswith("% mAP: MAE is <best>.\n")
    assert _printed(LABELLED, 80)[1] == "• mAP: MAE is <best>."


def test_labels_stand_beside_names_in_every_format() -> None:
    assert "| MAE *(images only)* | **50.0** ★ | · 50.0 |" in render_markdown(LABELLED)
    assert r"PLIP {\footnotesize captions \& more} & 25.0" in render_latex(LABELLED)
    page = render_html("t", [], [LABELLED], {}, {})
    assert "<tr><th>PLIP<small>captions &amp; more</small></th>" in page
    assert "<tr class=inside><th>Pixels</th>" in page


def test_terminal_puts_labels_below_names_where_room_is_short_and_keeps_numbers_in_line() -> None:
    wide, narrow = (_printed(LABELLED, width) for width in (80, 26))
    assert any("MAE  images only" in line for line in wide)
    assert not any("MAE  images only" in line for line in narrow)
    assert narrow[[line.split()[:1] for line in narrow].index(["MAE"]) + 1].startswith("   images only")
    first = [line for line in wide if "50.0 ★" in line or " 25.0" in line]
    assert len({line.index("50.0 ★") if "★" in line else line.index("25.0") for line in first}) == 1


def _printed(table: Table, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    console.print(render_terminal(table, width))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]
