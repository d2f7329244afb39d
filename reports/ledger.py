"""The ledger of a row: what it cost, and whether rows of a column had equal means.

Names known here (columns `ledger.<name>` of the cells): see `LEDGER`; others are shown under their own names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from hcbench.reports.render.table import Cell, Column, Footnotes, Table, TableRow
from hcbench.reports.rows import Arranged, Row

LEDGER: dict[str, tuple[str, str]] = {
    "images_stored": ("images stored", "count"),
    "images_seen": ("images seen", "count"),
    "groups": ("groups", "count"),
    "identities": ("identities", "count"),
    "poses": ("poses", "count"),
    "captions": ("captions", "count"),
    "attributes": ("attributes", "count"),
    "steps": ("steps", "count"),
    "optimiser_steps": ("optimiser steps", "count"),
    "encoder_pixels_forward": ("pixels forward", "si"),
    "encoder_pixels_backward": ("pixels backward", "si"),
    "flops": ("FLOPs", "si"),
    "wall_s": ("wall time", "seconds"),
    "device_s": ("device time", "seconds"),
    "generator_s": ("generator time", "seconds"),
    "data_wait_share": ("data wait, %", "percent"),
    "images_per_s": ("images/s", "count"),
    "peak_memory_bytes": ("peak memory", "bytes"),
    "parameters": ("parameters", "si"),
    "encoder_parameters": ("of the encoder", "si"),
    "tuning_trials": ("tuning trials", "count"),
    "threads": ("threads", "count"),
    "workers": ("workers", "count"),
}
"""Ledger name to (title, format), in the order of the cost table."""

EQUAL_FLOPS = 0.05
"""Rows of equal compute may differ by this share: images seen come in whole batches, costs are measured on one step."""


def ledger_of(arranged: Arranged, row: Row) -> dict[str, float]:
    """The row's ledger, mean over its seeds that ended as done; names without `ledger.`."""
    totals: dict[str, list[float]] = {}
    for cell in arranged.cells[row]:
        if cell.row.status == "done":
            for name, value in cell.row.ledger.items():
                totals.setdefault(name, []).append(value)
    return {name: fmean(values) for name, values in totals.items()}


def passes(arranged: Arranged, row: Row) -> float | None:
    """Images seen / images stored; None for controls and where the ledger does not say."""
    ledger = ledger_of(arranged, row)
    stored = ledger.get("images_stored", float(row.budget_images))
    seen = ledger.get("images_seen")
    return None if row.control or seen is None or stored <= 0 else seen / stored


def compute_limited(arranged: Arranged, row: Row) -> str:
    """Why the row is kept out of budget curves; empty where it is not."""
    found = passes(arranged, row)
    bounds = [cell.row.least_passes for cell in arranged.cells[row]]
    least = max((bound for bound in bounds if bound == bound), default=0.0)
    if found is None or found >= least:
        return ""
    return f"compute-limited: {found:.1f} passes over its images, at least {least:g} are needed"


def inequalities(arranged: Arranged, rows: Sequence[Row]) -> dict[Row, tuple[str, ...]]:
    """What each row did not have in equal measure with most rows of its column; rows without difference left out.

    Checked: images stored, images seen, backbone, input size, precision, tuning trials, readout rule and head budget,
    and among rows that are given the same thing (structure maps) its source.
    Controls are not trained: images and trials say nothing about them. Rows of equal compute (`--effort compute`) are
    checked for FLOPs, to `EQUAL_FLOPS`, instead of images seen, and these are told.
    """
    means = {row: _means(arranged, row) for row in rows}
    found: dict[Row, list[str]] = {row: [] for row in rows}
    for name in dict.fromkeys(name for values in means.values() for name in values):
        values = {row: means[row][name] for row in rows if name in means[row]}
        # The usual value is that of most trained rows; controls follow them, they do not decide.
        voters = [row for row in values if not row.control] or list(values)
        usual, _ = Counter(values[row] for row in voters).most_common(1)[0]
        for row, value in values.items():
            if value != usual:
                found[row].append(f"{name} {value}, others {usual}")
    for row, text in _effort_told(arranged, rows).items():
        found[row].append(text)
    return {row: tuple(texts) for row, texts in found.items() if texts}


def _means(arranged: Arranged, row: Row) -> dict[str, str]:
    """What must be equal, as text by name; unknown ones left out."""
    cells = arranged.cells[row]
    settings: Mapping[str, Any] = cells[0].settings
    means: dict[str, str] = {}
    if not row.control:
        ledger = ledger_of(arranged, row)
        means["images stored"] = f"{ledger.get('images_stored', row.budget_images):,.0f}"
        if "images_seen" in ledger and not equal_compute(arranged, row):
            means["images seen"] = f"{ledger['images_seen']:,.0f}"
        if "tuning_trials" in ledger:
            means["tuning trials"] = f"{ledger['tuning_trials']:,.0f}"
        means |= cells[0].sources
    if row.backbone:
        means["backbone"] = row.backbone
    if {"pretrain.height", "pretrain.width"} <= set(settings):
        means["input size"] = f"{settings['pretrain.height']} x {settings['pretrain.width']}"
    if "precision" in settings:
        means["precision"] = " and ".join(sorted({str(cell.settings.get("precision")) for cell in cells}))
    for key, name in (("readout", "readout rule"), ("epochs", "head budget")):
        configs = [e.config for (other, _), e in arranged.entries.items() if other == row and key in e.config]
        if configs:
            means[name] = " and ".join(sorted({_rule(config[key]) for config in configs}))
    return means


def equal_compute(arranged: Arranged, row: Row) -> bool:
    """Whether the row's images seen were chosen for equal FLOPs."""
    return not row.control and arranged.cells[row][0].settings.get("effort") == "compute"


def _effort_told(arranged: Arranged, rows: Sequence[Row]) -> dict[Row, str]:
    """What rows of equal compute had unequally: images seen where they differ, FLOPs where they are off the median."""
    ledgers = {row: ledger_of(arranged, row) for row in rows if not row.control}
    equal = [row for row in ledgers if equal_compute(arranged, row)]
    spent = {row: ledgers[row]["flops"] for row in equal if ledgers[row].get("flops")}
    usual = median(spent.values()) if spent else 0.0
    seen = {row: ledger["images_seen"] for row, ledger in ledgers.items() if "images_seen" in ledger}
    told: dict[Row, str] = {}
    for row in equal:
        differs = row in seen and len(set(seen.values())) > 1
        texts = [f"images seen {seen[row]:,.0f} (equal compute instead)"] if differs else []
        if row in spent and abs(spent[row] / usual - 1) > EQUAL_FLOPS:
            texts.append(f"FLOPs {spent[row]:.3g}, others {usual:.3g}")
        if texts:
            told[row] = "; ".join(texts)
    return told


def _rule(value: Any) -> str:
    return f"{float(value):g}" if isinstance(value, int | float) else str(value)


def cost_table(arranged: Arranged, budget: str) -> Table:
    """What each row of a budget cost and used, beside the scores; mean over seeds."""
    rows = arranged.at(budget)
    ledgers = {row: ledger_of(arranged, row) for row in rows}
    present = dict.fromkeys(name for ledger in ledgers.values() for name in ledger)
    names = [name for name in LEDGER if name in present] + [name for name in present if name not in LEDGER]
    columns = [Column(title="layout", format="text")]
    for name in names:
        title, form = LEDGER.get(name, (name.replace("_", " "), "number"))
        columns.append(Column(title=title, format=form, facts={"ledger": name}))
    notes = Footnotes()
    lines = []
    for row in rows:
        layout = Cell(text="" if row.control else arranged.cells[row][0].row.layout)
        cells = (layout, *(_cost_cell(row, name, ledgers[row].get(name)) for name in names))
        limited = compute_limited(arranged, row)
        lines.append(
            TableRow(
                title=row.label,
                group=row.supervision_title,
                cells=cells,
                notes=(notes.mark(limited),) if limited else (),
                facts={"method": row.method, "budget": row.budget, "backbone": row.backbone},
            )
        )
    return Table(
        name=f"cost-{budget}" if budget else "cost",
        title=f"Cost at {budget}" if budget else "Cost",
        header=("Mean over seeds of one pre-training, evaluations not included.",),
        columns=tuple(columns),
        rows=tuple(lines),
        footnotes=notes.texts,
    )


def _cost_cell(row: Row, name: str, value: float | None) -> Cell:
    # A control's zeros (no images, no steps) would read like measurements.
    return Cell() if value is None or (row.control and value == 0) else Cell(value=value)
