"""The command line: parses, calls, prints. Nothing heavy is imported before a command needs it, torch never."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hcbench import __version__
from hcbench.harness.cli.command_line import Commands
from hcbench.harness.cli.console import (
    INTERRUPTED,
    OK,
    SOME_FAILED,
    console,
    words,
)
from hcbench.harness.cli.data import data_app
from hcbench.harness.cli.generate_options import GenerateOptions
from hcbench.harness.cli.listing import config_app, list_app
from hcbench.harness.cli.options import (
    DEFAULT_EXECUTOR,
    WORKSPACE,
    ExecutorOption,
    PluginOption,
    Request,
    TrackingOption,
    TunedOption,
    WorkersOption,
    WorkspaceOption,
    open_registry,
    takes_request,
)

if TYPE_CHECKING:
    from rich.console import Console

    from hcbench.harness.planning.cell import Matrix

_HOW, _SEARCH = "How it runs", "The search"
_OF_A_FILE = ("benchmarks", "no_controls", "data", "profile", "config", "sets", "deterministic", "plugin", "protocol")
"""Options of `run` that make sense for weights that are there already."""


app = typer.Typer(
    name="hcbench",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Given this much data and compute, which human-centric pre-training method gives the better representation,"
    " for which task, and how sure are we?\n\n"
    "Start with:  [bold]hcbench run --methods genpoccl,stablerep --budget 1pct[/bold]",
    epilog="Exit codes: 0 all is well, 1 a cell failed, 2 the command or its settings are wrong, 130 interrupted,"
    " 141 nobody reads the output any more.",
)
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
    debug: Annotated[
        bool, typer.Option("--debug", help="Tracebacks and detailed logs; works with any command.")
    ] = False,
) -> None:
    """Compare human-centric self-supervised pre-training methods fairly."""


@app.command()
@takes_request
def run(
    request: Request,
    tuned: TunedOption = False,
    workspace: WorkspaceOption = WORKSPACE,
    tracking_uri: TrackingOption = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = DEFAULT_EXECUTOR,
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
        typer.Option("--fresh", rich_help_panel=_HOW, help="Compute everything again, also what is already known,"
                     " and read all files of data sets again."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", rich_help_panel=_HOW, help="Only show what would run, as `hcbench plan` does.")
    ] = False,
) -> None:  # fmt: skip
    """Pre-train, score and compare methods. What is known already is not computed again.

    Interrupted at any time, the same command goes on where it stopped.

    For example:

    hcbench run --methods genpoccl,stablerep --budget 1pct

    hcbench run -m genpoccl,hap,mae --budget 0.3pct,1pct,3pct --seeds 0,1,2

    hcbench run -m stablerep --set pretrain.lr=1e-3,3e-4 --benchmarks reid
    """
    screen = console()
    matrix = _plan(request, workspace, screen, tuned=tuned, fresh=fresh)
    if dry_run:
        from hcbench.harness.cli.plan import show_plan

        show_plan(screen, matrix, workspace, tracking_uri, workers, fresh=fresh, executor=executor)
        return
    end = _run(
        screen, matrix, workspace, tracking_uri, workers=workers, fail_fast=fail_fast, fresh=fresh,
        log_checkpoints=log_checkpoints, executor=executor,
    )  # fmt: skip
    raise typer.Exit(end)


@app.command()
@takes_request
def plan(
    request: Request,
    tuned: TunedOption = False,
    workspace: WorkspaceOption = WORKSPACE,
    tracking_uri: TrackingOption = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = DEFAULT_EXECUTOR,
    measure: Annotated[
        bool,
        typer.Option("--measure", rich_help_panel=_HOW,
                     help="Train 20 steps of each kind of cell, so that times and memory are this machine's own."),
    ] = False,
) -> None:  # fmt: skip
    """Show what `run` would do with the same arguments: cells, what is known, time, disk and memory. Runs nothing.

    Example:  hcbench plan --methods genpoccl,stablerep --budget 0.3pct,1pct --seeds 0,1,2
    """
    from hcbench.harness.cli.plan import show_plan

    screen = console()
    matrix = _plan(request, workspace, screen, tuned=tuned)
    show_plan(screen, matrix, workspace, tracking_uri, workers, measure=measure, executor=executor)


@app.command()
@functools.partial(takes_request, only=_OF_A_FILE)
def evaluate(
    request: Request,
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A weight file, or a checkpoint folder of hcbench.")
    ],
    layout: Annotated[
        str, typer.Option("--as", metavar="NAME", show_default=False,
                          help="Whose file it is: a name of `hcbench list layouts` (solider, plip, hap, mae ...), or"
                          " timm:NAME for any model of timm. May be left out where the file makes it plain."),
    ] = "",
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial",
                           help="Score a file that is refused for less than 95 % of the network's numbers or tensors,"
                           " for other shapes, or (SOLIDER) for unknown names. Its row is marked as partial."),
    ] = False,
    size: Annotated[
        str | None, typer.Option("--size", metavar="HxW", help="Input size, such as 256x128. Default: the profile's.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="TEXT", help="How tables call it. Default: the file's name.")
    ] = None,
    vocabulary: Annotated[
        Path | None, typer.Option("--vocab", metavar="FILE",
                                  help="The vocab.txt of a text tower (plip). Default: the one beside the file."),
    ] = None,
    normalise: Annotated[
        str, typer.Option("--normalise", metavar="NAME", show_default=False,
                          help="How pixels are normalised: imagenet, or half (mean and std .5, as SOLIDER-REID's"
                          " fine-tuned files want it). Default: as the layout's own pre-training."),
    ] = "",
    weights_key: Annotated[
        str, typer.Option("--weights-key", metavar="NAME", show_default=False,
                          help="The part of the file to take where it holds several, such as state_dict_ema or"
                          " student: an entry, or a prefix of names. Default: what the layout takes; the load report"
                          " names what lies beside it."),
    ] = "",
    weights_size: Annotated[
        str, typer.Option("--weights-size", metavar="HxW", show_default=False,
                          help="Input size that the weights were trained at, such as 256x192: their positions are"
                          " resampled from its grid. Default: what the file or its layout says, and asked for where"
                          " several sizes fit."),
    ] = "",
    trained_on: Annotated[
        str, typer.Option("--trained-on", metavar="A,B", show_default=False,
                          help="Data sets that the weights have seen, such as luperson or coco:train2017; reports warn"
                          " where one hangs together with what is scored. Default: unknown."),
    ] = "",
    workspace: WorkspaceOption = WORKSPACE,
    tracking_uri: TrackingOption = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = DEFAULT_EXECUTOR,
    fresh: Annotated[
        bool, typer.Option("--fresh", rich_help_panel=_HOW, help="Compute everything again, also what is known,"
                           " and read all files again.")
    ] = False,
) -> None:  # fmt: skip
    """Score weights that were trained elsewhere, beside the same network with random weights.

    Only tensors are read from a file. It prints what fits, and refuses a file that fits badly. Nothing is downloaded.

    For example:

    hcbench evaluate swin_small.pth --as solider --size 384x128

    hcbench evaluate vit_base.safetensors --as timm:vit_base_patch16_224 --benchmarks reid,pose
    """
    from hcbench.harness.cli.evaluate import WeightsFile, plan_weights, warn

    screen = console()
    given = WeightsFile(
        checkpoint, layout, vocabulary, name, allow_partial, normalise, weights_key, weights_size, words(trained_on)
    )
    planned = plan_weights(screen, request, given, size, workspace, fresh=fresh)
    end = _run(screen, planned.matrix, workspace, tracking_uri, workers=workers, fresh=fresh, executor=executor)
    warn(screen, planned, workspace, tracking_uri)
    raise typer.Exit(end)


@app.command()
@functools.partial(takes_request, without=("methods", "no_controls", "seeds", "protocol"))
def tune(
    request: Request,
    methods: Annotated[
        str, typer.Argument(metavar="METHODS", help="Methods to tune, by comma; see `hcbench list methods`.")
    ],
    trials: Annotated[
        int,
        typer.Option("--trials", min=1, metavar="N", rich_help_panel=_SEARCH,
                     help="Trials of each method; the first takes the settings as they are."),
    ] = 6,
    share: Annotated[
        float,
        typer.Option("--share", metavar="S", rich_help_panel=_SEARCH, show_default="1/6",
                     help="Images that a trial sees, as a share of those of a run."),
    ] = 1 / 6,
    images: Annotated[
        int | None,
        typer.Option("--images", min=1, metavar="N", rich_help_panel=_SEARCH,
                     help="The same as a number, in place of --share."),
    ] = None,
    sampler_seed: Annotated[
        int,
        typer.Option("--sampler-seed", min=0, metavar="N", rich_help_panel=_SEARCH,
                     help="Another seed tries other points."),
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.yaml", rich_help_panel=_SEARCH,
                     help="Where the best settings go; the table of trials goes beside it, as FILE-trials.csv."
                     " Default: tuned.yaml in the workspace, where `hcbench run --tuned` finds it."),
    ] = None,
    workspace: WorkspaceOption = WORKSPACE,
    tracking_uri: TrackingOption = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = DEFAULT_EXECUTOR,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", rich_help_panel=_HOW, help="Only show what would be tried, and how long it takes."),
    ] = False,
) -> None:  # fmt: skip
    """Choose learning rates and loss weights: as many trials for every method, judged on validation data alone.

    Interrupted at any time, the same command goes on where it stopped.

    For example:

    hcbench tune genpoccl,stablerep && hcbench run --methods genpoccl,stablerep --tuned
    """
    from dataclasses import replace

    from hcbench.harness.cli.tune import Options, run_tune

    options = Options(
        trials=trials, share=share, images=images, sampler_seed=sampler_seed, out=out, workspace=workspace,
        tracking_uri=tracking_uri, workers=workers, executor=executor, dry_run=dry_run,
    )  # fmt: skip
    ended = run_tune(console(), replace(request, methods=methods), options)
    if ended is not None and ended.interrupted:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(OK if ended is None or ended.ok else SOME_FAILED)


@app.command()
def report(
    workspace: WorkspaceOption = WORKSPACE,
    tracking_uri: TrackingOption = None,
    formats: Annotated[
        str,
        typer.Option("--format", metavar="A,B",
                     help="terminal, md, csv, tex, html, png, svg or another of `hcbench list formats`; several by"
                     " comma."),
    ] = "terminal",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the files. Default: <workspace>/report.")
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option("--compare", metavar="A,B", help="Show budgets, backbones or a swept setting side by side."),
    ] = None,
    trials: Annotated[
        bool,
        typer.Option("--trials", help="Show the trials of `hcbench tune`, which are scored on validation, instead."),
    ] = False,
    plugin: PluginOption = None,
) -> None:  # fmt: skip
    """Compare everything that was measured: tables, intervals, ranks, curves.

    Example:  hcbench report --format html,png --out results
    """
    from hcbench.harness.cli import report as present

    present.show_report(
        console(), workspace, tracking_uri, words(formats), out, words(compare), trials=trials, plugins=plugin
    )


@app.command()
def show(
    cell: Annotated[str, typer.Argument(metavar="CELL", help="The cell's name in tables, or its first characters.")],
    workspace: WorkspaceOption = WORKSPACE,
    tracking_uri: TrackingOption = None,
) -> None:
    """Everything about one cell: settings, cost, scores, chosen readouts, files, the end of its log."""
    from hcbench.harness.cli.cell import show_cell

    show_cell(console(), cell, workspace, tracking_uri)


@app.command()
def ui(
    workspace: WorkspaceOption = WORKSPACE,
    tracking_uri: TrackingOption = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port on this machine.")] = 5000,
) -> None:
    """Open the workspace's results in MLflow's web interface, for this machine only."""
    from hcbench.harness.store.store_access import store_address

    address = store_address(workspace, tracking_uri)
    typer.echo(f"Results of {tracking_uri or workspace} at http://127.0.0.1:{port} (Ctrl-C ends it)")
    command = [sys.executable, "-P", "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    sys.stdout.flush()
    os.execv(sys.executable, [*command, "--backend-store-uri", address])  # in our place: signals reach it alone


@app.command()
def check(
    method: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="Methods, benchmarks or data sets by comma, or all methods. Default: those of --plugin, else all"
            " methods.",
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="One setting, for example stablerep.bn=global; may be repeated."
        ),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", metavar="NAME", help="The network; see `hcbench list backbones`.")
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option("--data", metavar="NAME=ROOT", help="Where a data set lies that is checked.")
    ] = None,
    plugin: PluginOption = None,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Try whether methods, benchmarks and data sets keep what they promise: seconds for each, one line per promise.

    For example:

    hcbench check stablerep

    hcbench check --plugin my_method.py --set my-method.temperature=0.2

    hcbench check reid

    hcbench check market1501 --data market1501=/data/market1501
    """
    from hcbench.harness.cli.check import check_benchmarks, check_methods, chosen, chosen_benchmarks, methods_of
    from hcbench.harness.cli.check_data import check_data_sets, chosen_data
    from hcbench.harness.cli.options import parse_roots

    registry = open_registry(plugin)
    names = words(method)
    tasks, others = chosen_benchmarks(registry, names, plugin or ())
    data_sets, rest = chosen_data(registry, others, plugin or ()) if others or not names else ([], ())
    if (data_sets or tasks) and not rest:
        cards = [] if names else methods_of(registry, plugin or ())
    else:
        cards = chosen(registry, rest, plugin or ())
    roots = parse_roots(data or [])
    kept = check_benchmarks(console(), tasks, roots) if tasks else True
    if data_sets or (data and not tasks):
        kept = check_data_sets(console(), data_sets, roots, workspace) and kept
    if cards:
        kept = check_methods(console(), registry, cards, sets or (), backbone) and kept
    raise typer.Exit(OK if kept else SOME_FAILED)


@app.command()
@functools.partial(takes_request, kind=GenerateOptions)
def generate(options: GenerateOptions) -> None:
    """Make pre-training images, several per pose or caption, with what made them recorded in a manifest.

    Weights must lie on this machine; nothing is downloaded. Interrupted at any time, the same command goes on where it
    stopped, into the same bytes.

    For example:

    hcbench generate --groups 200 --out people-poses

    hcbench generate --backend t2i-adapter --model sd-v1-4 --adapter t2iadapter_keypose_sd14v1 --poses coco
    """
    from hcbench.harness.cli.generate import run_generate

    run_generate(console(), options)


def _run(screen: Console, matrix: Matrix, workspace: Path, tracking_uri: str | None, **how: Any) -> int:
    """Run a matrix before the user's eyes; gives the exit code."""
    from hcbench.harness.cli import report as present
    from hcbench.harness.cli.plan import advise_on_seeds
    from hcbench.harness.cli.progress import watching
    from hcbench.harness.running.run import run_matrix

    advise_on_seeds(screen, matrix, workspace, tracking_uri)
    with watching(matrix, screen) as listener:
        outcome = run_matrix(matrix, workspace=workspace, tracking_uri=tracking_uri, listener=listener, **how)
    present.show_outcome(screen, matrix, outcome, workspace, tracking_uri)
    if outcome.interrupted:
        return INTERRUPTED
    return OK if outcome.ok else SOME_FAILED


def _plan(request: Request, workspace: Path, screen: Console, *, tuned: bool = False, fresh: bool = False) -> Matrix:
    """The matrix of a request; where `tuned`, with the settings that were tuned in the workspace."""
    from hcbench.harness.forecast import effort
    from hcbench.harness.planning.content_hashes import read_again
    from hcbench.harness.planning.machine import look
    from hcbench.harness.store.workspace import Workspace

    resolved, registry = request.resolve(Workspace(workspace).tuned if tuned else None, workspace)
    if fresh:
        read_again(resolved)
    return effort.plan(resolved, registry, look(), workspace, screen.print)
