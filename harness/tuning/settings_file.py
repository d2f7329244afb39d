"""What a search leaves: the best settings as yaml for `run --config`, and every trial as csv beside it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hcbench import __version__
from hcbench.errors import ConfigError
from hcbench.harness.jobs.atomic_files import replacing
from hcbench.harness.tuning import objective
from hcbench.harness.tuning.plan import Search
from hcbench.harness.tuning.search_run import Tuned

MARK = "# Written by `hcbench tune`"
"""How such a file begins; a file that begins otherwise is somebody's own, and never replaced."""


def check_target(path: Path) -> None:
    """See that a file may be written, before hours of work go into it.

    Raises:
        ConfigError: It may not.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--out {path} is no yaml file.", f"For example: --out {path.with_suffix('.yaml')}")
    if path.is_file() and not path.read_text(encoding="utf-8", errors="replace").startswith(MARK):
        raise ConfigError(
            f"{path} exists, and `hcbench tune` has not written it.",
            "Name another file, and copy from it what you want to keep.",
        )


def trials_path(path: Path) -> Path:
    """Where the table of trials goes that belongs to a file of settings."""
    return path.with_name(f"{path.stem}-trials.csv")


def write_tuned(path: Path, tuned: Tuned) -> tuple[Path, Path]:
    """Write the best settings and the table of trials; gives both paths."""
    table = trials_path(path)
    for target, text in ((table, _table(tuned)), (path, _settings(tuned, table.name))):
        with replacing(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return path, table


def _settings(tuned: Tuned, table: str) -> str:
    plan = tuned.plan
    first = plan.searches[0].trials[0].cell
    chosen = {search.method: place for search in plan.searches if (place := tuned.best(search.method)) is not None}
    trials = {s.method: plan.earlier.get(s.method, 0) + len(s.trials) for s in plan.searches if s.method in chosen}
    lines = [
        f"{MARK} {__version__}: the best of {len(plan.searches[0].trials)} trials of each method, on validation.",
        f"# {first.corpus.name} {first.budget} ({first.budget_images:,} images), {first.images_seen:,} of "
        f"{plan.full_images:,} images seen, seed {first.seed}, {first.backbone}, profile {first.profile}.",
        f"# Benchmarks: {', '.join(tuned.reference)}. All trials: {table}.",
        "run:",
        f"  tuning_trials: {_value(trials)}",
    ]
    for search in plan.searches:
        lines += _section(tuned, search, chosen.get(search.method))
    return "\n".join(lines) + "\n"


def _section(tuned: Tuned, search: Search, best: int | None) -> Iterator[str]:
    if best is None:
        yield f"# {search.method}: no trial could be scored."
        return
    trial, start = search.trials[best], tuned.tried[search.method][0]
    value = tuned.tried[search.method][best]
    words = f"trial {best}, objective {_number(value.objective if value else None)}"
    yield f"# {words}{'' if best == 0 else f'; without a search {_number(start.objective if start else None)}'}"
    yield f"{search.method}:"
    for name, used in trial.settings.items():
        setting = trial.cell.method_config[name]
        # A default that follows the profile goes on following it.
        yield f"  {name}: {_value(setting)}{'' if setting is not None else f'  # the profile, {_value(used)}'}"


def _table(tuned: Tuned) -> str:
    names = list(dict.fromkeys(name for search in tuned.plan.searches for name in search.space))
    metrics = [(name, metric) for name, metric_names in tuned.plan.metrics.items() for metric in metric_names]
    titles = [f"{name} {metric}" for name, metric in metrics]
    stream = io.StringIO()
    out = csv.writer(stream, lineterminator="\n")
    out.writerow(
        ["method", "trial", "best", "status", "objective", *titles, *names, "images_seen", "seconds", "cell", "reason"]
    )

    def scores(found: objective.ValidationScores) -> list[str]:
        return [_number(found.get(name, {}).get(metric)) for name, metric in metrics]

    blank = [""] * len(names)
    reference = tuned.plan.reference
    out.writerow(
        [reference.method, "", "", "", _number(0.0), *scores(tuned.reference), *blank, 0, "", reference.fingerprint, ""]
    )
    for search in tuned.plan.searches:
        best = tuned.best(search.method)
        for trial, tried in zip(search.trials, tuned.tried[search.method], strict=True):
            if tried is None:
                continue
            settings = [_value(trial.settings[name]) if name in trial.settings else "" for name in names]
            mark = "yes" if trial.number == best else ""
            out.writerow(
                [search.method, trial.number, mark, tried.status, _number(tried.objective), *scores(tried.scores),
                 *settings, tried.images_seen, round(tried.seconds, 1), trial.cell.fingerprint, tried.reason]
            )  # fmt: skip
    return stream.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _value(value: Any) -> str:
    """A setting as yaml reads it back."""
    return json.dumps(value)
