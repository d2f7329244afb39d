"""`hcbench tune`: the same number of trials for every method, on validation alone.

A trial is an ordinary cell with a share of the images seen, scored on the validation split; its evaluations cannot
read test (`settings.Evaluation.splits`). All trials of all methods are one matrix, so `run_matrix` runs them side by
side, goes on where it was interrupted and knows what it has done, and no number depends on workers or order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hcbench.errors import HcbenchError, TaskError
from hcbench.harness.jobs.events import Listener, ignore
from hcbench.harness.jobs.executors.base import DEFAULT_EXECUTOR
from hcbench.harness.planning.cell import Cell, Matrix
from hcbench.harness.planning.registry import Registry
from hcbench.harness.store.workspace import Workspace
from hcbench.harness.tuning import objective
from hcbench.harness.tuning.plan import Trial, TuningPlan, scored_as
from hcbench.harness.tuning.trials import TrialStore, Tried

if TYPE_CHECKING:
    from hcbench.harness.running.run import RunOutcome
    from hcbench.harness.store.mlflow_store import Tracker


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuned:
    """How a search stands.

    Attributes:
        plan: What was to be tried.
        tried: By method: how each trial ended, in the plan's order; None where it was not begun.
        reference: Validation scores of the untrained network; empty where they are not known.
        interrupted: Whether somebody stopped it.
    """

    plan: TuningPlan
    tried: Mapping[str, tuple[Tried | None, ...]]
    reference: objective.ValidationScores
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """Whether every method has had its equal number of trials."""
        return all(one is not None and one.counts for trials in self.tried.values() for one in trials)

    @property
    def ok(self) -> bool:
        """Whether it is complete, with a best trial for every method."""
        return self.complete and all(self.best(method) is not None for method in self.tried)

    def best(self, method: str) -> int | None:
        """Position of the best trial, the first one among equals; None where no trial was scored."""
        values = [-math.inf if one is None or one.objective is None else one.objective for one in self.tried[method]]
        place = max(range(len(values)), key=lambda i: (values[i], -i))
        return None if values[place] == -math.inf else place


def tune(
    plan: TuningPlan,
    registry: Registry,
    *,
    workspace: Path,
    tracking_uri: str | None = None,
    workers: int | None = None,
    executor: str = DEFAULT_EXECUTOR,
    listener: Listener = ignore,
) -> Tuned:
    """Run the trials that are not known yet; the rest as `run_matrix`.

    Raises:
        CacheError: The workspace or its trials cannot be used.
        HcbenchError: The untrained network cannot be scored, so that there is nothing to compare with.
    """
    place = Workspace(workspace)
    place.make()
    stores = {search.method: TrialStore(place.tuning, search.study) for search in plan.searches}
    known = {method: store.finished() for method, store in stores.items()}
    left = [
        (search, trial)
        for search in plan.searches
        for trial in search.trials
        if (trial.number, trial.cell.fingerprint) not in known[search.method]
    ]
    interrupted, missing = False, dict[tuple[str, int], Tried]()
    if left:
        from hcbench.harness.running.run import run_matrix
        from hcbench.harness.store.mlflow_store import Tracker

        matrix = _part(plan, [trial.cell for _, trial in left])
        outcome = run_matrix(
            matrix,
            workspace=workspace,
            tracking_uri=tracking_uri,
            workers=workers,
            executor=executor,
            listener=listener,
        )
        interrupted = outcome.interrupted
        judge = _Judge(plan, registry, outcome, Tracker(place, tracking_uri))
        for search, trial in left:
            tried = judge.tried(trial.cell)
            if tried.counts:
                stores[search.method].reference = judge.reference
                judge.note(trial, tried)
                stores[search.method].add(trial.number, trial.cell.fingerprint, trial.settings, search.space, tried)
            else:
                missing[search.method, trial.number] = tried
    known = {method: store.finished() for method, store in stores.items()}
    return Tuned(
        plan=plan,
        tried={
            search.method: tuple(
                known[search.method].get((one.number, one.cell.fingerprint), missing.get((search.method, one.number)))
                for one in search.trials
            )
            for search in plan.searches
        },
        reference=next((found for store in stores.values() if (found := store.reference)), {}),
        interrupted=interrupted,
    )


def _part(plan: TuningPlan, cells: Sequence[Cell]) -> Matrix:
    """The part of the plan that holds the reference and these cells of trials."""
    fingerprints = {plan.reference.fingerprint, *(cell.fingerprint for cell in cells)}
    kept = tuple(cell for cell in plan.matrix.cells if cell.fingerprint in fingerprints)
    return Matrix(cells=kept, evaluations={name: plan.matrix.evaluations[name] for name in fingerprints})


class _Judge:
    """Reads from a run's outcome and the store how trials ended."""

    def __init__(self, plan: TuningPlan, registry: Registry, outcome: RunOutcome, tracker: Tracker) -> None:
        from hcbench.harness.store.mlflow_store import CELL, EVALUATION

        self.plan, self.registry, self.outcome, self.tracker = plan, registry, outcome, tracker
        self.cells = {record.fingerprint: record for record in tracker.records(CELL)}
        self.evaluations = {record.fingerprint: record for record in tracker.records(EVALUATION)}
        self.reference: objective.ValidationScores = {}
        tried = self._scored(plan.reference)
        if tried.counts and not tried.scores:
            raise HcbenchError(
                "The untrained network, from which gains are counted, could not be scored: "
                f"{tried.reason or 'no benchmark can be run on these data'}.",
                f"See `hcbench show {plan.reference.fingerprint[:8]}`.",
            )
        self.reference = tried.scores

    def tried(self, cell: Cell) -> Tried:
        """How the trial of a cell ended."""
        found = self._scored(cell)
        if found.status != "done":
            return found
        if not self.reference:
            return Tried(status="interrupted", reason="the untrained network has not been scored yet")
        shared = {name: values for name, values in self.reference.items() if name in found.scores}
        try:
            return replace(found, objective=objective.objective(found.scores, shared, self.plan.metrics))
        except TaskError as error:
            return replace(found, status="failed", reason=error.message)

    def note(self, trial: Trial, tried: Tried) -> None:
        """Put the objective on the trial's run, for the interface of the store."""
        record = self.cells.get(trial.cell.fingerprint)
        if record is not None and tried.objective is not None:
            self.tracker.add_metrics(record.run, {"tuning.objective": tried.objective})

    def _scored(self, cell: Cell) -> Tried:
        """ValidationScores of a cell, or why there are none; benchmarks that cannot be run on its data are left out."""
        ended = self.outcome.cells.get(cell.fingerprint)
        if ended is None or ended.status != "done":
            return Tried(status=ended.status, reason=ended.reason) if ended else Tried(status="interrupted")
        seconds = _seconds(self.cells[cell.fingerprint].tags)
        scores: dict[str, dict[str, float]] = {}
        for one in self.plan.matrix.evaluations[cell.fingerprint]:
            name, how = scored_as(one, self.registry), self.outcome.evaluations[one.fingerprint]
            if how.status == "skipped":
                continue
            if how.status != "done":
                return Tried(status=how.status, reason=f"{name}: {how.reason}", seconds=seconds)
            record = self.evaluations[one.fingerprint]
            seconds += _seconds(record.tags)
            scores[name] = {metric: record.metrics[metric] for metric in self.plan.metrics[name]}
        return Tried(status="done", scores=scores, seconds=seconds, images_seen=cell.images_seen)


def _seconds(tags: Mapping[str, str]) -> float:
    return float(tags.get("seconds") or 0.0)
