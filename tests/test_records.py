"""Rows between run and report: written as columns of a table, read back whatever is missing."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime

import pandas as pd

from hcbench.records import CELL_COLUMNS, CellRow

BARE = {"cell": "c", "method": "mae", "supervision": "images", "budget": "1pct", "budget_images": 5, "seed": 0}


def test_a_cell_goes_through_a_table_unchanged() -> None:
    row = replace(
        CellRow.read({**BARE, "status": "done"}),
        supervision_order=1.0, least_passes=2.0, created=datetime(2026, 1, 2), ledger={"flops": 1e15},
    )  # fmt: skip
    table = pd.DataFrame([row.columns()])
    assert list(table.columns) == [*CELL_COLUMNS, "ledger.flops"]
    (record,) = table.to_dict("records")
    assert CellRow.read({str(name): value for name, value in record.items()}) == row


def test_what_is_missing_is_empty() -> None:
    missing = {"title": None, "layout": float("nan"), "created": pd.NaT, "ledger.flops": float("nan")}
    row = CellRow.read({**BARE, "status": "failed", **missing})
    assert (row.title, row.supervision_title, row.layout, row.created, row.ledger) == ("mae", "images", "", None, {})
    assert math.isnan(row.supervision_order)
    assert math.isnan(row.least_passes)
