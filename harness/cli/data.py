"""The commands `hcbench data ...`: what data sets there are, checks, manifests, pictures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from hcbench.data.files.under_root import ALLOW
from hcbench.harness.cli.console import OK, SOME_FAILED, console, words
from hcbench.harness.cli.options import WORKSPACE, PluginOption, WorkspaceOption, open_registry

data_app = typer.Typer(no_args_is_help=True, help="Data sets: how to get them, checks, manifests, pictures.")

_DATASET = "A data set of `hcbench data list`."
_ROOT = "Its folder. Default: what HCBENCH_DATA_<NAME> or the workspace's data.yaml says."
_ROOT_OF_INDEX = f"{_ROOT} Of an index, the folder that it lies in."

_TrustPickle = Annotated[
    bool,
    typer.Option("--trust-pickle", help="Read labels from keys.pkl of luperson-nl, whose source you trust. It may hold"
                 " lists, text and numbers alone."),
]  # fmt: skip


_AllowOutside = Annotated[
    bool,
    typer.Option("--allow-outside", help="Let the names in json, lists, mats and manifests that you trust lead out of"
                 f" the data set's folder. {ALLOW}=1 in the environment does so for every command."),
]  # fmt: skip


@data_app.command("list")
def data_list(workspace: WorkspaceOption = WORKSPACE, plugin: PluginOption = None) -> None:
    """Corpora and data sets: what there is, what uses it, and where it lies here."""
    from hcbench.harness.cli import data_sets as data_screen
    from hcbench.harness.cli import tables as screens

    screen, registry = console(), open_registry(plugin)
    screen.print(screens.corpora_table(registry))
    screen.print()
    screen.print(data_screen.datasets_table(registry, workspace))
    screen.print("\nHow to get one, its terms and its files: hcbench data explain NAME", soft_wrap=True)


@data_app.command("explain")
def data_explain(
    name: Annotated[str, typer.Argument(metavar="NAME", help=_DATASET)], plugin: PluginOption = None
) -> None:
    """Terms of a data set, where to ask for it, the files that are expected, official counts."""
    from hcbench.harness.cli import data_sets as data_screen

    data_screen.explain(console(), open_registry(plugin), name)


@data_app.command("verify")
def data_verify(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"{_DATASET} Or a manifest: FILE.parquet.")],
    root: Annotated[Path | None, typer.Argument(metavar="[ROOT]", help=_ROOT)] = None,
    trust_pickle: _TrustPickle = False,
    allow_outside: _AllowOutside = False,
    plugin: PluginOption = None,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Compare a copy with the official one: exact, subset or mismatch, and what is missing. Writes nothing.

    Then says which benchmarks it can serve: what a run needs is loaded, and the truth is scored.

    Exit code 1 where it is a mismatch, or can serve none of the benchmarks that know its data set.
    """
    from hcbench.harness.cli import data_sets as data_screen

    registry = open_registry(plugin)
    _allow(allow_outside)
    usable = data_screen.verify(console(), registry, name, root, workspace, _given(trust_pickle=trust_pickle))
    raise typer.Exit(OK if usable else SOME_FAILED)


@data_app.command("prepare")
def data_prepare(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"{_DATASET} Or an index of images: INDEX.jsonl.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.parquet", help="The manifest; a folder gets shards of 50,000 rows.")
    ],
    root: Annotated[Path | None, typer.Argument(metavar="[ROOT]", help=_ROOT_OF_INDEX)] = None,
    pack: Annotated[
        bool,
        typer.Option("--pack", help="Put the images themselves inside, as network file systems like it. Needed where"
                     " samples are crops of larger photographs."),
    ] = False,
    split: Annotated[
        str | None, typer.Option("--split", metavar="A,B", help="Splits. Default: the one for training.")
    ] = None,
    size: Annotated[str, typer.Option("--size", metavar="HxW", help="Size of packed crops.")] = "256x128",
    trust_pickle: _TrustPickle = False,
    allow_outside: _AllowOutside = False,
    folders: Annotated[
        str | None,
        typer.Option("--folders", metavar="group|identity", help="What sub-folders of an image-folder are: groups, or"
                     " persons. Default: nothing."),
    ] = None,
    plugin: PluginOption = None,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:  # fmt: skip
    """Index a data set once into a manifest, to pre-train on it: hcbench run --corpus FILE.parquet.

    For example:

    hcbench data prepare image-folder /data/my_images --out mine.parquet

    hcbench data prepare coco /data/coco --pack --out coco.parquet

    hcbench data prepare gencoco/index.jsonl --out gencoco.parquet
    """
    from hcbench.harness.cli.data_sets import Indexing, prepare
    from hcbench.harness.cli.options import parse_size

    open_registry(plugin)
    _allow(allow_outside)
    options = _given(trust_pickle=trust_pickle, folders=folders)
    wanted = Indexing(out=out, pack=pack, splits=words(split), size=parse_size(size), options=options)
    prepare(console(), name, root, wanted, workspace)


@data_app.command("preview")
def data_preview(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="people, a data set, or a manifest: FILE.parquet.")
    ] = "people",
    root: Annotated[Path | None, typer.Argument(metavar="[ROOT]", help=_ROOT)] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the pictures.")] = Path("preview"),
    split: Annotated[
        str | None, typer.Option("--split", metavar="NAME", help="Split. Default: the one for training.")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, max=1_000, metavar="N", help="How many images.")] = 40,
    plugin: PluginOption = None,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:
    """Draw a contact sheet with boxes and keypoints in the images, ids and captions below them.

    Of people, the embedded corpus: what each layout holds fixed.
    """
    open_registry(plugin)
    if name != "people":
        from hcbench.harness.cli import data_sets as data_screen

        data_screen.preview(console(), name, root, out, split=split, count=count, workspace=workspace)
        return
    command = [sys.executable, "-P", "-m", "hcbench.harness.cli.preview", str(out)]
    raise typer.Exit(subprocess.call(command))


@data_app.command("duplicates")
def data_duplicates(
    corpus: Annotated[
        str, typer.Argument(metavar="CORPUS", help="What is pre-trained on: NAME, NAME:SPLIT or FILE.parquet; =ROOT"
                            " after it says where its images lie."),
    ],
    test: Annotated[str, typer.Argument(metavar="TEST", help="What is scored on, likewise.")],
    data: Annotated[
        list[str] | None, typer.Option("--data", metavar="NAME=ROOT", help="Where a data set lies, as for run.")
    ] = None,
    by: Annotated[
        str, typer.Option("--by", metavar="hash|CHECKPOINT", help="hash finds copies, resized or compressed anew, and"
                          " needs no weights. Weights, as for evaluate, find whatever they take for alike."),
    ] = "hash",
    layout: Annotated[str, typer.Option("--as", metavar="NAME", help="Whose weights, as for evaluate.")] = "",
    weights_key: Annotated[
        str, typer.Option("--weights-key", metavar="NAME", help="The part of the file to take, as for evaluate.")
    ] = "",
    weights_size: Annotated[
        str, typer.Option("--weights-size", metavar="HxW", help="Size that weights were trained at, as for evaluate.")
    ] = "",
    size: Annotated[str, typer.Option("--size", metavar="HxW", help="Input size of weights.")] = "256x128",
    least: Annotated[
        float | None, typer.Option("--least", metavar="COS", help="Cosine from which on images are alike. Default: .98")
    ] = None,
    bits: Annotated[
        int | None, typer.Option("--bits", metavar="N", help="Bits of 64 that hashes may differ in. Default: 5.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.csv", help="Table of all pairs.")] = Path("pairs.csv"),
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="FILE.png", help="Picture of the first pairs, side by side.")
    ] = None,
    plugin: PluginOption = None,
    workspace: WorkspaceOption = WORKSPACE,
) -> None:  # fmt: skip
    """Look for images of a test set that a corpus holds as well.

    For example:

    hcbench data duplicates mine.parquet market1501:test=/data/market1501

    hcbench data duplicates luperson cuhk-pedes --by solider.pth --as solider --least 0.97 --sheet pairs.png
    """
    from hcbench.harness.cli.duplicates import DuplicatesRequest, screen
    from hcbench.harness.cli.options import parse_roots, parse_size

    open_registry(plugin)
    roots = parse_roots(data or [])
    request = DuplicatesRequest(
        corpus=corpus, test=test, roots=roots, by=by, layout=layout, weights_key=weights_key,
        weights_size=weights_size, size=parse_size(size), least=least, bits=bits, out=out, sheet=sheet,
        workspace=workspace,
    )  # fmt: skip
    screen(console(), request)


def _allow(outside: bool) -> None:
    """Let names lead out of their folder, in this process and those that it starts."""
    if outside:
        os.environ[ALLOW] = "1"


def _given(**options: object) -> dict[str, object]:
    """The options of a data set's own that were given."""
    return {name: value for name, value in options.items() if value}
