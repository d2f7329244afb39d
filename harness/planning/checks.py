"""Settings that have the right type but make no sense, found before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hcbench.benchmarks.recipes import recipe_names
from hcbench.benchmarks.settings import EvaluateConfig
from hcbench.data.formats.person_boxes import BOXES
from hcbench.errors import ConfigError, did_you_mean
from hcbench.harness.planning.backbones import readouts
from hcbench.harness.planning.corpora import LAYOUTS
from hcbench.harness.planning.settings import PretrainConfig

PRECISIONS = ("auto", "fp32", "bf16")
EFFORTS = ("images", "compute")

_Rule = tuple[str, Callable[[Any], bool], str]


def _above(limit: float) -> Callable[[Any], bool]:
    return lambda value: bool(value > limit)


def _within(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: bool(low <= value <= high)


_PRETRAIN: tuple[_Rule, ...] = (
    ("min_images_seen", _above(-1), "0 or more"),
    ("passes", _above(0), "above 0"),
    ("groups_per_batch", _above(0), "1 or more"),
    ("images_per_group", _above(0), "1 or more"),
    ("height", _above(0), "1 or more"),
    ("width", _above(0), "1 or more"),
    ("lr", _above(0), "above 0"),
    ("weight_decay", _above(-1e-12), "0 or more"),
    ("beta1", lambda value: 0 <= value < 1, "at least 0 and below 1"),
    ("beta2", lambda value: 0 <= value < 1, "at least 0 and below 1"),
    ("warmup", _within(0, 1), "a share between 0 and 1"),
    ("clip_norm", _above(-1e-12), "0 (no clipping) or more"),
    ("log_every", _above(0), "1 or more"),
    ("checkpoint_every_s", _above(-1e-12), "0 (never) or more"),
)
_EVALUATE: tuple[_Rule, ...] = (
    ("scale", lambda value: 0 < value <= 1, "above 0 and at most 1"),
    ("replicates", _above(-1), "0 or more"),
    ("epochs", _above(0), "above 0"),
    ("batch_size", _above(0), "1 or more"),
    ("shots", _above(-1), "0 (all images) or more"),
)


def check_pretrain(config: PretrainConfig) -> None:
    """Raise a ConfigError where a value of `pretrain.*` is out of range."""
    _check("pretrain", config, _PRETRAIN)
    check_choice("pretrain.precision", config.precision, PRECISIONS)


def check_evaluate(config: EvaluateConfig) -> None:
    """Raise a ConfigError where a value of `evaluate.*` is out of range."""
    _check("evaluate", config, _EVALUATE)
    check_choice("evaluate.readout", config.readout, ("auto", *readouts()))
    check_choice("evaluate.recipe", config.recipe, recipe_names())
    check_choice("evaluate.boxes", config.boxes, BOXES)


def check_knob(key: str, value: float | None) -> None:
    """Raise a ConfigError where a knob of an encoder is out of range."""
    if value is not None and not 0 <= value <= 1:
        raise ConfigError(
            f"{key} is {value:g}; expected a number from 0 to 1.",
            f"Change it with --set {key}=..., or leave it out for what the method recommends for each benchmark.",
        )


def check_layout(layout: str | None) -> None:
    """Raise a ConfigError where `corpus.layout` is no layout."""
    if layout is not None:
        check_choice("corpus.layout", layout, LAYOUTS)


def check_effort(effort: str) -> None:
    """Raise a ConfigError where `run.effort` is no rule."""
    check_choice("run.effort", effort, EFFORTS)


def check_choice(key: str, value: str, known: Iterable[str]) -> None:
    """Raise a ConfigError where a value is not one of those that are known."""
    known = tuple(known)
    if value not in known:
        raise ConfigError(f"{key} is {value!r}; expected one of {', '.join(known)}.", did_you_mean(value, known))


def _check(section: str, config: Any, rules: Iterable[_Rule]) -> None:
    for name, holds, expected in rules:
        value = getattr(config, name)
        if not holds(value):
            raise ConfigError(
                f"{section}.{name} is {value}; expected {expected}.", f"Change it with --set {section}.{name}=..."
            )
