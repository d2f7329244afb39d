"""The options that commands share: what to compare, with which settings, where; and how their texts are read."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from hcbench.errors import ConfigError
from hcbench.harness.jobs.executors.base import DEFAULT_EXECUTOR as DEFAULT_EXECUTOR

if TYPE_CHECKING:
    from hcbench.harness.planning.config import Resolved
    from hcbench.harness.planning.registry import Registry

WORKSPACE = Path("hcbench-runs")

_WHAT, _DATA, _SETTINGS = "What is compared", "Data", "Settings"

PluginOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        envvar="HCBENCH_PLUGINS",
        metavar="FILE.py",
        help="A file with a method, benchmark, data set, executor or report format of your own. May be given"
        " several times.",
        rich_help_panel=_SETTINGS,
    ),
]
WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "--workspace",
        envvar="HCBENCH_WORKSPACE",
        metavar="DIR",
        help="Folder of results, caches and work in progress.",
        rich_help_panel="Where",
    ),
]
TrackingOption = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        metavar="URI",
        help="An MLflow server, such as http://host:5000. Default: a database in the workspace.",
        rich_help_panel="Where",
    ),
]
TunedOption = Annotated[
    bool,
    typer.Option(
        "--tuned",
        help="Take the settings that `hcbench tune` chose in this workspace.",
        rich_help_panel=_SETTINGS,
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        metavar="N",
        help="Cells trained side by side. Default: one per core, fewer where memory is short.",
        rich_help_panel="How it runs",
    ),
]

ExecutorOption = Annotated[
    str,
    typer.Option(
        "--executor",
        metavar="NAME",
        help="What runs the cells; see `hcbench list executors`.",
        rich_help_panel="How it runs",
    ),
]


@dataclass(frozen=True)
class Request:
    """What the user asked for, as written on the command line."""

    methods: Annotated[
        str | None,
        typer.Option("--methods", "-m", metavar="A,B", help="Methods to compare; see `hcbench list methods`.",
                     rich_help_panel=_WHAT),
    ] = None  # fmt: skip
    budget: Annotated[
        str | None,
        typer.Option("--budget", "--budgets", "-b", metavar="1pct,5k", rich_help_panel=_WHAT,
                     help="How many stored images each method may learn from: a share of the corpus (0.1pct, 1pct) or"
                     " an image count (2000, 5k). Several make a curve. Default: 1pct."),
    ] = None  # fmt: skip
    benchmarks: Annotated[
        str | None,
        typer.Option("--benchmarks", metavar="A,B", rich_help_panel=_WHAT,
                     help="Tasks to score on, on all data at hand or on one set alone (reid:market1501). Default: all"
                     " of `hcbench list benchmarks`."),
    ] = None  # fmt: skip
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", "--protocols", metavar="A,B", rich_help_panel=_WHAT,
                     help="How tasks are scored: frozen (a light head on fixed features), finetune (the whole encoder"
                     " by the recipe evaluate.recipe), zero-shot (nothing is fitted or chosen; text-reid by the"
                     " encoder's own text tower). Default: frozen, and text-reid zero-shot beside it where a method"
                     " has a tower."),
    ] = None  # fmt: skip
    shots: Annotated[
        str | None,
        typer.Option("--shots", metavar="K", rich_help_panel=_WHAT,
                     help="Labelled training images of each identity (attributes: with and without each; pose, parsing:"
                     " in all). Default: all."),
    ] = None  # fmt: skip
    test_on: Annotated[
        str | None,
        typer.Option("--test-on", metavar="DATA", rich_help_panel=_WHAT,
                     help="Train and choose heads on every data set in use, score them on this one."),
    ] = None  # fmt: skip
    seeds: Annotated[
        str | None,
        typer.Option("--seeds", metavar="0,1,2", rich_help_panel=_WHAT,
                     help="Each seed draws its own images, initial weights and order. Three or more tell a real"
                     " difference from luck. Default: 0."),
    ] = None  # fmt: skip
    backbones: Annotated[
        str | None,
        typer.Option("--backbones", metavar="A,B", rich_help_panel=_WHAT,
                     help="Networks to pre-train; see `hcbench list backbones`."),
    ] = None  # fmt: skip
    no_controls: Annotated[
        bool,
        typer.Option("--no-controls", rich_help_panel=_WHAT,
                     help="Leave out the controls (random network, pixels, colour histogram)."),
    ] = False  # fmt: skip
    corpus: Annotated[
        str | None,
        typer.Option("--corpus", metavar="NAME|FILE.parquet", rich_help_panel=_DATA,
                     help="Where pre-training images come from: a name of `hcbench list corpora`, or a manifest of your"
                     " own (`hcbench data prepare`). Default: people, the embedded renderer."),
    ] = None  # fmt: skip
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="NAME=ROOT", rich_help_panel=_DATA,
                     help="Where a real data set lies, for example coco=/data/coco; benchmarks that know it are run"
                     " on it as well. May be given several times. HCBENCH_DATA_<NAME>, or a data.yaml in the workspace,"
                     " says the same for good."),
    ] = None  # fmt: skip
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="NAME", rich_help_panel=_SETTINGS,
                     help="Scale of everything: cpu, gpu or paper. Default: gpu where there is one, else cpu."),
    ] = None  # fmt: skip
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", metavar="NAME", rich_help_panel=_SETTINGS,
                     help="Training settings of each method: cpu, or paper for each paper's own."),
    ] = None  # fmt: skip
    effort: Annotated[
        str | None,
        typer.Option("--effort", metavar="RULE", rich_help_panel=_SETTINGS,
                     help="What every method is given in equal measure: images (seen in training) or compute (FLOPs)."
                     " Default: images."),
    ] = None  # fmt: skip
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", rich_help_panel=_SETTINGS,
                     help="A yaml file that overrides settings; `hcbench config show` lists them all."),
    ] = None  # fmt: skip
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", rich_help_panel=_SETTINGS,
                     help="One setting, for example pretrain.lr=3e-4; pretrain.lr=1e-3,3e-4 tries both."
                     " May be given several times."),
    ] = None  # fmt: skip
    deterministic: Annotated[
        bool,
        typer.Option("--deterministic", rich_help_panel=_SETTINGS, help="Ask torch for deterministic algorithms."),
    ] = False  # fmt: skip
    plugin: PluginOption = None

    def resolve(self, tuned: Path | None = None, workspace: Path = WORKSPACE) -> tuple[Resolved, Registry]:
        """The whole configuration, and everything that is registered.

        Args:
            tuned: The settings that `hcbench tune` chose; None leaves them out.
            workspace: Folder whose `data.yaml` says where data lie, where there is one.

        Raises:
            ConfigError: Something does not exist or has the wrong type, or a method was not tuned.
        """
        from hcbench.harness.planning.config import resolve
        from hcbench.harness.planning.data_roots import found_roots, rooted_names
        from hcbench.harness.planning.machine import look

        registry = open_registry(self.plugin)
        if tuned is not None and not tuned.is_file():
            raise ConfigError(
                f"There are no tuned settings: no {tuned}.",
                f"Search for them: hcbench tune {self.methods or 'METHODS'}",
            )
        resolved = resolve(
            registry, self.overrides(), sets=self.sets or (), config=self.config, tuned=tuned,
            default_profile=look().profile, ambient=found_roots(workspace, rooted_names(self._further(registry))),
        )  # fmt: skip
        if tuned is not None:
            _check_tuned(resolved, registry, tuned)
        return resolved, registry

    def _further(self, registry: Registry) -> list[str]:
        """What can have a root beside the built-in data sets: those of plugins, and images of a manifest."""
        from hcbench.harness.planning.corpora import stem

        return [*registry.data, *([] if self.corpus is None else [stem(self.corpus)])]

    def overrides(self) -> list[Any]:
        """The options as overrides of settings, with the option as origin."""
        from hcbench.harness.planning.config import Override

        named: list[tuple[str, Any, str]] = [
            ("run.methods", self.methods, "--methods"),
            ("run.budgets", self.budget, "--budget"),
            ("run.benchmarks", self.benchmarks, "--benchmarks"),
            ("run.protocols", self.protocol, "--protocol"),
            ("evaluate.shots", self.shots, "--shots"),
            ("run.test_on", self.test_on, "--test-on"),
            ("run.seeds", self.seeds, "--seeds"),
            ("run.backbones", self.backbones, "--backbones"),
            ("run.controls", False if self.no_controls else None, "--no-controls"),
            ("run.profile", self.profile, "--profile"),
            ("run.recipe", self.recipe, "--recipe"),
            ("run.effort", self.effort, "--effort"),
            ("run.data", parse_roots(self.data) if self.data else None, "--data"),
            ("corpus.name", self.corpus, "--corpus"),
            ("pretrain.deterministic", True if self.deterministic else None, "--deterministic"),
        ]
        return [Override(key, value, origin) for key, value, origin in named if value is not None]


def takes_request(
    command: Callable[..., Any], *, only: Collection[str] | None = None, without: Collection[str] = (),
    kind: type = Request,
) -> Callable[..., Any]:  # fmt: skip
    """Give a command, whose first parameter is a request, the request's fields as options before its own.

    Args:
        command: The command.
        only: Names of the fields that make sense for it; None takes all. The others keep their defaults.
        without: Names of fields that do not.
        kind: The request's class, whose fields are annotated with their options.
    """
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    hints = get_type_hints(kind, include_extras=True)
    shared = [
        inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=item.default, annotation=hints[item.name])
        for item in fields(kind)
        if (only is None or item.name in only) and item.name not in without
    ]

    @functools.wraps(command)
    def wrapper(**given: Any) -> Any:
        request = kind(**{item.name: given.pop(item.name) for item in shared})
        return command(request, **given)

    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    wrapper.__signature__ = inspect.Signature([*shared, *own])  # type: ignore[attr-defined]
    return wrapper


def open_registry(plugins: list[Path] | None) -> Registry:
    """Everything that is registered, plugins included; workers inherit the plugins by the environment."""
    from hcbench.harness.planning.registry import PLUGINS_VARIABLE, load_registry

    paths = [str(path.expanduser().resolve()) for path in plugins or ()]
    if paths:
        os.environ[PLUGINS_VARIABLE] = os.pathsep.join(paths)
    return load_registry(paths)


def _check_tuned(resolved: Resolved, registry: Registry, tuned: Path) -> None:
    """Beside tuned methods, one that is not would lose by neglect."""
    from hcbench.harness.planning.yaml_file import read_yaml

    searched = read_yaml(tuned).get("run", {}).get("tuning_trials", {})
    cards = [registry.method(name) for name in resolved.run.methods]
    missing = [card.name for card in cards if card.trains and card.name not in searched]
    if missing:
        raise ConfigError(
            f"--tuned: {', '.join(missing)} not tuned; {tuned} is of {', '.join(searched) or 'no method'}.",
            f"Search for all together: hcbench tune {','.join(card.name for card in cards if card.trains)}",
        )


def parse_roots(texts: list[str]) -> Mapping[str, str]:
    """Folders by name, of texts such as coco=/data/coco.

    Raises:
        ConfigError: One of them is none.
    """
    roots = {}
    for text in texts:
        name, equals, root = text.partition("=")
        if not equals or not name or not root:
            raise ConfigError(f"--data {text!r} is not of the form name=ROOT.", "For example: --data coco=/data/coco")
        roots[name.strip()] = root.strip()
    return roots


def parse_size(text: str, option: str = "--size") -> tuple[int, int]:
    """Height and width of a text such as 256x128.

    Args:
        text: As given on the command line.
        option: Where it was given, for the message.

    Raises:
        ConfigError: It is none.
    """
    height, times, width = text.strip().lower().partition("x")
    if not (times and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise ConfigError(f"{option} {text!r} is not of the form HEIGHTxWIDTH.", f"For example: {option} 256x128")
    return int(height), int(width)
