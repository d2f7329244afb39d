"""Typed rows between a run and its report: the store writes them, reports read them, and neither imports the other.

In between they are columns of a table (`reports/results.py`), whose names are the names of the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

LEDGER = "ledger."
"""Begins the columns of what a cell cost."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellRow:
    """One cell: what was pre-trained, how it ended and what it cost.

    Attributes:
        cell: Fingerprint.
        method: Name of the method.
        title: As tables write it.
        supervision: What the method was given: the group of its row.
        supervision_title: As tables write it.
        supervision_order: Place of the group among others; NaN = nobody says.
        least_passes: Passes over its images below which the cell is compute-limited; NaN = nobody says.
        budget: Label; "-" for cells that look at no image.
        budget_images: Stored images.
        seed: Of subset, initialisation and data order.
        backbone: Name.
        corpus: Name.
        layout: Of the corpus.
        profile: Where settings come from.
        precision: fp32 or bf16.
        effort: What was equal: images or compute.
        config: Json of the resolved settings by dotted key.
        overrides: Json of those that the user changed.
        status: How it ended.
        reason: Why it did not end as done.
        created: When it was stored; None = nobody says.
        sources: Json of what the method is given to its source.
        nameless: Settings that never name a row, by comma.
        ledger: What it cost, by name.
    """

    cell: str
    method: str
    title: str
    supervision: str
    supervision_title: str
    supervision_order: float
    least_passes: float
    budget: str
    budget_images: int
    seed: int
    backbone: str
    corpus: str
    layout: str
    profile: str
    precision: str
    effort: str
    config: str
    overrides: str
    status: str
    reason: str
    created: datetime | None
    sources: str = ""
    nameless: str = ""
    ledger: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> CellRow:
        """A row of a table as it stands there: columns may be missing, and what they hold."""
        created = record.get("created")
        return cls(
            cell=str(record["cell"]),
            method=str(record["method"]),
            title=text_of(record.get("title")) or str(record["method"]),
            supervision=text_of(record["supervision"]),
            supervision_title=text_of(record.get("supervision_title")) or text_of(record["supervision"]),
            supervision_order=number_of(record.get("supervision_order")),
            least_passes=number_of(record.get("least_passes")),
            budget=text_of(record["budget"]),
            budget_images=int(record["budget_images"]),
            seed=int(record["seed"]),
            backbone=text_of(record.get("backbone")),
            corpus=text_of(record.get("corpus")),
            layout=text_of(record.get("layout")),
            profile=text_of(record.get("profile")),
            precision=text_of(record.get("precision")),
            effort=text_of(record.get("effort")),
            config=text_of(record.get("config")),
            overrides=text_of(record.get("overrides")),
            status=str(record["status"]),
            reason=text_of(record.get("reason")),
            created=created if isinstance(created, datetime) and text_of(created) else None,
            sources=text_of(record.get("sources")),
            nameless=text_of(record.get("nameless")),
            ledger={
                name.removeprefix(LEDGER): number
                for name, value in record.items()
                if name.startswith(LEDGER) and (number := number_of(value)) == number
            },
        )

    def columns(self) -> dict[str, Any]:
        """The row as columns of a table, one for each entry of the ledger."""
        columns = asdict(self)
        del columns["ledger"]
        return columns | {f"{LEDGER}{name}": value for name, value in self.ledger.items()}


CELL_COLUMNS = tuple(one.name for one in fields(CellRow) if one.name != "ledger")
"""Columns of a table of cells, in order; those of the ledger follow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreRow:
    """One cell, evaluation and metric; a failed evaluation has one row with no metric and no value.

    Attributes:
        cell: Fingerprint of the cell.
        evaluation: Fingerprint of the evaluation.
        benchmark: Name of the benchmark.
        benchmark_title: As tables write it.
        version: Of the benchmark.
        data: Data set that was scored; `A>B` where heads of A were scored on B.
        protocol: With what changes the question.
        config: Json of the settings `evaluate.*`.
        readout: What validation chose.
        metric: Name of the metric; empty where the evaluation did not end as done.
        metric_title: As tables write it.
        value: Fraction 0..1; NaN = undefined.
        main: Whether the main table and the tests use it.
        higher_is_better: Direction of the metric.
        percent: Whether tables show it times 100.
        status: How the evaluation ended.
        reason: Why it did not end as done.
        leak: clean, overlap or unknown: what the cell was trained on, held against the data; empty where nobody looked.
        leak_reason: Why it is not clean.
    """

    cell: str
    evaluation: str
    benchmark: str
    benchmark_title: str
    version: str
    data: str
    protocol: str
    config: str
    readout: str
    metric: str
    metric_title: str
    value: float
    main: bool
    higher_is_better: bool
    percent: bool
    status: str
    reason: str
    leak: str = ""
    leak_reason: str = ""

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> ScoreRow:
        """A row of a table as it stands there: text may be missing, and numbers too."""
        metric, value = text_of(record["metric"]), record["value"]
        return cls(
            cell=str(record["cell"]),
            evaluation=str(record["evaluation"]),
            benchmark=str(record["benchmark"]),
            benchmark_title=text_of(record.get("benchmark_title")) or str(record["benchmark"]),
            version=str(record["version"]),
            data=text_of(record["data"]),
            protocol=text_of(record["protocol"]),
            config=text_of(record.get("config")),
            readout=text_of(record.get("readout")),
            metric=metric,
            metric_title=text_of(record.get("metric_title")) or metric,
            value=float("nan") if value is None else float(value),
            main=bool(record["main"]),
            higher_is_better=bool(record["higher_is_better"]),
            percent=bool(record["percent"]),
            status=str(record["status"]),
            reason=text_of(record.get("reason")),
            leak=text_of(record.get("leak")),
            leak_reason=text_of(record.get("leak_reason")),
        )


SCORE_COLUMNS = tuple(one.name for one in fields(ScoreRow))
"""Columns of a table of scores, in order."""


def number_of(value: Any) -> float:
    """Number in a table's field; NaN for what is missing or none."""
    try:
        return float("nan") if value is None else float(value)
    except (TypeError, ValueError):
        return float("nan")


def text_of(value: Any) -> str:
    """Text of a table's field; missing values are empty."""
    return "" if value is None or value != value else str(value)
