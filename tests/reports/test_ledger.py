"""Cost table and passes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import hcbench.harness
from hcbench.reports.arrange import arrange
from hcbench.reports.ledger import LEDGER, compute_limited, cost_table, passes
from hcbench.reports.render.table import Cell, Column, shown


def test_every_ledger_entry_of_the_harness_has_a_title() -> None:
    # Read, not imported: it would load torch.
    source = ast.parse(Path(hcbench.harness.__path__[0], "training", "ledger.py").read_text())
    (ledger,) = [node for node in source.body if isinstance(node, ast.ClassDef) and node.name == "Ledger"]
    names = {node.target.id for node in ledger.body if isinstance(node, ast.AnnAssign)}
    assert "images_seen" in names
    assert names <= set(LEDGER)


def test_cost_is_the_mean_over_done_seeds(workspace) -> None:
    workspace.cell("mae", seed=0, **{"ledger.wall_s": 100.0})
    workspace.cell("mae", seed=1, **{"ledger.wall_s": 300.0})
    workspace.cell("mae", seed=2, status="failed", **{"ledger.wall_s": 9e9})
    workspace.cell("pixels", "control", **{"ledger.new_thing": 7.0})
    table = cost_table(arrange(workspace.results()), "1pct")
    titles = [column.title for column in table.columns]
    lines = {
        row.title: dict(zip(titles, [shown(c, k) for c, k in zip(row.cells, table.columns, strict=True)], strict=True))
        for row in table.rows
    }
    assert lines["MAE"] == {
        "layout": "identities",
        "images stored": "5,855",
        "images seen": "36,000",
        "FLOPs": "1.2 P",
        "wall time": "3 m 20 s",
        "peak memory": "900 MiB",
        "tuning trials": "6",
        "new thing": "–",
    }
    assert lines["PIXELS"]["images stored"] == "–"
    assert lines["PIXELS"]["new thing"] == "7"


def test_passes_and_the_compute_limit(workspace) -> None:
    workspace.cell("mae", **{"ledger.images_seen": 11709})
    workspace.cell("hap", **{"ledger.images_seen": 11710})
    workspace.cell("pixels", "control")
    workspace.cell("simclr", **{"ledger.images_seen": 17565, "least_passes": 3.5})
    workspace.cell("dino", **{"ledger.images_seen": 1, "least_passes": None})
    arranged = arrange(workspace.results())
    found = {row.method: (passes(arranged, row), compute_limited(arranged, row)) for row in arranged.rows}
    assert found["hap"] == (2.0, "")
    assert found["mae"][1].startswith("compute-limited: 2.0 passes")
    assert found["pixels"] == (None, "")
    assert found["simclr"][1] == "compute-limited: 3.0 passes over its images, at least 3.5 are needed"
    assert found["dino"][1] == "", "nobody says how many are needed"


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        ("seconds", 59.94, "59.9 s"),
        ("seconds", 3599.7, "1 h 00 m"),
        ("seconds", 59.97, "1 m 00 s"),
        ("si", 1.2345e15, "1.23 P"),
        ("si", 999.0, "999"),
        ("bytes", 3 * 2**29, "1.5 GiB"),
        ("count", 12345.0, "12,345"),
        ("percent", 0.12345, "12.3"),
        ("signed", 0.012, "+1.2"),
        ("number", 0.012345, "0.0123"),
    ],
)
def test_formats(form, value, text) -> None:
    assert shown(Cell(value=value), Column(title="x", format=form)) == text
