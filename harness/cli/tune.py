"""The command `hcbench tune`: from its options to trials, their table, and the files of the best settings."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hcbench.harness.cli.options import Request
from hcbench.harness.cli.plan import show_plan
from hcbench.harness.cli.progress import STYLES, clock, watching
from hcbench.harness.cli.tables import plain_table
from hcbench.harness.planning.registry import Registry
from hcbench.harness.store.workspace import Workspace
from hcbench.harness.tuning.plan import Trial, TuningPlan, plan_tuning
from hcbench.harness.tuning.search_run import Tuned, tune
from hcbench.harness.tuning.settings_file import check_target, write_tuned
from hcbench.harness.tuning.trials import Tried


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What `hcbench tune` is told beside a `Request`; `None` takes the default."""

    trials: int
    share: float
    images: int | None
    sampler_seed: int
    out: Path | None
    workspace: Path
    tracking_uri: str | None
    workers: int | None
    executor: str
    dry_run: bool


def run_tune(console: Console, request: Request, options: Options) -> Tuned | None:
    """Tune, show and write; gives how it ended, None after a dry run."""
    target = options.out or Workspace(options.workspace).tuned
    check_target(target)
    plan, registry = _plan(request, options)
    if options.dry_run:
        console.print(_points_table(plan))
        show_plan(console, plan.matrix, options.workspace, options.tracking_uri, options.workers)
        return None
    with watching(plan.matrix, console) as listener:
        tuned = tune(
            plan, registry, workspace=options.workspace, tracking_uri=options.tracking_uri, workers=options.workers,
            executor=options.executor, listener=listener,
        )  # fmt: skip
    console.print(trials_table(tuned))
    console.print(_explained(plan), style="dim", soft_wrap=True)
    _end(console, tuned, target, target if options.out else None, options.workspace)
    return tuned


def _plan(request: Request, options: Options) -> tuple[TuningPlan, Registry]:
    from hcbench.harness.planning.machine import look

    resolved, registry = request.resolve(workspace=options.workspace)
    plan = plan_tuning(
        resolved, registry, look(), trials=options.trials, share=options.share, images=options.images,
        sampler_seed=options.sampler_seed,
    )  # fmt: skip
    return plan, registry


def trials_table(tuned: Tuned) -> Table:
    """Every trial of every method, the best one of each marked."""
    metrics = [(name, metric) for name, several in tuned.plan.metrics.items() for metric in several]
    scores = [f"{name} {metric}" for name, metric in metrics]
    columns = ("method", "trial", "objective", *scores, "time", "settings")
    table = plain_table(*columns, right=("trial", "objective", *scores, "time"), unbroken=columns[:-1])

    def shown(found: Tried | None) -> list[str]:
        values = found.scores if found else {}
        return [_percent(values.get(name, {}).get(metric)) for name, metric in metrics]

    reference = tuned.plan.reference.method
    if tuned.reference:
        table.add_row(reference, "", "0", *shown(Tried(status="done", scores=tuned.reference)), "", "", style="dim")
    for search in tuned.plan.searches:
        best = tuned.best(search.method)
        for trial, tried in zip(search.trials, tuned.tried[search.method], strict=True):
            mark = " *" if trial.number == best else ""
            table.add_row(
                search.method, f"{trial.number}{mark}", _objective(tried), *shown(tried),
                clock(tried.seconds) if tried and tried.seconds else "", _settings_text(trial, tried),
                style="bold" if mark else "",
            )  # fmt: skip
    return table


def _points_table(plan: TuningPlan) -> Table:
    table = plain_table("method", "trial", "settings", right=("trial",), unbroken=("method", "trial"))
    for search in plan.searches:
        for trial in search.trials:
            table.add_row(search.method, str(trial.number), _settings_text(trial, None))
    return table


def _explained(plan: TuningPlan) -> str:
    first = plan.searches[0].trials[0].cell
    return (
        f"Validation scores x 100 after {first.images_seen:,} of {plan.full_images:,} images seen. "
        "Objective: mean gain over the untrained network on the arcsine scale. "
        "Trial 0: the settings without a search. *: the best."
    )


def _end(console: Console, tuned: Tuned, target: Path, named: Path | None, workspace: Path) -> None:
    """Write what was found once every method has had its trials, and say what comes next."""
    if not tuned.complete:
        open_trials = sum(one is None or not one.counts for several in tuned.tried.values() for one in several)
        console.print(
            f"{open_trials} trials are still open, and every method is to have as many: nothing was written. "
            "The same command goes on.",
            style="yellow", soft_wrap=True,
        )  # fmt: skip
        return
    for search in tuned.plan.searches:
        if tuned.best(search.method) is None:
            console.print(f"{search.method}: no trial could be scored.", style="bold red", soft_wrap=True)
    for path in write_tuned(target, tuned):
        console.print(f"wrote {path}", soft_wrap=True)
    methods = ",".join(search.method for search in tuned.plan.searches)
    place = "" if str(workspace) == "hcbench-runs" else f" --workspace {shlex.quote(str(workspace))}"
    how = f"--config {shlex.quote(str(named))}" if named else "--tuned"
    console.print(f"Next: hcbench run --methods {methods} {how}{place}", soft_wrap=True)


def _objective(tried: Tried | None) -> Text:
    if tried is None or tried.objective is None:
        status = tried.status if tried else "waiting"
        return Text(status, style=STYLES.get(status, ""))
    return Text(f"{tried.objective:+.3f}")


def _settings_text(trial: Trial, tried: Tried | None) -> str:
    words = ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in trial.settings.items()
    )
    return f"{words} ({tried.reason})" if tried and tried.reason else words


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
