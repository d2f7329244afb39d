"""The commands `hcbench list ...` and `hcbench config ...`: what there is, and what is set."""

from __future__ import annotations

import typer

from hcbench.harness.cli.console import console
from hcbench.harness.cli.options import PluginOption, Request, open_registry, takes_request

list_app = typer.Typer(no_args_is_help=True, help="What there is: methods, benchmarks, backbones, corpora, executors.")
config_app = typer.Typer(no_args_is_help=True, help="Settings and where they come from.")


@list_app.command("methods")
def list_methods(plugin: PluginOption = None) -> None:
    """Pre-training methods and what each learns from."""
    from hcbench.harness.cli import tables as screens

    console().print(screens.methods_table(open_registry(plugin)))


@list_app.command("benchmarks")
def list_benchmarks(plugin: PluginOption = None) -> None:
    """Downstream tasks and their metrics."""
    from hcbench.harness.cli import tables as screens

    console().print(screens.benchmarks_table(open_registry(plugin)))


@list_app.command("backbones")
def list_backbones() -> None:
    """Networks that can be pre-trained."""
    from hcbench.harness.cli import tables as screens
    from hcbench.harness.planning import backbones

    console().print(screens.backbones_table(backbones.presets(), backbones.timm_models()))


@list_app.command("corpora")
def list_corpora(plugin: PluginOption = None) -> None:
    """Where pre-training images can come from."""
    from hcbench.harness.cli import tables as screens

    console().print(screens.corpora_table(open_registry(plugin)))


@list_app.command("layouts")
def list_layouts(plugin: PluginOption = None) -> None:
    """Whose files of weights can be scored: `hcbench evaluate FILE --as NAME`."""
    from hcbench.harness.cli import tables as screens

    console().print(screens.layouts_table(open_registry(plugin)))


@list_app.command("executors")
def list_executors(plugin: PluginOption = None) -> None:
    """What can run the cells of a comparison: `--executor NAME`."""
    from hcbench.harness.cli import tables as screens

    console().print(screens.executors_table(open_registry(plugin)))


@list_app.command("formats")
def list_formats(plugin: PluginOption = None) -> None:
    """What a report can be written as."""
    from hcbench.harness.cli import tables as screens
    from hcbench.harness.cli.report import plugged_formats
    from hcbench.reports.formats import all_formats

    console().print(screens.formats_table(all_formats(plugged_formats(open_registry(plugin))).values()))


@config_app.command("show")
@takes_request
def config_show(request: Request) -> None:
    """Every setting with its value and where it comes from; methods' own settings for the methods that are named.

    Example:  hcbench config show --methods stablerep --profile paper
    """
    from hcbench.harness.cli import tables as screens
    from hcbench.harness.planning.config import SECTIONS

    resolved, registry = request.resolve()
    named = [registry.method(name).name for name in resolved.run.methods]
    console().print(screens.config_table(resolved, [*SECTIONS, *(named or registry.methods)]))
