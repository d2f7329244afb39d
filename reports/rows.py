"""What is compared with what: rows, metrics, and what was measured where they meet (`arrange.py` makes them).

A row is a method at one budget with one backbone and one variant of a sweep; its seeds are repetitions. A variant is
the settings that differ inside a method: `evaluate.lambda=0.5`. Controls are trained on nothing, so they have no
budget and stand beside the rows of every budget. A metric belongs to one benchmark version on one data set under one
protocol at one scale of the test set; numbers of two of these never share a column.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hcbench.records import CellRow
from hcbench.reports.statistics.intervals import Sample

Settings = Mapping[str, Any]
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of a table; `budget` is empty for controls.

    Attributes:
        variant: Settings (dotted key, value) in which rows of this method differ, or that the user changed.
        oracle: Whether pre-training labels were free of noise (`corpus.noise=0`): shown, never marked best.
    """

    method: str
    title: str
    supervision: str
    supervision_title: str
    budget: str
    budget_images: int
    backbone: str
    variant: Pairs = ()
    oracle: bool = False

    @property
    def control(self) -> bool:
        """Whether the row stands beside every budget because it is not pre-trained on one."""
        return not self.budget

    @property
    def truth(self) -> bool:
        """Whether predictions are the ground truth itself: shown, and compared with nothing."""
        return self.supervision == "truth"

    @property
    def given(self) -> bool:
        """Whether its weights come from elsewhere: shown at every budget, equal in none."""
        return self.supervision == "given"

    @property
    def competes(self) -> bool:
        """Whether the row may be best: it was pre-trained on the budget, with labels as noisy as those of others."""
        return not self.control and not self.oracle

    @property
    def label(self) -> str:
        """Title with variant and oracle mark, without budget and backbone."""
        named = [f"{key.rpartition('.')[2]}={value}" for key, value in self.variant]
        text = " · ".join([self.title, *named])
        return f"{text} [oracle: no label noise]" if self.oracle else text


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One metric of one benchmark on one data set; a column of the tables.

    `several_versions`: other versions of the benchmark have columns as well, because some rows have no newer scores;
    `outdated`: one of them is newer.
    """

    benchmark: str
    benchmark_title: str
    version: str
    data: str
    protocol: str
    scale: float
    name: str
    title: str
    main: bool
    higher_is_better: bool
    percent: bool
    several_versions: bool = False
    outdated: bool = False

    @property
    def scored_on(self) -> tuple[str, str, str, str, float]:
        """What two numbers must share to be comparable."""
        return self.benchmark, self.version, self.data, self.protocol, self.scale

    @property
    def heading(self) -> str:
        """Benchmark with what is not the default of the embedded data: `Person ReID (market1501)`."""
        extra = [] if self.data in ("", "people") else [self.data]
        extra += [] if self.protocol in ("", "frozen") else [self.protocol]
        extra += [f"version {self.version}"] if self.several_versions else []
        extra += [] if self.scale == 1 else [f"{self.scale:g} of the identities, not the benchmark"]
        return f"{self.benchmark_title} ({', '.join(extra)})" if extra else self.benchmark_title


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What was measured for a row in a metric.

    Attributes:
        sample: Finite values by seed with their replicates; None where there is none.
        problems: Seed to (status, reason) where there is no value.
        readouts: Seed to the readout that validation chose.
        config: `evaluate.*` settings.
        leak: clean, overlap or unknown, the worst of its seeds; empty where nobody has looked.
        leak_reason: Why it is not clean.
        evaluations: Fingerprints of what was scored.
    """

    sample: Sample | None
    problems: Mapping[int, tuple[str, str]]
    readouts: Mapping[int, str]
    config: Settings
    leak: str = ""
    leak_reason: str = ""
    evaluations: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedCell:
    """A row of the table of cells, with its settings taken apart.

    Attributes:
        row: As it was stored; a control's has no budget.
        settings: By dotted key; a control's hold only what can change an untrained encoder.
        sources: What the method is given, to its source.
        variant: Settings that tell it from other cells of its method.
    """

    row: CellRow
    settings: Settings
    sources: Settings
    variant: Pairs = ()

    @property
    def name(self) -> tuple[str, str]:
        """Method and title: given files share a method, and have titles of their own."""
        return self.row.method, self.row.title


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """What did not end as done: a cell, or with the name of a `benchmark` its `evaluation`."""

    cell: CellRow
    status: str
    reason: str
    benchmark: str = ""
    evaluation: str = ""


@dataclass(frozen=True, kw_only=True)
class Arranged:
    """A workspace in comparable form.

    Attributes:
        rows: In report order: supervision, title, variant, backbone, budget.
        metrics: By benchmark, main metrics first.
        entries: What was measured; a missing key = the cell has no such evaluation.
        cells: A row's cells, one per seed.
        failures: Everything that did not end as done.
        common: Settings that the user changed for every trained row.
        pending: Cells and evaluations still to finish.
        superseded: Older cells of the same settings (other code or versions), not shown.
        outdated: Evaluations of shown cells that a newer version of the benchmark has repeated, not shown.
    """

    rows: tuple[Row, ...]
    metrics: tuple[Metric, ...]
    entries: Mapping[tuple[Row, Metric], Entry]
    cells: Mapping[Row, Sequence[ReportedCell]]
    failures: Sequence[Failure]
    common: Pairs = ()
    pending: Sequence[Failure] = ()
    superseded: int = 0
    outdated: int = 0
    footer: Mapping[str, str] = field(default_factory=dict)

    @property
    def budgets(self) -> tuple[str, ...]:
        """Budgets from small to large; one empty budget where there are controls alone."""
        sizes = {row.budget: row.budget_images for row in self.rows if not row.control}
        return tuple(sorted(sizes, key=lambda budget: (sizes[budget], budget))) or ("",)

    def at(self, budget: str) -> tuple[Row, ...]:
        """The rows of a budget, controls included."""
        return tuple(row for row in self.rows if row.control or row.budget == budget)

    def of_cells(self, cells: Collection[str], evaluations: Collection[str]) -> Arranged:
        """The rows, metrics and failures of some cells and evaluations alone."""
        rows = tuple(row for row in self.rows if any(cell.row.cell in cells for cell in self.cells[row]))
        metrics = tuple(
            metric
            for metric in self.metrics
            if any(
                not entry.evaluations.isdisjoint(evaluations)
                for row in rows
                if (entry := self.entries.get((row, metric))) is not None
            )
        )
        asked = {"", *evaluations}
        failures, pending = (
            [one for one in several if one.cell.cell in cells and one.evaluation in asked]
            for several in (self.failures, self.pending)
        )
        return replace(self, rows=rows, metrics=metrics, failures=failures, pending=pending, superseded=0, outdated=0)

    @property
    def unfinished(self) -> int:
        """How many cells and evaluations are still to finish."""
        return len(self.pending)

    @property
    def main_metrics(self) -> tuple[Metric, ...]:
        """The metrics of the main table."""
        return tuple(metric for metric in self.metrics if metric.main)
