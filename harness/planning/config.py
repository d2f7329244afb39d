"""From defaults, yaml files and the command line to one frozen configuration with the origin of every value.

Layers, later ones win: dataclass defaults, the method card's defaults, profile, recipe, what `tune` chose (`--tuned`),
`--config` file, command line.
Yaml files only override. A setting of `pretrain`, `corpus`, `evaluate` or a method may take several values
(`--set pretrain.lr=1e-3,3e-4`); their product makes the sections' variants, from which
`harness/planning/plan.py` makes cells.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

from hcbench.benchmarks.settings import EvaluateConfig
from hcbench.errors import ConfigError, HcbenchError, did_you_mean
from hcbench.harness.planning.parse import parse_value, split_sweep
from hcbench.harness.planning.registry import Registry
from hcbench.harness.planning.settings import CorpusConfig, PretrainConfig, RunConfig
from hcbench.harness.planning.yaml_file import read_yaml
from hcbench.methods.rules import check_config

SECTIONS: Mapping[str, type[Any]] = {
    "run": RunConfig,
    "corpus": CorpusConfig,
    "pretrain": PretrainConfig,
    "evaluate": EvaluateConfig,
}
"""Sections beside those of the methods, which are called as the methods are."""

_ADDED_TO = ("run.data", "run.tuning_trials")
"""Settings that are said name by name, in several places: a layer adds to them in place of replacing them."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Override:
    """One value from outside: its full key, what was written, and where."""

    key: str
    value: Any
    origin: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolved:
    """The configuration of a run: plain, frozen, checked.

    Attributes:
        run: What to run.
        corpora: Variants of `corpus.*`; one where nothing is swept.
        pretrains: Variants of `pretrain.*`.
        evaluates: Variants of `evaluate.*`.
        methods: Variants of each method's own settings, by method name.
        knobs: What was asked of encoders' knobs: by section (`evaluate`, or a method for itself alone) and knob; None
            leaves it to the method's card.
        values: Full key to its values, more than one where it is swept.
        origins: Full key to where its values come from.
        replaced: Full key of every setting that the user changed (`--config`, `--set`, options), but for those of
            `run`, to the value that it would have otherwise. What a profile, a recipe or `--tuned` chose is no change
            of the user's.
    """

    run: RunConfig
    corpora: tuple[CorpusConfig, ...]
    pretrains: tuple[PretrainConfig, ...]
    evaluates: tuple[EvaluateConfig, ...]
    methods: Mapping[str, tuple[Mapping[str, Any], ...]]
    knobs: Mapping[str, Mapping[str, tuple[float | None, ...]]] = field(default_factory=dict)
    values: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    replaced: Mapping[str, Any] = field(default_factory=dict)


def resolve(
    registry: Registry,
    options: Iterable[Override] = (),
    *,
    sets: Iterable[str] = (),
    config: Path | None = None,
    tuned: Path | None = None,
    default_profile: str = "cpu",
    ambient: Iterable[Override] = (),
) -> Resolved:
    """Put all layers together.

    Args:
        registry: Where the methods' sections come from.
        options: What the command line's own options say.
        sets: Texts "key=value" of `--set`; they win over everything.
        config: A yaml file of the user.
        tuned: A yaml file that `hcbench tune` wrote; every other file and option of the user wins over it.
        default_profile: The profile where nobody names one.
        ambient: What this machine says of itself (`harness/planning/data_roots.py`); every file and
            option wins over it.

    Raises:
        ConfigError: A key is unknown, a value has the wrong type, or a file cannot be read.
    """
    searched = [] if tuned is None else _file_layer(tuned, str(tuned))
    user = [] if config is None else _file_layer(config, str(config))
    user += [*options, *(_parse_set(text) for text in sets)]
    profile = _last([*searched, *user], "run.profile", default_profile)
    profile_layer = _built_in_layer("profiles", profile)
    recipe = _last([*profile_layer, *searched, *user], "run.recipe", RunConfig().recipe)
    layers = [
        Override("run.profile", profile, "detected" if default_profile == profile else "default"),
        *profile_layer,
        *_built_in_layer("recipes", recipe),
        *ambient,
        *searched,
    ]
    return _build(registry, layers, user)


def built_in_names(kind: str) -> list[str]:
    """Names of the yaml files in `configs/<kind>` (profiles, recipes)."""
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in files("hcbench.configs").joinpath(kind).iterdir()
        if entry.name.endswith(".yaml")
    )


def _build(registry: Registry, layers: Sequence[Override], user: Sequence[Override]) -> Resolved:
    """The configuration from all layers, the user's own last."""
    classes = {**SECTIONS, **{name: card.config for name, card in registry.methods.items()}}
    knobs = _knobs(registry)
    kinds = {
        section: _hints(kind) | dict.fromkeys(knobs.get(section, ()), float | None) for section, kind in classes.items()
    }
    values: dict[str, tuple[Any, ...]] = {}
    origins: dict[str, str] = {}
    for section, kind in classes.items():
        for name, default in {**_defaults(kind), **dict.fromkeys(knobs.get(section, ()))}.items():
            values[f"{section}.{name}"], origins[f"{section}.{name}"] = (default,), "default"
    for name, card in registry.methods.items():
        for key, value in card.defaults.items():
            values[f"{name}.{key}"], origins[f"{name}.{key}"] = (value,), "card"
    before: dict[str, tuple[Any, ...]] = {}
    for place, layer in enumerate([*layers, *user]):
        key = _canonical(registry, kinds, layer)
        if place >= len(layers) and not key.startswith("run."):
            before.setdefault(key, values[key])
        new = _values(kinds, key, layer)
        if key in _ADDED_TO:
            new = ({**values[key][0], **new[0]},)
            layer = Override(key, layer.value, _joined(origins[key], layer.origin))
        values[key], origins[key] = new, layer.origin
    sections: dict[str, tuple[Any, ...]] = {
        section: _variants(section, kind, values) for section, kind in classes.items()
    }
    for name, card in registry.methods.items():
        for config in sections[name]:
            check_config(name, card.rules, config)
    return Resolved(
        run=sections["run"][0],
        corpora=sections["corpus"],
        pretrains=sections["pretrain"],
        evaluates=sections["evaluate"],
        methods={name: tuple(asdict(item) for item in sections[name]) for name in registry.methods},
        knobs={section: {name: values[f"{section}.{name}"] for name in names} for section, names in knobs.items()},
        values=values,
        origins=origins,
        replaced={key: found[0] for key, found in before.items() if values[key] != found},
    )


def _joined(before: str, origin: str) -> str:
    return origin if before == "default" else f"{before}, {origin}"


def _variants(section: str, kind: type[_T], values: Mapping[str, tuple[Any, ...]]) -> tuple[_T, ...]:
    """All instances of a section's dataclass: the product over its swept settings."""
    names = [item.name for item in fields(kind) if item.init]  # type: ignore[arg-type]
    product = itertools.product(*(values[f"{section}.{name}"] for name in names))
    try:
        return tuple(kind(**dict(zip(names, point, strict=True))) for point in product)
    except HcbenchError:
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"The settings of {section!r} do not fit together: {error}.", "See `hcbench config show`."
        ) from error


def _knobs(registry: Registry) -> dict[str, tuple[str, ...]]:
    """Knobs that a section takes: `evaluate` those of all methods, a method its own.

    They are no fields of the sections' dataclasses: a knob turns after training, so no cell may depend on it.
    """
    own = {name: tuple(card.knobs) for name, card in registry.methods.items() if card.knobs}
    return {"evaluate": tuple(dict.fromkeys(itertools.chain.from_iterable(own.values()))), **own}


def _values(kinds: Mapping[str, Mapping[str, Any]], key: str, layer: Override) -> tuple[Any, ...]:
    section, _, name = key.partition(".")
    kind = kinds[section][name]
    from_line = layer.origin == "--set"
    if section == "run" or not (from_line and isinstance(layer.value, str)):
        return (parse_value(key, layer.value, kind, layer.origin),)
    is_list = get_origin(kind) is tuple and not layer.value.lstrip().startswith("[")
    texts = [layer.value] if is_list else split_sweep(layer.value)
    parsed = [parse_value(key, text, kind, layer.origin) for text in texts]
    return tuple(dict.fromkeys(parsed))


def _canonical(registry: Registry, kinds: Mapping[str, Mapping[str, Any]], layer: Override) -> str:
    section, dot, name = layer.key.partition(".")
    if not dot or not name:
        raise ConfigError(
            f"{layer.key!r} in {layer.origin} is no setting: it lacks a section.",
            f"Settings are called section.name, for example pretrain.lr. Sections: {', '.join(kinds)}.",
        )
    if section not in kinds:
        try:
            section = registry.method(section).name
        except ConfigError:
            raise ConfigError(
                f"There is no section {section!r} of settings ({layer.origin}).", did_you_mean(section, kinds)
            ) from None
    known = kinds[section]
    if name not in known:
        hint = did_you_mean(name, known) if known else f"{section} has no settings."
        raise ConfigError(f"There is no setting {section}.{name} ({layer.origin}).", hint)
    return f"{section}.{name}"


def _file_layer(path: Path, origin: str) -> list[Override]:
    """The overrides of a yaml file, after those of the one file that it may name as `base`."""
    content = read_yaml(path)
    base = content.pop("base", None)
    overrides: list[Override] = []
    if base is not None:
        base_path = path.parent / str(base)
        base_content = read_yaml(base_path)
        if "base" in base_content:
            raise ConfigError(
                f"{base_path} is the base of {path} and names a base itself.", "Only one level is read: merge the two."
            )
        overrides += _flatten(base_content, str(base_path))
    return overrides + _flatten(content, origin)


def _built_in_layer(kind: str, name: str) -> list[Override]:
    if name not in built_in_names(kind):
        raise ConfigError(f"There is no {kind[:-1]} {name!r}.", did_you_mean(name, built_in_names(kind)))
    return _file_layer(Path(str(files("hcbench.configs").joinpath(kind, f"{name}.yaml"))), f"{kind}/{name}.yaml")


def _flatten(content: Mapping[str, Any], origin: str) -> list[Override]:
    overrides = []
    for section, settings in content.items():
        if not isinstance(settings, Mapping):
            raise ConfigError(
                f"{section} in {origin} is {settings!r}; expected a section with settings below it.",
                f"Write for example\n  {section}:\n    name: value",
            )
        overrides += [Override(f"{section}.{name}", value, origin) for name, value in settings.items()]
    return overrides


def _parse_set(text: str) -> Override:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text!r} is not of the form key=value.", "For example: --set pretrain.lr=3e-4")
    return Override(key.strip(), value.strip(), "--set")


def _last(layers: Iterable[Override], key: str, default: str) -> str:
    return next((str(item.value) for item in reversed(list(layers)) if item.key == key), default)


def _hints(kind: type[Any]) -> dict[str, Any]:
    """Annotations of a dataclass's own settings, resolved."""
    hints = get_type_hints(kind)
    return {item.name: hints[item.name] for item in fields(kind) if item.init}


def _defaults(kind: type[Any]) -> dict[str, Any]:
    defaults = {}
    for item in fields(kind):
        if not item.init:
            continue
        if item.default is not MISSING:
            defaults[item.name] = item.default
        elif item.default_factory is not MISSING:
            defaults[item.name] = item.default_factory()
        else:
            raise TypeError(f"{kind.__module__}.{kind.__qualname__}.{item.name} has no default.")
    return defaults
