"""From `Results` to comparable form: which cells are one row, which settings name a variant, what is missing.

A setting names a variant where it differs between cells of one method, budget and backbone, or where the user changed
it and not for every row. Of two cells with the same row and seed (code or versions have changed) the newer one counts;
of two scores of one cell, that of the benchmark's newer version.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hcbench.reports.results import Results
from hcbench.reports.rows import Arranged, Entry, Metric, Pairs, Record, Row, Settings
from hcbench.reports.statistics import Sample

CONTROL = "control"
NO_BUDGET = ("", "-")
"""Budget labels of cells that look at no image."""

NAMELESS = (
    "corpus.name", "corpus.layout", "pretrain.precision", "pretrain.log_every", "pretrain.checkpoint_every_s",
    "imagenet.sha256",
)  # fmt: skip
"""Settings that never name a row: columns already hold them, no number depends on them, or the newest file counts."""

LEAKS = ("overlap", "unknown", "clean")
"""What training data can mean for a score, the worst first."""

FINAL = frozenset({"done", "failed", "diverged", "skipped", "out-of-memory", "interrupted"})
"""Statuses that a cell or evaluation can end with; any other is still to finish."""


def arrange(results: Results) -> Arranged:
    """Bring results into comparable form."""
    cells = [_prepared(record) for record in _records(results.cells)]
    changed = _changed(cells)
    common = _common([cell for cell in cells if cell["budget"]], changed)
    varying = _varying(((_name(c), c["budget"], c["backbone"]), c["settings"]) for c in cells)
    for cell in cells:
        keys = varying[_name(cell)] | (changed[_name(cell)] - {key for key, _ in common})
        cell["variant"] = _pick(cell["settings"], keys)
    kept, superseded = _newest(cells)
    scores, outdated = _newest_versions(_scores_of(kept, results))
    metrics = _metrics(scores)
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


def _flat(text: Any, prefix: str = "") -> dict[str, Any]:
    """Json text, nested or with dotted keys, as one flat mapping with dotted keys."""
    value = json.loads(text) if isinstance(text, str) and text else text
    if not isinstance(value, Mapping):
        return {}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        flat.update(_flat(item, f"{name}.") if isinstance(item, Mapping) else {name: item})
    return flat


def _prepared(cell: Record) -> Record:
    """The record with `settings`; a control's hold only what can change an untrained encoder."""
    columns = {key: cell.get(key) for key in ("corpus", "layout", "profile", "precision", "effort")}
    settings = {key: value for key, value in columns.items() if value not in (None, "") and value == value}
    settings |= {key: value for key, value in _flat(cell.get("config")).items() if key not in NAMELESS}
    cell = {**cell, "reason": _sentence(cell.get("reason")), "backbone": _text(cell.get("backbone"))}
    if cell["supervision"] == CONTROL or cell["budget"] in NO_BUDGET:
        training = ("corpus", "layout", "pretrain.")
        size = ("pretrain.height", "pretrain.width")
        settings = {k: v for k, v in settings.items() if k in size or not k.startswith(training)}
        cell |= {"budget": "", "budget_images": 0}
    return {**cell, "settings": settings, "sources": _flat(cell.get("sources"))}


def _text(value: Any) -> str:
    """Text of a cell of a frame; missing values are empty."""
    return "" if value is None or value != value else str(value)


def _sentence(value: Any) -> str:
    """Text on one line: reasons may be several lines of a traceback."""
    return " ".join(_text(value).split())


def _shown(value: Any) -> str:
    """A setting as it stands in a row's name."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _pick(settings: Settings, keys: Iterable[str]) -> Pairs:
    return tuple((key, _shown(settings[key])) for key in sorted(keys) if key in settings)


def _changed(cells: Iterable[Record]) -> dict[Hashable, set[str]]:
    """Settings that the user changed for any cell of a method, by method.

    Not by cell: seeds with the same settings are one row, whoever chose the settings of each.
    """
    changed: dict[Hashable, set[str]] = defaultdict(set)
    for cell in cells:
        changed[_name(cell)] |= set(_flat(cell.get("overrides"))) & set(cell["settings"])
    return changed


def _common(trained: Sequence[Record], changed: Mapping[Hashable, set[str]]) -> Pairs:
    """Settings that the user changed and that all trained cells share."""
    keys = {key for cell in trained for key in changed[_name(cell)]}
    shown = [_pick(cell["settings"], keys) for cell in trained]
    return tuple(pair for pair in shown[0] if all(pair in other for other in shown)) if shown else ()


def _varying(items: Iterable[tuple[tuple[Hashable, ...], Settings]]) -> dict[Hashable, set[str]]:
    """Keys in which settings of one stratum differ, gathered by the stratum's first member (the method)."""
    values: dict[tuple[Hashable, ...], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for stratum, settings in items:
        for key, value in settings.items():
            values[stratum][key].add(_shown(value))
    varying: dict[Hashable, set[str]] = defaultdict(set)
    for stratum, by_key in values.items():
        varying[stratum[0]] |= {key for key, found in by_key.items() if len(found) > 1}
    return varying


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
    stamp = pd.Timestamp(cell["created"]) if _text(cell.get("created")) not in ("", "NaT") else pd.Timestamp(0)
    return stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")


def _scores_of(cells: Sequence[Record], results: Results) -> dict[str, list[Record]]:
    """Score records by cell, with `settings` (without scale), `scale` and `variant`."""
    by_cell: dict[str, list[Record]] = {cell["cell"]: [] for cell in cells}
    for score in _records(results.scores):
        if score["cell"] in by_cell:
            config = {key.removeprefix("evaluate."): value for key, value in _flat(score.get("config")).items()}
            scale = float(config.pop("scale", 1.0))
            metric, reason = _text(score["metric"]), _sentence(score.get("reason"))
            by_cell[score["cell"]].append(
                {**score, "metric": metric, "reason": reason, "settings": config, "scale": scale}
            )
    strata = [
        ((*_row_key(cell), *_scored_on(score)), score["settings"]) for cell in cells for score in by_cell[cell["cell"]]
    ]
    varying = _varying(strata)
    for cell in cells:
        for score in by_cell[cell["cell"]]:
            picked = _pick(score["settings"], varying[_name(cell)])
            score["variant"] = tuple((f"evaluate.{key}", value) for key, value in picked)
    return by_cell


def _newest_versions(scores: Mapping[str, Sequence[Record]]) -> tuple[dict[str, list[Record]], int]:
    """Scores by cell without those that it has from a newer version as well; how many evaluations those were."""
    kept: dict[str, list[Record]] = {}
    outdated: set[tuple[str, str]] = set()
    for cell, records in scores.items():
        newest: dict[Hashable, list[int]] = {}
        for record in records:
            newest[_question(record)] = max(newest.get(_question(record), []), _numbers(record["version"]))
        kept[cell] = [record for record in records if _numbers(record["version"]) == newest[_question(record)]]
        old = [record for record in records if _numbers(record["version"]) != newest[_question(record)]]
        outdated |= {(cell, record["evaluation"]) for record in old}
    return kept, len(outdated)


def _question(score: Record) -> Hashable:
    """What an evaluation asks, whatever the version that answers."""
    return _base(_scored_on(score)), tuple(sorted((key, _shown(value)) for key, value in score["settings"].items()))


def _base(scored_on: tuple[str, str, str, str, float]) -> tuple[str, str, str, float]:
    benchmark, _, data, protocol, scale = scored_on
    return benchmark, data, protocol, scale


def _numbers(version: Any) -> list[int]:
    """A version as what orders it: 10 after 9, and 1.2 after 1."""
    return [int(digits) for digits in re.findall(r"\d+", str(version))]


def _scored_on(score: Record) -> tuple[str, str, str, str, float]:
    return score["benchmark"], str(score["version"]), _text(score["data"]), _text(score["protocol"]), score["scale"]


def _metrics(scores: Mapping[str, Sequence[Record]]) -> tuple[Metric, ...]:
    """All metrics, main ones first; a benchmark that never gave a number has one nameless metric."""
    found: dict[tuple[Any, ...], Metric] = {}
    records = [record for members in scores.values() for record in members]
    named = {_scored_on(record) for record in records if record["metric"]}
    versions = Counter(_base(scored_on) for scored_on in {_scored_on(record) for record in records})
    for record in records:
        scored_on = _scored_on(record)
        if not record["metric"] and scored_on in named:
            continue
        benchmark, version, data, protocol, scale = scored_on
        found.setdefault(
            (*scored_on, record["metric"]),
            Metric(
                benchmark=benchmark,
                benchmark_title=_text(record.get("benchmark_title")) or benchmark,
                version=version,
                data=data,
                protocol=protocol,
                several_versions=versions[_base(scored_on)] > 1,
                scale=scale,
                name=record["metric"],
                title=_text(record.get("metric_title")) or record["metric"] or "no result",
                main=bool(record["main"]) if record["metric"] else True,
                higher_is_better=bool(record["higher_is_better"]) if record["metric"] else True,
                percent=bool(record["percent"]) if record["metric"] else True,
            ),
        )
    defined = {(*_scored_on(record), record["metric"]) for record in records if _finite(record["value"])}
    scored = {key[:-1] for key in defined}
    # What a data set does not define (PCKh without heads) is no column beside what it does.
    shown = (m for key, m in found.items() if m.main or key in defined or m.scored_on not in scored)
    return tuple(sorted(shown, key=lambda metric: (metric.scored_on, not metric.main)))


def _finite(value: Any) -> bool:
    return value is not None and bool(np.isfinite(float(value)))


Members = list[tuple[Record, list[Record]]]
"""(cell, scores) per seed of one row."""


def _rows(cells: Sequence[Record], scores: Mapping[str, Sequence[Record]]) -> dict[Row, Members]:
    """Rows with their cells and scores; a cell has one row per variant of its evaluations."""
    variants: dict[tuple[Any, ...], list[Pairs]] = defaultdict(list)
    for cell in cells:
        variants[_row_key(cell)] += [score["variant"] for score in scores[cell["cell"]]]
    rows: dict[Row, Members] = defaultdict(list)
    for cell in cells:
        found = set(variants[_row_key(cell)]) or {()}
        # A benchmark may lack a setting that another one sweeps; its scores stand in every variant they agree with.
        largest = sorted(v for v in found if not any(set(v) < set(other) for other in found))
        for variant in largest:
            row = _row(cell, variant)
            rows[row].append((cell, [s for s in scores[cell["cell"]] if set(s["variant"]) <= set(variant)]))
    return dict(rows)


def _row_key(cell: Record) -> tuple[Any, ...]:
    return _name(cell), cell["budget"], cell["backbone"], cell["variant"]


def _name(cell: Record) -> tuple[str, str]:
    """Method and title: given files share a method, and have titles of their own."""
    return cell["method"], _text(cell.get("title"))


def _row(cell: Record, variant: Pairs) -> Row:
    noise = cell["settings"].get("corpus.noise")
    oracle = noise is not None and float(noise) == 0
    shown = tuple(pair for pair in cell["variant"] if not (oracle and pair[0] == "corpus.noise"))
    return Row(
        method=cell["method"],
        title=_text(cell.get("title")) or cell["method"],
        supervision=cell["supervision"],
        supervision_title=_text(cell.get("supervision_title")) or cell["supervision"],
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
        known = [float(order) for order in orders if order is not None and _finite(order)]
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
            if _scored_on(score) != metric.scored_on or score["metric"] not in (metric.name, ""):
                continue
            config = score["settings"]
            leaks.append((_text(score.get("leak")), _text(score.get("leak_reason"))))
            value = float(score["value"]) if score["value"] is not None else float("nan")
            if score["metric"] == metric.name and np.isfinite(value):
                values[seed], readouts[seed] = value, _text(score.get("readout"))
                replicates[seed] = results.replicates.get((score["evaluation"], metric.name))
                problems.pop(seed, None)
            elif seed not in values:
                undefined = score["status"] == "done"
                problems[seed] = ("n/a", score["reason"] or "undefined") if undefined else _problem(score)
    if not values and not problems:
        return None
    leak, reason = min(leaks, key=lambda found: LEAKS.index(found[0]) if found[0] in LEAKS else len(LEAKS))
    return Entry(
        sample=_sample(values, replicates, members), problems=problems, readouts=readouts, config=config, leak=leak,
        leak_reason=reason,
    )  # fmt: skip


def _problem(record: Record) -> tuple[str, str]:
    return str(record["status"]), record["reason"]


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


def _failures(cells: Sequence[Record], scores: Mapping[str, Sequence[Record]]) -> tuple[list[Record], int]:
    """What did not end as done, cells before evaluations, and how much is still to finish."""
    failures: list[Record] = []
    unfinished = 0
    for cell in cells:
        missed = {s["evaluation"]: s for s in scores[cell["cell"]] if s["status"] != "done"}
        for record in ([cell] if cell["status"] != "done" else []) + list(missed.values()):
            if record["status"] not in FINAL:
                unfinished += 1
            else:
                failures.append({**cell, **record, "benchmark": record.get("benchmark", "")})
    return failures, unfinished
