"""Tables as one tidy csv: a line per cell, values at full precision in their own units (fractions, seconds, bytes).

Coordinates of row and column (method, budget, benchmark, metric ...) have columns of their own; a coordinate that
both carry is the column's. `shown` is what the other formats print, without signs: `mark` is star, may be best or
second, `tick` above, below or open, and `borrowed` says yes where they rest on a seed spread measured elsewhere.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from hcbench.reports.render.table import Table, shown

_FIXED = ("table", "group", "row", "column_group", "column")
_MEASURED = ("value", "low", "high", "interval", "seeds", "mark", "tick", "borrowed", "shown", "notes")


def render_csv(tables: Sequence[Table]) -> str:
    """All tables as csv text with one header line; floats are written so that reading gives the same bits."""
    records = [record for table in tables for record in _records(table)]
    coordinates = list(dict.fromkeys(key for record in records for key in record))
    coordinates = [key for key in coordinates if key not in _FIXED + _MEASURED]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [*_FIXED, *coordinates, *_MEASURED], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return buffer.getvalue()


def _records(table: Table) -> list[dict[str, str]]:
    records = []
    for row in table.rows:
        for cell, column in zip(row.cells, table.columns, strict=True):
            notes = dict.fromkeys((*row.notes, *cell.notes))
            records.append(
                {
                    **row.facts,
                    **column.facts,
                    "table": table.name,
                    "group": row.group,
                    "row": row.title,
                    "column_group": column.group,
                    "column": column.title,
                    "value": _number(cell.value),
                    "low": _number(cell.low),
                    "high": _number(cell.high),
                    "interval": cell.kind,
                    "seeds": str(cell.seeds) if cell.seeds else "",
                    "mark": cell.mark,
                    "tick": cell.tick,
                    "borrowed": "yes" if cell.hollow else "",
                    "shown": shown(cell, column),
                    "notes": "; ".join(table.footnotes[mark] for mark in notes),
                }
            )
    return records


def _number(value: float | None) -> str:
    return "" if value is None else repr(float(value))
