"""Typed rows between a run and its report: the store writes them, reports read them, and neither imports the other.

In between they are columns of a table (`reports/results.py`), whose names are the names of the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


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


SCORE_COLUMNS = tuple(field.name for field in fields(ScoreRow))
"""Columns of a table of scores, in order."""


def text_of(value: Any) -> str:
    """Text of a table's field; missing values are empty."""
    return "" if value is None or value != value else str(value)
