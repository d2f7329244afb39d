"""The command line: parses, calls, prints. Nothing heavy is imported before a command needs it, torch never."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from hcbench import __version__
from hcbench.errors import HcbenchError
from hcbench.harness.options import (
    WORKSPACE,
    PluginOption,
    Request,
    TrackingOption,
    WorkspaceOption,
    open_registry,
    takes_request,
)

if TYPE_CHECKING:
    from rich.console import Console

FINE, SOME_FAILED, USAGE_ERROR, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""

_HOW = "How it runs"
_ClickException = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


class _Commands(TyperGroup):
    """The commands, with errors as plain text and tracebacks only where asked for."""

    def main(self, args: Any = None, *positional: Any, standalone_mode: bool = True, **named: Any) -> Any:
        """Run a command line; exits with one of the codes above where `standalone_mode`."""
        words = list(sys.argv[1:] if args is None else args)
        debug = "--debug" in words
        _log(debug)
        words = [word for word in words if word != "--debug"]
        try:
            code = super().main(words, *positional, standalone_mode=False, **named)
        except _ClickException as error:
            error.show()  # type: ignore[attr-defined]
            code = USAGE_ERROR
        except HcbenchError as error:
            if debug:
                raise
            from hcbench.harness.screens import show_error

            show_error(_console(stderr=True), error)
            code = USAGE_ERROR
        except (KeyboardInterrupt, typer.Abort):
            code = INTERRUPTED
        code = code if isinstance(code, int) else FINE
        if code == INTERRUPTED:
            typer.echo("Interrupted. Run the same command again to go on.", err=True)
        if standalone_mode:
            sys.exit(code)
        return code


app = typer.Typer(
    name="hcbench",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Given this much data and compute, which human-centric pre-training method gives the better representation,"
    " for which task, and how sure are we?\n\n"
    "Start with:  [bold]hcbench run --methods genpoccl,stablerep --budget 1pct[/bold]",
    epilog="Exit codes: 0 all is well, 1 a cell failed, 2 the command or its settings are wrong, 130 interrupted.",
)
list_app = typer.Typer(no_args_is_help=True, help="What there is: methods, benchmarks, backbones, corpora.")
config_app = typer.Typer(no_args_is_help=True, help="Settings and where they come from.")
data_app = typer.Typer(no_args_is_help=True, help="Data sets: what there is, and a look at the embedded corpus.")
app.add_typer(list_app, name="list")
app.add_typer(config_app, name="config")
app.add_typer(data_app, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hcbench {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Tracebacks and detailed logs; works with any command.")] = False,
) -> None:
    """Compare human-centric self-supervised pre-training methods fairly."""


@app.command()
@takes_request
def run(
    request: Request,
    workspace: WorkspaceOption = WORKSPACE,
    tracking_uri: TrackingOption = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, metavar="N", rich_help_panel=_HOW,
                     help="Cells trained side by side. Default: one per core, fewer where memory is short."),
    ] = None,
    log_checkpoints: Annotated[
        bool,
        typer.Option("--log-checkpoints", rich_help_panel=_HOW,
                     help="Also store checkpoints in MLflow; they stay in the workspace anyway."),
    ] = False,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", rich_help_panel=_HOW, help="Stop at the first cell that fails.")
    ] = False,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", rich_help_panel=_HOW, help="Compute everything again, also what is already known."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", rich_help_panel=_HOW, help="Only show what would run, as `hcbench plan` does.")
    ] = False,
) -> None:  # fmt: skip
    """Pre-train, score and compare. What is known already is not computed again.

    Examples:

      hcbench run --methods genpoccl,stablerep --budget 1pct

      hcbench run -m genpoccl,hap,mae --budget 0.3pct,1pct,3pct --seeds 0,1,2

      hcbench run -m stablerep --set pretrain.lr=1e-3,3e-4 --benchmarks reid
    """
