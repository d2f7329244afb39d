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

from hcbench.records import ScoreRow, text_of
from hcbench.reports.results import Results
from hcbench.reports.rows import Arranged, Entry, Metric, Pairs, Record, Row, Settings
from hcbench.reports.scores import Score, metrics_of, newest_versions
from hcbench.reports.settings import flat, pick, varying
from hcbench.reports.statistics import Sample

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
    cells = [_prepared(record) for record in _records(results.cells)]
    changed = _changed(cells)
    common = _common([cell for cell in cells if cell["budget"]], changed)
    differing = varying(((_name(c), c["budget"], c["backbone"]), c["settings"]) for c in cells)
    for cell in cells:
        keys = differing[_name(cell)] | (changed[_name(cell)] - {key for key, _ in common})
        cell["variant"] = pick(cell["settings"], keys)
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
    failures, unfinished = _failures(kept, scores)
    return Arranged(
        rows=tuple(sorted(rows, key=_row_order(rows))),
        metrics=metrics,
        entries=entries,
        cells={row: [cell for cell, _ in members] for row, members in rows.items()},
        failures=failures,
        common=common,
        unfinished=unfinished,
        superseded=superseded,
        outdated=outdated,
        footer=results.footer,
    )


def _records(frame: pd.DataFrame) -> list[Record]:
    return [{str(key): value for key, value in record.items()} for record in frame.to_dict("records")]


def _prepared(cell: Record) -> Record:
    """The record with `settings`; a control's hold only what can change an untrained encoder."""
    columns = {key: cell.get(key) for key in ("corpus", "layout", "profile", "precision", "effort")}
    settings = {key: value for key, value in columns.items() if value not in (None, "") and value == value}
    nameless = {*NAMELESS, *text_of(cell.get("nameless")).split(", ")}
    settings |= {key: value for key, value in flat(cell.get("config")).items() if key not in nameless}
    cell = {**cell, "reason": _sentence(cell.get("reason")), "backbone": text_of(cell.get("backbone"))}
    if cell["supervision"] == CONTROL or cell["budget"] in NO_BUDGET:
        training = ("corpus", "layout", "pretrain.")
        size = ("pretrain.height", "pretrain.width")
        settings = {k: v for k, v in settings.items() if k in size or not k.startswith(training)}
        cell |= {"budget": "", "budget_images": 0}
    return {**cell, "settings": settings, "sources": flat(cell.get("sources"))}


def _sentence(value: Any) -> str:
    """Text on one line: reasons may be several lines of a traceback."""
    return " ".join(text_of(value).split())


def _changed(cells: Iterable[Record]) -> dict[Hashable, set[str]]:
    """Settings that the user changed for any cell of a method, by method.

    Not by cell: seeds with the same settings are one row, whoever chose the settings of each.
    """
    changed: dict[Hashable, set[str]] = defaultdict(set)
    for cell in cells:
        changed[_name(cell)] |= set(flat(cell.get("overrides"))) & set(cell["settings"])
    return changed


def _common(trained: Sequence[Record], changed: Mapping[Hashable, set[str]]) -> Pairs:
    """Settings that the user changed and that all trained cells share."""
    keys = {key for cell in trained for key in changed[_name(cell)]}
    shown = [pick(cell["settings"], keys) for cell in trained]
    return tuple(pair for pair in shown[0] if all(pair in other for other in shown)) if shown else ()


def _newest(cells: Sequence[Record]) -> tuple[list[Record], int]:
    """The newest cell of each row and seed, in order of appearance, and how many older ones there are."""
    latest: dict[tuple[Any, ...], Record] = {}
    superseded = 0
    for cell in cells:
        key = (*_row_key(cell), int(cell["seed"]))
        known = latest.get(key)
        if known is not None and cell["budget"]:  # a control has one cell per budget: no news
            superseded += 1
        if known is None or _when(cell) >= _when(known):
            latest[key] = cell
    return list(latest.values()), superseded


def _when(cell: Record) -> pd.Timestamp:
    stamp = pd.Timestamp(cell["created"]) if text_of(cell.get("created")) not in ("", "NaT") else pd.Timestamp(0)
    return stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")


def _scores_of(cells: Sequence[Record], results: Results) -> dict[str, list[Score]]:
    """Scores by cell."""
    by_cell: dict[str, list[Score]] = {cell["cell"]: [] for cell in cells}
    for row in map(ScoreRow.read, _records(results.scores)):
        if row.cell in by_cell:
            config = {key.removeprefix("evaluate."): value for key, value in flat(row.config).items()}
            scale = float(config.pop("scale", 1.0))
            row = replace(row, reason=_sentence(row.reason))
            by_cell[row.cell].append(Score(row=row, settings=config, scale=scale))
    strata = [
        ((*_row_key(cell), *score.scored_on), score.settings) for cell in cells for score in by_cell[cell["cell"]]
    ]
    keys = varying(strata)
    return {
        cell["cell"]: [replace(score, variant=_variant(score, keys[_name(cell)])) for score in by_cell[cell["cell"]]]
        for cell in cells
    }


def _variant(score: Score, keys: Iterable[str]) -> Pairs:
    return tuple((f"evaluate.{key}", value) for key, value in pick(score.settings, keys))


Members = list[tuple[Record, list[Score]]]
"""(cell, scores) per seed of one row."""


def _rows(cells: Sequence[Record], scores: Mapping[str, Sequence[Score]]) -> dict[Row, Members]:
    """Rows with their cells and scores; a cell has one row per variant of its evaluations."""
    variants: dict[tuple[Any, ...], list[Pairs]] = defaultdict(list)
    for cell in cells:
        variants[_row_key(cell)] += [score.variant for score in scores[cell["cell"]]]
    rows: dict[Row, Members] = defaultdict(list)
    for cell in cells:
        found = set(variants[_row_key(cell)]) or {()}
        # A benchmark may lack a setting that another one sweeps; its scores stand in every variant they agree with.
        largest = sorted(v for v in found if not any(set(v) < set(other) for other in found))
        for variant in largest:
            row = _row(cell, variant)
            rows[row].append((cell, [s for s in scores[cell["cell"]] if set(s.variant) <= set(variant)]))
    return dict(rows)


def _row_key(cell: Record) -> tuple[Any, ...]:
    return _name(cell), cell["budget"], cell["backbone"], cell["variant"]


def _name(cell: Record) -> tuple[str, str]:
    """Method and title: given files share a method, and have titles of their own."""
    return cell["method"], text_of(cell.get("title"))


def _row(cell: Record, variant: Pairs) -> Row:
    noise = cell["settings"].get("corpus.noise")
    oracle = noise is not None and float(noise) == 0
    shown = tuple(pair for pair in cell["variant"] if not (oracle and pair[0] == "corpus.noise"))
    return Row(
        method=cell["method"],
        title=text_of(cell.get("title")) or cell["method"],
        supervision=cell["supervision"],
        supervision_title=text_of(cell.get("supervision_title")) or cell["supervision"],
        budget=cell["budget"],
        budget_images=int(cell["budget_images"]),
        backbone=cell["backbone"],
        variant=shown + variant,
        oracle=oracle,
    )


def _row_order(rows: Mapping[Row, Members]) -> Any:
    """Groups as their cells say (`supervision_order`); others after them, in order of appearance."""
    places: dict[str, float] = {}
    for row, members in rows.items():
        orders = [cell.get("supervision_order") for cell, _ in members]
        known = [float(order) for order in orders if order is not None and np.isfinite(order)]
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
    for cell, scores in members:
        seed = int(cell["seed"])
        for score in scores:
            found = score.row
            if score.scored_on != metric.scored_on or found.metric not in (metric.name, ""):
                continue
            config = score.settings
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
        sample=_sample(values, replicates, members), problems=problems, readouts=readouts, config=config, leak=leak,
        leak_reason=reason,
    )  # fmt: skip


def _sample(values: Mapping[int, float], replicates: Mapping[int, Any], members: Members) -> Sample | None:
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
        fixed=not members[0][0]["budget"],
    )


def _failures(cells: Sequence[Record], scores: Mapping[str, Sequence[Score]]) -> tuple[list[Record], int]:
    """What did not end as done, cells before evaluations, and how much is still to finish."""
    failures: list[Record] = []
    unfinished = 0
    for cell in cells:
        missed = {score.row.evaluation: score.row for score in scores[cell["cell"]] if score.row.status != "done"}
        ended = [("", cell["status"], cell["reason"])] if cell["status"] != "done" else []
        ended += [(row.benchmark, row.status, row.reason) for row in missed.values()]
        for benchmark, status, reason in ended:
            if status not in FINAL:
                unfinished += 1
            else:
                failures.append({**cell, "benchmark": benchmark, "status": status, "reason": reason})
    return failures, unfinished
