"""From `Results` to comparable form: which cells are one row, which settings name a variant, what is missing.

A setting names a variant where it differs between cells of one method, budget and backbone, or where the user changed
it and not for every row. Of two cells with the same row and seed (code or versions have changed) the newer one counts;
of two scores of one cell, that of the benchmark's newer version.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from hcbench.records import CellRow, ScoreRow
from hcbench.reports.results import Results
from hcbench.reports.rows import Arranged, Entry, Failure, Metric, Pairs, ReportedCell, Row, Settings
from hcbench.reports.scores import Score, metrics_of, newest_versions
from hcbench.reports.settings import flat, pick, varying
from hcbench.reports.statistics.intervals import Sample

CONTROL = "control"
NO_BUDGET = ("", "-")
"""Budget labels of cells that look at no image."""

NAMELESS = (
    "corpus.name", "corpus.layout", "pretrain.precision", "pretrain.log_every", "pretrain.checkpoint_every_s",
)  # fmt: skip
"""Settings that never name a row: columns already hold them, or no number depends on them. Cards add their own."""

LEAKS = ("overlap", "unknown", "clean")
"""What training data can mean for a score, the worst first."""

FINAL = frozenset({"done", "failed", "diverged", "skipped", "out-of-memory", "interrupted"})
"""Statuses that a cell or evaluation can end with; any other is still to finish."""


def arrange(results: Results) -> Arranged:
    """Bring results into comparable form."""
    cells = [_prepared(CellRow.read(record)) for record in _records(results.cells)]
    changed = _changed(cells)
    common = _common([cell for cell in cells if cell.row.budget], changed)
    differing = varying(((c.name, c.row.budget, c.row.backbone), c.settings) for c in cells)
    shared = {key for key, _ in common}
    cells = [
        replace(cell, variant=pick(cell.settings, differing[cell.name] | (changed[cell.name] - shared)))
        for cell in cells
    ]
    kept, superseded = _newest(cells)
    scores, outdated = newest_versions(_scores_of(kept, results))
    metrics = metrics_of(scores)
    rows = _rows(kept, scores)
    entries = {
        (row, metric): entry
        for row, members in rows.items()
        for metric in metrics
        if (entry := _entry(metric, members, results)) is not None
    }
    failures, pending = _failures(kept, scores)
    return Arranged(
        rows=tuple(sorted(rows, key=_row_order(rows))),
        metrics=metrics,
        entries=entries,
        cells={row: [cell for cell, _ in members] for row, members in rows.items()},
        failures=failures,
        common=common,
        pending=pending,
        superseded=superseded,
        outdated=outdated,
        footer=results.footer,
    )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in record.items()} for record in frame.to_dict("records")]


def _prepared(row: CellRow) -> ReportedCell:
    """The cell with its settings."""
    columns = {
        "corpus": row.corpus, "layout": row.layout, "profile": row.profile, "precision": row.precision,
        "effort": row.effort,
    }  # fmt: skip
    nameless = {*NAMELESS, *row.nameless.split(", ")}
    settings: dict[str, Any] = {key: value for key, value in columns.items() if value}
    settings |= {key: value for key, value in flat(row.config).items() if key not in nameless}
    row = replace(row, reason=_sentence(row.reason))
    if row.supervision == CONTROL or row.budget in NO_BUDGET:
        training = ("corpus", "layout", "pretrain.")
        size = ("pretrain.height", "pretrain.width")
        settings = {k: v for k, v in settings.items() if k in size or not k.startswith(training)}
        row = replace(row, budget="", budget_images=0)
    return ReportedCell(row=row, settings=settings, sources=flat(row.sources))


def _sentence(text: str) -> str:
    """Text on one line: reasons may be several lines of a traceback."""
    return " ".join(text.split())


def _changed(cells: Iterable[ReportedCell]) -> dict[Hashable, set[str]]:
    """Settings that the user changed for any cell of a method, by method.

    Not by cell: seeds with the same settings are one row, whoever chose the settings of each.
    """
    changed: dict[Hashable, set[str]] = defaultdict(set)
    for cell in cells:
        changed[cell.name] |= set(flat(cell.row.overrides)) & set(cell.settings)
    return changed


def _common(trained: Sequence[ReportedCell], changed: Mapping[Hashable, set[str]]) -> Pairs:
    """Settings that the user changed and that all trained cells share."""
    keys = {key for cell in trained for key in changed[cell.name]}
    shown = [pick(cell.settings, keys) for cell in trained]
    return tuple(pair for pair in shown[0] if all(pair in other for other in shown)) if shown else ()


def _newest(cells: Sequence[ReportedCell]) -> tuple[list[ReportedCell], int]:
    """The newest cell of each row and seed, in order of appearance, and how many older ones there are."""
    latest: dict[tuple[Any, ...], ReportedCell] = {}
    superseded = 0
    for cell in cells:
        key = (*_row_key(cell), cell.row.seed)
        known = latest.get(key)
        if known is not None and cell.row.budget:  # a control has one cell per budget: no news
            superseded += 1
        if known is None or _when(cell) >= _when(known):
            latest[key] = cell
    return list(latest.values()), superseded


def _when(cell: ReportedCell) -> pd.Timestamp:
    stamp = pd.Timestamp(0) if cell.row.created is None else pd.Timestamp(cell.row.created)
    return stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")


def _scores_of(cells: Sequence[ReportedCell], results: Results) -> dict[str, list[Score]]:
    """Scores by cell."""
    by_cell: dict[str, list[Score]] = {cell.row.cell: [] for cell in cells}
    for row in map(ScoreRow.read, _records(results.scores)):
        if row.cell in by_cell:
            config = {key.removeprefix("evaluate."): value for key, value in flat(row.config).items()}
            scale = float(config.pop("scale", 1.0))
            row = replace(row, reason=_sentence(row.reason))
            by_cell[row.cell].append(Score(row=row, settings=config, scale=scale))
    strata = [
        ((*_row_key(cell), *score.scored_on), score.settings) for cell in cells for score in by_cell[cell.row.cell]
    ]
    keys = varying(strata)
    return {
        cell.row.cell: [replace(score, variant=_variant(score, keys[cell.name])) for score in by_cell[cell.row.cell]]
        for cell in cells
    }


def _variant(score: Score, keys: Iterable[str]) -> Pairs:
    return tuple((f"evaluate.{key}", value) for key, value in pick(score.settings, keys))


Members = list[tuple[ReportedCell, list[Score]]]
"""(cell, scores) per seed of one row."""


def _rows(cells: Sequence[ReportedCell], scores: Mapping[str, Sequence[Score]]) -> dict[Row, Members]:
    """Rows with their cells and scores; a cell has one row per variant of its evaluations."""
    variants: dict[tuple[Any, ...], list[Pairs]] = defaultdict(list)
    for cell in cells:
        variants[_row_key(cell)] += [score.variant for score in scores[cell.row.cell]]
    rows: dict[Row, Members] = defaultdict(list)
    for cell in cells:
        found = set(variants[_row_key(cell)]) or {()}
        # A benchmark may lack a setting that another one sweeps; its scores stand in every variant they agree with.
        largest = sorted(v for v in found if not any(set(v) < set(other) for other in found))
        for variant in largest:
            row = _row(cell, variant)
            rows[row].append((cell, [s for s in scores[cell.row.cell] if set(s.variant) <= set(variant)]))
    return dict(rows)


def _row_key(cell: ReportedCell) -> tuple[Any, ...]:
    return cell.name, cell.row.budget, cell.row.backbone, cell.variant


def _row(cell: ReportedCell, variant: Pairs) -> Row:
    found = cell.row
    noise = cell.settings.get("corpus.noise")
    oracle = noise is not None and float(noise) == 0
    shown = tuple(pair for pair in cell.variant if not (oracle and pair[0] == "corpus.noise"))
    return Row(
        method=found.method,
        title=found.title,
        supervision=found.supervision,
        supervision_title=found.supervision_title,
        budget=found.budget,
        budget_images=found.budget_images,
        backbone=found.backbone,
        variant=shown + variant,
        oracle=oracle,
    )


def _row_order(rows: Mapping[Row, Members]) -> Any:
    """Groups as their cells say (`supervision_order`); others after them, in order of appearance."""
    places: dict[str, float] = {}
    for row, members in rows.items():
        orders = [cell.row.supervision_order for cell, _ in members]
        known = [order for order in orders if np.isfinite(order)]
        places[row.supervision] = min([*known, places.get(row.supervision, float("inf"))])
    appeared = list(places)
    return lambda row: (
        places[row.supervision],
        appeared.index(row.supervision),
        row.title.lower(),
        row.oracle,
        row.variant,
        row.backbone,
        row.budget_images,
        row.budget,
    )


def _entry(metric: Metric, members: Members, results: Results) -> Entry | None:
    values: dict[int, float] = {}
    replicates: dict[int, Any] = {}
    problems: dict[int, tuple[str, str]] = {}
    readouts: dict[int, str] = {}
    config: Settings = {}
    leaks: list[tuple[str, str]] = []
    evaluations: set[str] = set()
    for cell, scores in members:
        seed = cell.row.seed
        for score in scores:
            found = score.row
            if score.scored_on != metric.scored_on or found.metric not in (metric.name, ""):
                continue
            config = score.settings
            evaluations.add(found.evaluation)
            leaks.append((found.leak, found.leak_reason))
            if found.metric == metric.name and score.defined:
                values[seed], readouts[seed] = found.value, found.readout
                replicates[seed] = results.replicates.get((found.evaluation, metric.name))
                problems.pop(seed, None)
            elif seed not in values:
                undefined = found.status == "done"
                problems[seed] = ("n/a", found.reason or "undefined") if undefined else (found.status, found.reason)
    if not values and not problems:
        return None
    leak, reason = min(leaks, key=lambda found: LEAKS.index(found[0]) if found[0] in LEAKS else len(LEAKS))
    return Entry(
        sample=_sample(values, replicates), problems=problems, readouts=readouts, config=config, leak=leak,
        leak_reason=reason, evaluations=frozenset(evaluations),
    )  # fmt: skip


def _sample(values: Mapping[int, float], replicates: Mapping[int, Any]) -> Sample | None:
    if not values:
        return None
    seeds = tuple(sorted(values))
    columns = [replicates[seed] for seed in seeds]
    # Replicates count only where every seed has them, on the same resamples.
    usable = all(c is not None for c in columns) and len({len(c) for c in columns if c is not None}) == 1
    return Sample(
        seeds=seeds,
        values=np.array([values[seed] for seed in seeds], dtype=np.float64),
        replicates=np.array(columns, dtype=np.float64) if usable else None,
    )


def _failures(
    cells: Sequence[ReportedCell], scores: Mapping[str, Sequence[Score]]
) -> tuple[list[Failure], list[Failure]]:
    """What did not end as done, cells before evaluations, and what is still to finish."""
    failures: list[Failure] = []
    pending: list[Failure] = []
    for cell in cells:
        missed = {score.row.evaluation: score.row for score in scores[cell.row.cell] if score.row.status != "done"}
        ended = [("", "", cell.row.status, cell.row.reason)] if cell.row.status != "done" else []
        ended += [(row.benchmark, name, row.status, row.reason) for name, row in missed.items()]
        for benchmark, evaluation, status, reason in ended:
            found = Failure(cell=cell.row, benchmark=benchmark, evaluation=evaluation, status=status, reason=reason)
            (failures if status in FINAL else pending).append(found)
    return failures, pending
