"""What a method's search space comes to under given settings, and the points of it that are tried."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hcbench.errors import ConfigError, did_you_mean
from hcbench.methods.card import MethodCard
from hcbench.methods.space import LEARNING_RATE, Around, Choice, Domain

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    Distributions = Mapping[str, BaseDistribution]

_DIGITS = 3
"""Significant digits of what is drawn: a yaml file then holds the very number that was tried."""


def searched(card: MethodCard, config: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Domain]:
    """The part of a method's space that has an effect under its settings.

    Args:
        card: The method's card.
        config: Its settings.
        recipe: What a setting takes that is None, `pretrain.lr` for `lr`.

    Raises:
        ConfigError: The space names what is no setting.
    """
    found = {}
    for name, domain in card.search_space.items():
        if name not in config:
            if name in LEARNING_RATE:  # a method may have no rate of its own
                continue
            raise ConfigError(
                f"The search space of {card.name} names {name!r}, no setting.", did_you_mean(name, config)
            )
        if domain.when and not config[domain.when]:
            continue
        if isinstance(domain, Around) and not default_of(name, config, recipe):
            continue
        found[name] = domain
    return found


def default_of(name: str, config: Mapping[str, Any], recipe: Mapping[str, Any]) -> Any:
    """The value that a setting has without a search."""
    return recipe[name] if config[name] is None else config[name]


def distributions(
    card: MethodCard, config: Mapping[str, Any], recipe: Mapping[str, Any]
) -> dict[str, BaseDistribution]:
    """The space as Optuna writes it; arguments as for `searched`.

    Raises:
        ConfigError: The user's own setting lies outside of what is searched.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    made: dict[str, BaseDistribution] = {}
    for name, domain in searched(card, config, recipe).items():
        default = default_of(name, config, recipe)
        if isinstance(domain, Around):
            low, high = (_rounded(default / domain.factor), _rounded(default * domain.factor))
            made[name] = FloatDistribution(low, high, log=True)
        elif isinstance(domain, Choice):
            made[name] = CategoricalDistribution(domain.options)
        else:
            made[name] = FloatDistribution(domain.low, domain.high)
        outside = default not in domain.options if isinstance(domain, Choice) else not _within(default, made[name])
        if outside:
            raise ConfigError(
                f"{card.name}.{name} is {default}, outside of what is searched: {domain}.",
                "The first trial is the settings as they are: choose a value inside, or widen the space on the card.",
            )
    return made


def points(space: Distributions, defaults: Mapping[str, Any], trials: int, seed: int) -> list[dict[str, Any]]:
    """The settings to try, the defaults first; the points of fewer trials are the first of those of more.

    All are drawn before anything runs, by a scrambled Halton sequence. A sampler that learns from results (TPE) would
    make them depend on which trial ended first, and so on the number of workers and on interruptions; and it draws
    its first ten at random anyway. A sequence that spreads evenly does better than chance with as few as six.

    Args:
        space: Distributions by setting.
        defaults: Their values without a search.
        trials: How many, at least 1.
        seed: Seed of the sequence.
    """
    import optuna

    with warnings.catch_warnings():
        # Its interface may change; what it drew is stored with every trial.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.QMCSampler(qmc_type="halton", scramble=True, seed=seed)
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=sampler)
        study.enqueue_trial(dict(defaults))
        study.ask(dict(space))
        draws = [study.ask(dict(space)).params for _ in range(trials - 1)]
    finally:
        optuna.logging.set_verbosity(before)
    return [dict(defaults), *({name: _kept(value, space[name]) for name, value in one.items()} for one in draws)]


def _within(value: Any, distribution: Any) -> bool:
    return bool(distribution.low <= value <= distribution.high)


def _kept(value: Any, distribution: Any) -> Any:
    """A drawn number with few digits, inside its bounds."""
    if not isinstance(value, float) or not hasattr(distribution, "low"):
        return value
    return min(max(_rounded(value), distribution.low), distribution.high)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
