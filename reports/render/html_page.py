"""The report as one html file that needs nothing else: tables, figures inside, light and dark."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from itertools import groupby

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from hcbench.reports.render.signs import any_behind, before, behind, bold, underlined
from hcbench.reports.render.table import Cell, Table, shown

_TEMPLATE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
  :root { color-scheme: light dark; --line: #8884; --soft: #777; }
  body { font: 15px/1.45 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
  h2 { margin: 2.5rem 0 .3rem; font-size: 1.15rem; }
  p, li { margin: .1rem 0; } .soft, footer, ol { color: var(--soft); font-size: .87rem; }
  .remark { border-left: 3px solid #d80; padding-left: .6rem; margin: .4rem 0; }
  .wide { overflow-x: auto; }
  table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; }
  th, td { padding: .18rem .7rem; text-align: right; white-space: nowrap; }
  th { font-weight: 500; } thead tr:last-child th { border-bottom: 1px solid var(--line); }
  tbody th, th.text, td.text { text-align: left; } td.text { white-space: normal; }
  tr.group th { color: var(--soft); font-style: italic; padding-top: .6rem; }
  tr.inside th { padding-left: 1.2rem; }
  .span { text-align: center; color: var(--soft); }
  .bold { font-weight: 700; } .second { text-decoration: underline; } .none { color: var(--soft); }
  .above { color: #0a7d4f; } .below { color: #c0392b; } .open { color: var(--soft); }
  .star { display: inline-block; width: 1.2em; color: #b8860b; }
  tbody th small { display: block; color: var(--soft); font-size: .8rem; }
  sup { font-size: .7em; color: var(--soft); } ol { list-style: none; padding: 0; }
  img { max-width: 100%; background: #fff; margin: .5rem 0; } nav a { margin-right: 1rem; }
  footer { border-top: 1px solid var(--line); margin-top: 3rem; padding-top: .5rem; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% for remark in remarks %}<p class="remark">{{ remark }}</p>
{% endfor %}
<nav class="soft">{% for table in tables %}<a href="#{{ table.name }}">{{ table.title }}</a> {% endfor %}</nav>
{% for name, data in figures.items() %}<img alt="{{ name }}" src="data:image/svg+xml;base64,{{ data }}">
{% endfor %}
{% for table in tables %}
<h2 id="{{ table.name }}">{{ table.title }}</h2>
{% if table.findings %}<ul>{% for line in table.findings %}<li>{{ line }}</li>
{% endfor %}</ul>{% endif %}
{% for line in table.header %}<p class="soft">{{ line }}</p>
{% endfor %}
<div class="wide"><table>
<thead>
{% if table.columns | selectattr("group") | list %}<tr><th></th>
{%- for group, count in spans(table) %}<th class="span" colspan="{{ count }}">{{ group }}</th>{% endfor %}</tr>
{% endif %}<tr><th class="text">{{ table.stub }}</th>
{%- for column in table.columns %}<th class="{{ column.format }}">{{ column.title }}</th>{% endfor %}</tr>
</thead>
<tbody>
{% for group, rows in groups(table) %}
{% if group %}<tr class="group"><th colspan="{{ table.columns | length + 1 }}">{{ group }}</th></tr>
{% endif %}
{% for row in rows %}<tr{{ ' class=inside' if group else '' }}><th>{{ row.title }}{{ notes(row.notes) }}
{%- if row.label %}<small>{{ row.label }}</small>{% endif %}</th>
{%- for cell in row.cells %}{% set column = table.columns[loop.index0] -%}
<td class="{{ column.format }} {{ looks(cell) }}">
{%- if before(cell) %}<span class="{{ cell.tick }}">{{ before(cell) }}</span> {% endif %}{{ shown(cell, column) }}
{{- star(table, loop.index0, cell) }}{{ notes(cell.notes) }}</td>{% endfor %}</tr>
{% endfor %}
{% endfor %}
</tbody>
</table></div>
{% if table.footnotes %}<ol>{% for mark, text in table.footnotes.items() %}<li><sup>{{ mark }}</sup> {{ text }}</li>
{% endfor %}</ol>{% endif %}
{% endfor %}
<footer>{% for key, value in footer.items() %}{{ key }} {{ value }}{{ "" if loop.last else " · " }}{% endfor %}</footer>
</body>
</html>
"""


def render_html(
    title: str,
    remarks: Sequence[str],
    tables: Sequence[Table],
    figures: Mapping[str, bytes],
    footer: Mapping[str, str],
) -> str:
    """The whole report as one html page.

    Args:
        title: Heading of the page.
        remarks: What the reader must know first.
        tables: In order of reading.
        figures: Name to svg bytes.
        footer: Versions, commit, workspace.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)

    def notes(marks: Sequence[str]) -> Markup:
        return Markup("<sup> {}</sup>").format(", ".join(marks)) if marks else Markup("")

    def looks(cell: Cell) -> str:
        return "bold" if bold(cell) else "second" if underlined(cell) else "none" if cell.value is None else ""

    def star(table: Table, index: int, cell: Cell) -> Markup:
        """The sign behind a value; where a column has one, its other cells leave room for it."""
        roomy = any_behind(row.cells[index] for row in table.rows)
        return Markup('<span class="star"> {}</span>').format(behind(cell)) if roomy else Markup("")

    return environment.from_string(_TEMPLATE).render(
        title=title,
        remarks=remarks,
        tables=tables,
        figures={name: base64.b64encode(data).decode() for name, data in figures.items()},
        footer=footer,
        spans=lambda table: [(group, len(list(m))) for group, m in groupby(table.columns, key=lambda c: c.group)],
        groups=lambda table: [(group, list(rows)) for group, rows in groupby(table.rows, key=lambda row: row.group)],
        shown=shown,
        notes=notes,
        before=before,
        looks=looks,
        star=star,
    )
