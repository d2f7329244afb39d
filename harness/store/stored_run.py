"""One run as it is written or was read, and its numbers as databases take them."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hcbench.harness.store.troubles import RefusedError

CELL, EVALUATION = "cell", "evaluation"
FILES = "files"
"""Tag: names of the run's artifacts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRun:
    """One run as it is written or was read.

    Attributes:
        kind: CELL or EVALUATION.
        fingerprint: Unique within the kind.
        name: What the UI shows.
        params: Settings.
        metrics: Numbers; NaN is legal.
        tags: Facts that are no settings; `status` and `reason` among them.
        series: Stepped metrics as (name, value, step).
        artifacts: Files and folders to copy; empty when read.
        parent: Run id of the cell, for evaluations.
        run: Run id, when read.
        created: Seconds since 1970, when read.
        location: Where the artifacts lie, when read.
        damage: What of it cannot be read any more, and why; empty where it is sound.
    """

    kind: str
    fingerprint: str
    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    series: Sequence[tuple[str, float, int]] = ()
    artifacts: Sequence[Path] = ()
    parent: str = ""
    run: str = ""
    created: float = 0.0
    location: str = ""
    damage: str = ""

    @property
    def status(self) -> str:
        """How it ended (`events.STATUSES`)."""
        return self.tags.get("status", "")


def had(record: StoredRun, name: str) -> bool:
    """Whether a run was written with an artifact; runs from before that was noted had all that they should have."""
    if FILES in record.tags:
        return name in record.tags[FILES].split(", ")
    return record.status == "done" and name in _ALWAYS.get(record.kind, ())


_ALWAYS = {EVALUATION: ("summary.json", "record.json", "replicates.parquet")}
"""Artifacts that every finished run of a kind has."""


def number(name: str, value: Any) -> float:
    """A number as every database takes it; those above what a double holds are infinite.

    Raises:
        RefusedError: It is none.
    """
    try:
        return float("nan") if value is None else float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError) as error:
        raise RefusedError(
            f"The value of {name!r} is {str(value)[:60]!r}, which is no number.", "Mend what gives it: a float or NaN."
        ) from error


def as_written(value: float) -> float:
    """MLflow's databases hold the largest double where infinity was written."""
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value
