"""What a search has to run: points of each method's space, and the cells that they make. Computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from hcbench.errors import ConfigError
from hcbench.harness.planning.cell import Cell, Evaluation, Matrix
from hcbench.harness.planning.config import Resolved
from hcbench.harness.planning.fingerprint import digest
from hcbench.harness.planning.machine import Machine
from hcbench.harness.planning.plan import make_plan
from hcbench.harness.planning.registry import Registry
from hcbench.harness.planning.settings import PretrainConfig
from hcbench.harness.tuning import objective
from hcbench.harness.tuning.points import default_of, distributions, points

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

SPLIT = "val"
PROTOCOL = "frozen"
"""All methods have it; a further one of some would count twice in their mean over benchmarks."""
TRIALS = 6
SHARE = 1 / 6
"""Of the images that a run sees: six trials cost what one run costs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One point of a method's search space.

    Attributes:
        number: From 0, which is the settings as they are without a search.
        settings: Every setting that is searched, as it is used.
        cell: What is pre-trained.
    """

    number: int
    settings: Mapping[str, Any]
    cell: Cell


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """All trials of one method; `study` names the conditions under which they can be compared."""

    method: str
    study: str
    space: Mapping[str, BaseDistribution]
    trials: tuple[Trial, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TuningPlan:
    """What a search would run.

    Attributes:
        searches: One per method.
        reference: The untrained network, where objectives are 0.
        matrix: The reference and all trials, with their evaluations.
        metrics: Benchmark to main metric to whether higher is better.
        full_images: Images that a run with these settings sees.
        earlier: Trials that the starting settings were already chosen from, by method.
    """

    searches: tuple[Search, ...]
    reference: Cell
    matrix: Matrix
    metrics: Mapping[str, Mapping[str, bool]]
    full_images: int
    earlier: Mapping[str, int]


def plan_tuning(
    resolved: Resolved,
    registry: Registry,
    machine: Machine,
    *,
    trials: int = TRIALS,
    share: float = SHARE,
    images: int | None = None,
    sampler_seed: int = 0,
) -> TuningPlan:
    """What a search has to run.

    Args:
        resolved: Settings that the search starts from; one value of each.
        registry: Where methods and benchmarks come from.
        machine: What the machine has.
        trials: Trials of each method, the first with the settings as they are.
        share: Images seen by a trial, as a share of those of a run.
        images: The same as a number; goes before `share`.
        sampler_seed: Seed of the points that are tried.

    Raises:
        ConfigError: Something is swept, does not exist, cannot be tuned, or does not fit.
        HcbenchError: As `make_plan`.
    """
    names = _names(resolved, registry)
    _check_single(resolved, names)
    full = make_plan(_only(resolved, names), registry, machine)
    for cell in full.cells:
        if cell.skip:
            raise ConfigError(f"{cell.method} cannot be tuned here: {cell.skip}.", "Leave it out, or change that.")
    seen = max(cell.images_seen for cell in full.cells)
    pretrain = _shortened(resolved.pretrains[0], images / seen if images else share)
    spaces = {name: distributions(registry.methods[name], *_start(resolved, name)) for name in names}
    settings = {name: _points(resolved, spaces, name, trials, sampler_seed) for name in names}
    configs = {name: _configs(resolved, name, settings[name]) for name in names}
    short = replace(
        _only(resolved, (*names, objective.REFERENCE)),
        pretrains=(pretrain,),
        # Trials are ordered by their scores alone; intervals of them would only take time.
        evaluates=(replace(resolved.evaluates[0], replicates=0),),
        methods={**resolved.methods, **configs},
    )
    matrix = make_plan(short, registry, machine, split=SPLIT)
    least = pretrain.groups_per_batch * pretrain.images_per_group
    if (longest := max(cell.images_seen for cell in matrix.cells)) < least:
        raise ConfigError(
            f"A trial would see {longest} images, fewer than one batch of {least}.",
            f"Let it see more, for example --images {10 * least}.",
        )
    return _assemble(matrix, registry, settings, configs, spaces, seen, sampler_seed, resolved.run.tuning_trials)


def _names(resolved: Resolved, registry: Registry) -> tuple[str, ...]:
    cards = [registry.method(name) for name in dict.fromkeys(resolved.run.methods)]
    trained = ", ".join(name for name, card in registry.methods.items() if card.trains)
    if not cards:
        raise ConfigError("No method was named.", f"For example: hcbench tune stablerep,mae. There are: {trained}.")
    for card in cards:
        if not card.trains:
            raise ConfigError(f"{card.name} is not trained, so there is nothing to tune.", f"There are: {trained}.")
    return tuple(dict.fromkeys(card.name for card in cards))


def _check_single(resolved: Resolved, names: Sequence[str]) -> None:
    """A search has one seed, one budget and one value of every setting, so that methods meet the same conditions."""
    run = resolved.run
    for name, values in (("seeds", run.seeds), ("budgets", run.budgets), ("backbones", run.backbones)):
        if len(dict.fromkeys(values)) > 1:
            raise ConfigError(
                f"A search takes one of the {name}, found {', '.join(map(str, values))}.", "Search for each by itself."
            )
    sections = (*("corpus", "pretrain", "evaluate"), *names)
    swept = [key for key, values in resolved.values.items() if len(values) > 1 and key.partition(".")[0] in sections]
    if swept:
        raise ConfigError(
            f"{swept[0]} has {len(resolved.values[swept[0]])} values; a search starts from one.",
            "What is searched stands on the methods' cards; give this setting one value.",
        )


def _only(resolved: Resolved, methods: Sequence[str]) -> Resolved:
    run = replace(resolved.run, methods=tuple(methods), controls=False, protocols=(PROTOCOL,))
    return replace(resolved, run=run)


def _shortened(pretrain: PretrainConfig, share: float) -> PretrainConfig:
    """The same training with a share of the images seen, whichever of its two rules decides their number."""
    if not 0 < share <= 1:
        raise ConfigError(
            f"A trial would see {share:g} times the images of a run; expected more than 0 and at most 1.",
            f"The default is --share {SHARE:.3f}.",
        )
    return replace(pretrain, min_images_seen=round(share * pretrain.min_images_seen), passes=share * pretrain.passes)


def _start(resolved: Resolved, name: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """A method's settings before the search, and what the recipe gives where they are None."""
    return resolved.methods[name][0], asdict(resolved.pretrains[0])


def _points(
    resolved: Resolved, spaces: Mapping[str, Mapping[str, BaseDistribution]], name: str, trials: int, seed: int
) -> list[dict[str, Any]]:
    if not spaces[name]:
        raise ConfigError(
            f"{name} has nothing to search: no setting lr, and no space on its card.", "Leave it out, or give it one."
        )
    config, recipe = _start(resolved, name)
    defaults = {key: default_of(key, config, recipe) for key in spaces[name]}
    return points(spaces[name], defaults, trials, seed)


def _configs(resolved: Resolved, name: str, settings: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """The method's settings of each trial; those of the first stay untouched, so that it is the cell of a plain run."""
    config = resolved.methods[name][0]
    return (config, *({**config, **point} for point in settings[1:]))


def _assemble(
    matrix: Matrix,
    registry: Registry,
    settings: Mapping[str, Sequence[Mapping[str, Any]]],
    configs: Mapping[str, Sequence[Mapping[str, Any]]],
    spaces: Mapping[str, Mapping[str, BaseDistribution]],
    full_images: int,
    sampler_seed: int,
    earlier: Mapping[str, int],
) -> TuningPlan:
    """Find the cell of each trial, and name the studies."""
    (reference,) = (cell for cell in matrix.cells if cell.method == objective.REFERENCE)
    reference = replace(reference, tuning="reference")
    searches = []
    for method, method_settings in settings.items():
        trials = []
        for number, (values, config) in enumerate(zip(method_settings, configs[method], strict=True)):
            cell = next(one for one in matrix.cells if (one.method, one.settings) == (method, config))
            trials.append(Trial(number=number, settings=values, cell=replace(cell, tuning=f"trial {number}")))
        first = [one.fingerprint for one in matrix.evaluations[trials[0].cell.fingerprint]]
        zero = [one.fingerprint for one in matrix.evaluations[reference.fingerprint]]
        conditions = {
            "objective": objective.VERSION,
            "evaluations": [*first, *zero],  # theirs hold those of the cells: method, data, code
            "space": {name: str(one) for name, one in spaces[method].items()},
            "seed": sampler_seed,
        }
        study = f"{method}-{digest(conditions)[:8]}"
        searches.append(Search(method=method, study=study, space=spaces[method], trials=tuple(trials)))
    cells = {cell.fingerprint: cell for search in searches for cell in (trial.cell for trial in search.trials[::-1])}
    ordered = (reference, *(cells[cell.fingerprint] for cell in matrix.cells if cell.fingerprint in cells))
    return TuningPlan(
        searches=tuple(searches),
        reference=reference,
        matrix=Matrix(cells=ordered, evaluations=matrix.evaluations),
        metrics={
            scored_as(one, registry): {
                metric.name: metric.higher_is_better
                for metric in registry.benchmark(one.benchmark).on(one.scored_data, one.split).main_metrics
            }
            for one in matrix.evaluations[reference.fingerprint]
        },
        full_images=full_images,
        earlier=earlier,
    )


def scored_as(evaluation: Evaluation, registry: Registry) -> str:
    """Name of an evaluation in tables: its benchmark, and the data where they are not the benchmark's first."""
    own = evaluation.data_label == registry.benchmark(evaluation.benchmark).data[0]
    return evaluation.benchmark if own else f"{evaluation.benchmark} on {evaluation.data_label}"
