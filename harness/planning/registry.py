"""What there is to run: methods, benchmarks, data sets and executors by name, read from their cards without torch.

A built-in method or benchmark registers by being a folder with a `card.py`, a built-in data set by standing in
`data/catalogue.py`. Others come from installed packages (entry points `hcbench.methods`, `hcbench.benchmarks`,
`hcbench.data`, `hcbench.executors`) or from one plugin file that holds a card and a class, or a `DATASET`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeVar, runtime_checkable

from hcbench.benchmarks.card import TaskCard
from hcbench.data.card import DatasetCard
from hcbench.data.catalogue import built_in_modules, register
from hcbench.data.dataset import Dataset
from hcbench.errors import ConfigError, HcbenchError, did_you_mean
from hcbench.harness.planning.executor_card import ExecutorCard
from hcbench.methods.card import MethodCard
from hcbench.methods.weight_layout import WeightLayout
from hcbench.methods.weight_layout import register as register_layouts

logger = logging.getLogger(__name__)

ALIASES = {"gcl": "gan-invariance", "t2i_reid": "text-reid", "par": "attributes"}
"""Names in published result files, and what they are called here."""

PLUGINS_VARIABLE = "HCBENCH_PLUGINS"
"""Environment variable with plugin files, separated as in PATH; workers inherit it."""

EXECUTORS = ("local",)
"""Modules of `harness/jobs/executors` that hold a card."""

_PLUGIN_PREFIX = "hcbench_plugin_"
_KINDS = {
    "methods": "MethodCard",
    "benchmarks": "TaskCard",
    "data": "Dataset",
    "executors": "ExecutorCard",
    "report_formats": "report Format",
}
"""What can be registered, as what; the entry point group of each is `hcbench.<kind>`."""
_Card = TypeVar("_Card")


@runtime_checkable
class KindedCard(Protocol):
    """A card that says itself what kind of thing it is of: one of a floor that may not be imported here."""

    @property
    def name(self) -> str:
        """Registry and CLI name."""

    @property
    def registry_kind(self) -> str:
        """Which mapping of `Registry` it goes to."""


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything that is registered.

    Attributes:
        methods: Method cards by name.
        benchmarks: Benchmark cards by name.
        executors: Cards of ways to run jobs by name.
        report_formats: Formats from entry points and plugins by name; `hcbench.reports` knows its own.
        data: Data sets from entry points and plugins by name; the built-in ones stand in `data/catalogue.py`.
        modules: The module of each of `data`.
        origins: "kind:name" to where it comes from, for people to read.
        broken: "kind:name" to why an installed package's entry could not be loaded.
    """

    methods: Mapping[str, MethodCard] = field(default_factory=dict)
    benchmarks: Mapping[str, TaskCard] = field(default_factory=dict)
    executors: Mapping[str, ExecutorCard] = field(default_factory=dict)
    report_formats: Mapping[str, KindedCard] = field(default_factory=dict)
    data: Mapping[str, Dataset] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)

    def method(self, name: str) -> MethodCard:
        """The card of a method; aliases and underscores are understood.

        Raises:
            ConfigError: No method has this name.
        """
        return self._find("method", self.methods, name)

    def benchmark(self, name: str) -> TaskCard:
        """The card of a benchmark; aliases and underscores are understood.

        Raises:
            ConfigError: No benchmark has this name.
        """
        return self._find("benchmark", self.benchmarks, name)

    def executor(self, name: str) -> ExecutorCard:
        """The card of an executor; underscores are understood.

        Raises:
            ConfigError: No executor has this name.
        """
        return self._find("executor", self.executors, name)

    @property
    def weight_layouts(self) -> Mapping[str, WeightLayout]:
        """Layouts of weight files by name; they are parts of the methods' cards."""
        return {layout.name: layout for card in self.methods.values() for layout in card.weight_layouts}

    def controls(self) -> tuple[str, ...]:
        """Names of the methods that do not train and stand in every table; the oracle stands there when asked for."""
        return tuple(name for name, card in self.methods.items() if card.supervision == "control")

    def _find(self, kind: str, cards: Mapping[str, _Card], name: str) -> _Card:
        for candidate in (name, ALIASES.get(name, name), name.replace("_", "-"), name.lower().replace("_", "-")):
            if candidate in cards:
                return cards[candidate]
        if reason := self.broken.get(f"{kind}s:{name}"):
            raise ConfigError(f"The {kind} {name!r} is installed but cannot be loaded: {reason}", "Mend its package.")
        raise ConfigError(f"No {kind} is called {name!r}.", did_you_mean(name, cards))


def load_registry(plugins: Iterable[Path | str] | None = None) -> Registry:
    """Read all cards. Without `plugins`, those of the environment variable `HCBENCH_PLUGINS` are taken.

    The data sets among them are registered in the catalogue of this process.

    Raises:
        ConfigError: Two entries share a name, or a plugin file cannot be used.
    """
    if plugins is None:
        plugins = [part for part in os.environ.get(PLUGINS_VARIABLE, "").split(os.pathsep) if part]
    registry = _load(tuple(str(Path(plugin).expanduser().resolve()) for plugin in plugins))
    for name, data_set in registry.data.items():
        register(data_set, registry.modules[name])
    return registry


@functools.lru_cache(maxsize=8)
def _load(plugins: tuple[str, ...]) -> Registry:
    found: dict[str, dict[str, Any]] = {kind: {} for kind in _KINDS}
    origins: dict[str, str] = {}
    modules: dict[str, str] = {}
    broken: dict[str, str] = {}

    def add(kind: str, name: str, card: Any, origin: str) -> None:
        key = f"{kind}:{name}"
        if kind == "data" and name in built_in_modules():
            raise ConfigError(f"{origin} calls its data set {name!r}, as a built-in one is.", "Give it another name.")
        if name in found[kind]:
            raise ConfigError(
                f"The name {name!r} is taken twice in {kind}: by {origins[key]} and by {origin}.",
                "Give one of them another name.",
            )
        if name in ALIASES:
            raise ConfigError(
                f"{origin} calls itself {name!r}, which is another name of {ALIASES[name]!r}.", "Choose a new name."
            )
        found[kind][name], origins[key] = card, origin

    for kind, card, origin in _built_in():
        add(kind, card.name, card, origin)
    for kind, name, card, origin, module in _entry_points(broken):
        add(kind, name, card, origin)
        modules[name] = module
    stems = [Path(path).stem for path in dict.fromkeys(plugins)]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ConfigError(f"Two plugin files are called {twice[0]}.py.", "Rename one of them.")
    for path in dict.fromkeys(plugins):
        for kind, card in _plugin_cards(Path(path)):
            add(kind, card.name, card, path)
            modules[card.name] = f"{_PLUGIN_PREFIX}{Path(path).stem}"
    _join(found["benchmarks"], found["data"], origins)
    ordered = dict(
        sorted(
            found["methods"].items(), key=lambda item: (not item[1].trains, item[1].supervision == "control", item[0])
        )
    )
    data = dict(sorted(found["data"].items()))
    for card in ordered.values():
        register_layouts(card.weight_layouts)
    return Registry(
        methods=ordered,
        benchmarks=dict(sorted(found["benchmarks"].items())),
        executors=dict(sorted(found["executors"].items())),
        report_formats=found["report_formats"],
        data=data,
        modules={name: modules[name] for name in data},
        origins=origins,
        broken=broken,
    )


def _join(benchmarks: dict[str, Any], data: Mapping[str, Dataset], origins: Mapping[str, str]) -> None:
    """Enter the data sets of plug-ins into the cards of the benchmarks that they name."""
    for name, data_set in data.items():
        for joined in data_set.benchmarks:
            card = benchmarks.get(ALIASES.get(joined, joined))
            if card is None:
                raise ConfigError(
                    f"The data set {name!r} of {origins[f'data:{name}']} joins the benchmark {joined!r}, which is not "
                    "there.",
                    did_you_mean(joined, benchmarks),
                )
            lacking = sorted(card.needs - data_set.fields)
            if lacking:
                raise ConfigError(
                    f"The data set {name!r} of {origins[f'data:{name}']} joins the benchmark {card.name}, but its card "
                    f"does not name {' and '.join(lacking)}.",
                    f"{card.name} needs {', '.join(sorted(card.needs))}: load them, and name them in card.fields.",
                )
            benchmarks[card.name] = replace(card, data=tuple(dict.fromkeys((*card.data, name))))


def implementation(card: MethodCard | TaskCard | ExecutorCard) -> type[Any]:
    """Import the class that a card names; only here is anything heavy loaded.

    Raises:
        HcbenchError: The module or the class is not there.
    """
    module_name, _, class_name = card.implementation.partition(":")
    try:
        return getattr(importlib.import_module(module_name), class_name)  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as error:
        raise HcbenchError(
            f"The card of {card.name!r} names {card.implementation!r}, which cannot be imported: {error}.",
            'It must read "module:Class".',
        ) from error


def _built_in() -> Iterator[tuple[str, Any, str]]:
    for kind in ("methods", "benchmarks"):
        package = importlib.import_module(f"hcbench.{kind}")
        for folder in sorted(Path(root) for root in package.__path__):
            for path in sorted(folder.glob("*/card.py")):
                module = importlib.import_module(f"hcbench.{kind}.{path.parent.name}.card")
                for card in _cards(module):
                    yield kind, card, f"hcbench.{kind}.{path.parent.name}"

    for name in EXECUTORS:
        module = importlib.import_module(f"hcbench.harness.jobs.executors.{name}")
        for card in _cards(module):
            yield "executors", card, module.__name__


def _entry_points(broken: dict[str, str]) -> Iterator[tuple[str, str, Any, str, str]]:
    for kind in _KINDS:
        for point in importlib.metadata.entry_points(group=f"hcbench.{kind}"):
            origin = f"{point.dist.name if point.dist else 'a package'} ({point.value})"
            try:
                card = point.load()
                if _kind(card) != kind:
                    raise ConfigError(f"it is a {type(card).__name__}; expected a {_KINDS[kind]}.")
                name = str(card.name)
            except Exception as error:  # a foreign package may fail in any way; it must not stop the others
                logger.warning("Cannot load %s from %s: %s", point.name, origin, error)
                broken[f"{kind}:{point.name}"] = f"{type(error).__name__}: {error}"
                continue
            yield kind, name, card, origin, point.module


def _plugin_cards(path: Path) -> Iterator[tuple[str, Any]]:
    module = _import_plugin(path)
    cards = _cards(module)
    if not cards:
        raise ConfigError(
            f"The plugin {path} holds no card.",
            "Give it a module-level CARD (a MethodCard, TaskCard, ExecutorCard or report Format) or a DATASET.",
        )

    def here(implementation: str) -> str:
        """The class stands in the same file: whatever module name the card gives, it means this one."""
        return f"{module.__name__}:{implementation.rpartition(':')[2]}"

    for card in cards:
        if isinstance(card, MethodCard | TaskCard | ExecutorCard):
            card = replace(card, implementation=here(card.implementation))
        if isinstance(card, TaskCard):
            further = {protocol: here(one) for protocol, one in card.implementations.items()}
            card = replace(card, implementations=further)
        if isinstance(card, MethodCard):
            layouts = tuple(
                replace(one, adapter=here(one.adapter), recognises=one.recognises and here(one.recognises))
                for one in card.weight_layouts
            )
            card = replace(card, weight_layouts=layouts)
        kind = _kind(card)
        if not kind:
            raise ConfigError(
                f"The plugin {path} holds a {type(card).__name__} as a card.",
                f"Expected one of these: {', '.join(_KINDS.values())}.",
            )
        yield kind, card


def _import_plugin(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"There is no plugin file {path}.", "Check the path given with --plugin.")
    name = _PLUGIN_PREFIX + path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__ == str(path):
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"The plugin {path} is no Python file.", "Plugins end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except HcbenchError as error:
        del sys.modules[name]
        raise ConfigError(f"The plugin {path} cannot be used. {error.message}", error.hint) from error
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(
            f"The plugin {path} cannot be imported: {type(error).__name__}: {error}.",
            f"Try it alone: python {path}",
        ) from error
    return module


def _cards(module: ModuleType) -> tuple[Any, ...]:
    """What a plug-in registers: its `CARDS`, or its one `CARD`, and its `DATASETS` or its one `DATASET`.

    A `CARD` that is a data set's is part of its `DATASET`.
    """
    held = vars(module)
    found = [one for several, single in (("CARDS", "CARD"), ("DATASETS", "DATASET"))
             for one in (held[several] if several in held else [held[single]] if single in held else [])]  # fmt: skip
    return tuple(one for one in found if not isinstance(one, DatasetCard))


def _kind(card: Any) -> str:
    """The kind of a card; "" where it is none."""
    known = {MethodCard: "methods", TaskCard: "benchmarks", ExecutorCard: "executors", Dataset: "data"}
    for cls, kind in known.items():
        if isinstance(card, cls):
            return kind
    return card.registry_kind if isinstance(card, KindedCard) and card.registry_kind in _KINDS else ""
