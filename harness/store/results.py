"""What the store knows: finished fingerprints for a run, tidy tables for a report."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hcbench.benchmarks.card import MetricInfo
from hcbench.errors import CacheError
from hcbench.harness.jobs.cell_folder import REPLICATES
from hcbench.harness.planning.card_facts import read_metrics
from hcbench.harness.planning.cell import COMPUTE_LIMITED_PASSES
from hcbench.harness.planning.leaks import verdict
from hcbench.harness.store.import_cell import OVERRIDE, versions
from hcbench.harness.store.long_facts import cut_long_ago
from hcbench.harness.store.mlflow_store import CELL, EVALUATION, StoredRun, Tracker
from hcbench.methods.card import SUPERVISION
from hcbench.records import CELL_COLUMNS, LEDGER, SCORE_COLUMNS, CellRow, ScoreRow

Read = TypeVar("Read")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Known:
    """Records of what is finished, by fingerprint; skipped evaluations are those that can never give a number."""

    cells: Mapping[str, StoredRun]
    evaluations: Mapping[str, StoredRun]
    skipped: Mapping[str, StoredRun] = field(default_factory=dict)


def finished(tracker: Tracker) -> Known:
    """Cells and evaluations that are done; everything else is to be run (again)."""
    cells = {record.fingerprint: record for record in tracker.records(CELL) if record.status == "done"}
    evaluations: dict[str, dict[str, StoredRun]] = {"done": {}, "skipped": {}}
    for record in tracker.records(EVALUATION):
        evaluations.setdefault(record.status, {})[record.fingerprint] = record
    return Known(cells, evaluations["done"], evaluations["skipped"])


class ResultTables(NamedTuple):
    """The parts of `reports.results.Results`, whose docstring names every column.

    What can no longer be read is left out, named and explained in the footer.
    """

    cells: pd.DataFrame
    scores: pd.DataFrame
    replicates: Mapping[tuple[str, str], NDArray[np.float64]]
    footer: Mapping[str, str]


def tables(tracker: Tracker, split: str = "test") -> ResultTables:
    """Everything in the store as tidy tables; replicates are read when they are asked for.

    Args:
        tracker: The store.
        split: Split that the scores are of. `val` gives the trials of `hcbench tune`; without it they are left out, but
            for those that a run has scored on test as well.
    """
    evaluations = [record for record in tracker.records(EVALUATION) if record.params.get("split", "test") == split]
    scored = {record.tags.get("cell") for record in evaluations}
    cells = [
        record
        for record in tracker.records(CELL)
        if ("tuning" in record.tags) == (split != "test") or record.fingerprint in scored
    ]
    names = {record.fingerprint for record in cells}
    evaluations = [record for record in evaluations if record.tags.get("cell") in names]
    left_out: list[str] = []
    rows = {record.fingerprint: row for record in cells if (row := _readable(record, _cell_row, left_out)) is not None}
    trained = {record.fingerprint: record for record in cells if record.fingerprint in rows}
    scores: list[ScoreRow] = []
    for record in evaluations:
        if record.tags["cell"] in trained:
            cell = trained[record.tags["cell"]]
            scores += _readable(record, partial(_all_score_rows, cell=cell), left_out) or []
    return ResultTables(
        cells=_frame([row.columns() for row in rows.values()], CELL_COLUMNS),
        scores=_frame([asdict(row) for row in scores], SCORE_COLUMNS),
        replicates=Replicates(tracker, [record for record in evaluations if record.status == "done"]),
        footer=_footer(tracker, cells, left_out) | ({} if split == "test" else {"scored on": f"the split {split}"}),
    )


def _readable(record: StoredRun, read: Callable[[StoredRun], Read], left_out: list[str]) -> Read | None:
    """What a stored run says; where it can no longer be read, None, with a sentence in `left_out`."""
    try:
        if record.damage:
            raise ValueError(record.damage)
        return read(record)
    except (KeyError, ValueError, TypeError) as error:
        cut = ", ".join(cut_long_ago(record.tags))
        why = f"{cut} was cut by an older hcbench" if cut else f"{type(error).__name__}: {error}"
        left_out.append(f"{record.kind} {record.name} ({record.fingerprint[:8]}): {record.damage or why}")
        log.warning("%s is left out; `hcbench run --fresh` with it computes it again", left_out[-1])
        return None


class Replicates(Mapping[tuple[str, str], NDArray[np.float64]]):
    """Bootstrap replicates by (evaluation, metric); an evaluation's file is read at its first use."""

    def __init__(self, tracker: Tracker, records: list[StoredRun]) -> None:
        self._tracker = tracker
        self._records = {record.fingerprint: record for record in records}
        self._read: dict[str, Mapping[str, NDArray[np.float64]]] = {}

    def __getitem__(self, key: tuple[str, str]) -> NDArray[np.float64]:
        return self._of(key[0])[key[1]]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for evaluation in self._records:
            for metric in self._of(evaluation):
                yield evaluation, metric

    def __len__(self) -> int:
        return sum(len(self._of(evaluation)) for evaluation in self._records)

    def _of(self, evaluation: str) -> Mapping[str, NDArray[np.float64]]:
        if evaluation not in self._read:
            record = self._records[evaluation]
            path = self._tracker.artifact(record, REPLICATES)
            try:
                table = pd.DataFrame() if path is None else pd.read_parquet(path)
            except (OSError, ValueError) as error:
                words = " ".join(str(error).split())[:200].removesuffix(".")
                raise CacheError(
                    f"{path} ({record.name}, {record.fingerprint[:8]}) is damaged: {words}.",
                    "Put the file back, or compute it again: the `hcbench run ...` that made it, with --fresh.",
                ) from error
            self._read[evaluation] = {str(name): table[name].to_numpy(np.float64) for name in table}
        return self._read[evaluation]


def _cell_row(record: StoredRun) -> CellRow:
    params, tags = record.params, record.tags
    return CellRow(
        cell=record.fingerprint,
        method=params["method"],
        title=tags.get("title", params["method"]),
        supervision=tags.get("supervision", ""),
        supervision_title=tags.get("supervision_title", ""),
        supervision_order=_order(tags),
        least_passes=float(tags.get("least_passes", COMPUTE_LIMITED_PASSES)),
        sources=_sound_json(tags.get("sources", "")),
        nameless=tags.get("nameless", ""),
        budget=params["budget"],
        budget_images=int(params["budget_images"]),
        seed=int(params["seed"]),
        backbone=params["backbone"],
        corpus=params["corpus.name"],
        layout=params["corpus.layout"],
        profile=params["profile"],
        precision=params["pretrain.precision"],
        effort=params.get("effort", "images"),
        config=json.dumps({name: value for name, value in params.items() if "." in name}, sort_keys=True),
        overrides=json.dumps(_overrides(record), sort_keys=True),
        status=record.status,
        reason=tags.get("reason", ""),
        created=datetime.fromtimestamp(record.created),
        ledger={name.removeprefix(LEDGER): v for name, v in record.metrics.items() if name.startswith(LEDGER)},
    )


def _sound_json(text: str) -> str:
    """The text, where it is empty or JSON; raises a ValueError where it was cut."""
    if text:
        json.loads(text)
    return text


def _order(tags: Mapping[str, str]) -> float:
    """Place of the supervision group in a report; NaN where it is none of ours."""
    groups = tuple(SUPERVISION)
    group = tags.get("supervision", "")
    written_before_the_tag = float(groups.index(group)) if group in groups else np.nan
    return float(tags.get("supervision_order", written_before_the_tag))


def _overrides(record: StoredRun) -> dict[str, Any]:
    """Settings that the user changed, with their values; none in results from before they were written down."""
    names = [name.removeprefix(OVERRIDE) for name in record.tags if name.startswith(OVERRIDE)]
    return {name: record.params[name] for name in names if name in record.params}


def _all_score_rows(record: StoredRun, cell: StoredRun) -> list[ScoreRow]:
    return list(_score_rows(record, cell))


def _score_rows(record: StoredRun, cell: StoredRun) -> Iterator[ScoreRow]:
    """The scores of an evaluation; one row with neither metric nor value where it did not end as done."""
    params, tags = record.params, record.tags
    leak = verdict(cell.tags, cell.params, params["data"])
    blank = ScoreRow(
        cell=tags["cell"],
        evaluation=record.fingerprint,
        benchmark=params["benchmark"],
        benchmark_title=tags["benchmark_title"],
        version=params["version"],
        data=params["data"],
        protocol=params["protocol"],
        config=_sound_json(tags["config"]),
        readout=tags.get("readout", ""),
        metric="",
        metric_title="",
        value=float("nan"),
        main=False,
        higher_is_better=True,
        percent=True,
        status=record.status,
        reason=tags.get("reason", ""),
        leak=leak.status,
        leak_reason=leak.why,
    )
    if record.status != "done":
        yield blank
        return
    known = {metric.name: metric for metric in read_metrics(json.loads(tags["metrics"]))}
    unknown = {name: MetricInfo(name=name, title=name) for name in record.metrics if name not in known}
    for name, metric in {**known, **unknown}.items():
        if name in record.metrics:
            yield replace(
                blank,
                metric=name,
                metric_title=metric.title,
                value=record.metrics[name],
                main=metric.main,
                higher_is_better=metric.higher_is_better,
                percent=metric.percent,
            )


def _frame(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    further = [name for name in table.columns if name not in columns]
    return table.reindex(columns=[*columns, *further])


def _footer(tracker: Tracker, cells: list[StoredRun], left_out: list[str]) -> dict[str, str]:
    made = sorted({" ".join(filter(None, (c.tags.get("version", ""), c.tags.get("commit", "")))) for c in cells})
    return {
        **versions(),
        "results made by": ", ".join(made),
        "python": platform.python_version(),
        "workspace": str(tracker.workspace.root),
        **({"tracking": tracker.uri} if tracker.uri else {}),
        **({f"left out ({len(left_out)}, cannot be read)": "; ".join(left_out)} if left_out else {}),
    }
