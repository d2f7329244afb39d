"""`hcbench evaluate CHECKPOINT`: weights of a file on the benchmarks, by the same road as every other cell.

A file becomes a cell of the method `checkpoint`, beside one of the same network with random weights; plan, worker,
store and report treat both as they treat all cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from hcbench.data.files.hash_index import forget
from hcbench.data.overlaps import NOTHING
from hcbench.errors import ConfigError, WeightsError
from hcbench.harness.cli.options import WORKSPACE, Request, parse_size
from hcbench.harness.planning.card_facts import supervision_facts
from hcbench.harness.planning.cell import Cell, Matrix
from hcbench.harness.planning.checks import check_choice
from hcbench.harness.planning.config import Resolved
from hcbench.harness.planning.content_hashes import read_again, sha256, weights_hash
from hcbench.harness.planning.leaks import trained_on
from hcbench.harness.planning.machine import look as look_at_machine
from hcbench.harness.planning.plan import NO_BUDGET, plan_given
from hcbench.harness.planning.settings import CorpusConfig, PretrainConfig
from hcbench.harness.scoring.weight_fit import Fit, Question, look
from hcbench.methods.checkpoint.card import (
    CARD,
    NORMALISATIONS,
    OWN,
    VOCABULARY,
    WEIGHTS,
    Config,
    check_layout,
    layout_title,
)
from hcbench.methods.weight_layout import known_layouts
from hcbench.records import ScoreRow

if TYPE_CHECKING:
    import pandas as pd

_FACTS, _INSIDE = "encoder.json", "checkpoint"


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """What the user gave.

    Attributes:
        path: A file, a checkpoint folder of hcbench, or the cell's folder around one.
        layout: As `Question.layout`.
        vocabulary: Word list; None looks for a `vocab.txt` beside the file.
        name: How tables call it; None takes the file's name.
        allow_partial: Take a file that fits badly.
        normalise: How pixels are normalised, where not as the layout says.
        weights_key: The part of the file to take; empty takes what the layout takes.
        weights_size: HEIGHTxWIDTH that the weights were trained at; empty where nobody says.
        trained_on: Data sets that the weights have seen, as `name` or `name:split`; empty where nobody says.
    """

    path: Path
    layout: str = ""
    vocabulary: Path | None = None
    name: str | None = None
    allow_partial: bool = False
    normalise: str = ""
    weights_key: str = ""
    weights_size: str = ""
    trained_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WeightsPlan:
    """A matrix of a file: its cell, its control's where there is one, and what was found of the file."""

    matrix: Matrix
    cell: Cell
    control: Cell | None
    fit: Fit


def plan_weights(
    console: Console,
    request: Request,
    weights: WeightsFile,
    size: str | None,
    workspace: Path = WORKSPACE,
    *,
    fresh: bool = False,
) -> WeightsPlan:
    """Look at a file, say what it is, and draw up its cells; where `fresh`, all files on disk are read again.

    Raises:
        HcbenchError: The file cannot be scored, or a setting is wrong.
    """
    request = replace(request, sets=[*(request.sets or ()), *_size(size)])
    resolved, registry = request.resolve(workspace=workspace)
    weights = located(weights)
    if fresh:
        forget(weights.path)
        read_again(resolved)
    if len(resolved.pretrains) > 1:
        raise ConfigError("A file is scored at one input size.", "Give one --size, and no lists under pretrain.*.")
    pretrain = resolved.pretrains[0]
    machine = look_at_machine()
    # Wrong settings are told of before a large file is read; whether it has knobs, the file is to say.
    plan_given(replace(resolved, knobs={}), registry, machine, ())
    fit = look(
        Question(
            path=str(weights.path),
            layout=weights.layout,
            vocabulary=str(weights.vocabulary or ""),
            height=pretrain.height,
            width=pretrain.width,
            allow_partial=weights.allow_partial,
            weights_key=weights.weights_key,
            weights_size=weights.weights_size,
        )
    )
    if size and (fit.height, fit.width) != (pretrain.height, pretrain.width):
        raise ConfigError(
            f"{weights.path} was trained at {fit.height}x{fit.width} and is scored at that.", "Leave out --size."
        )
    _tell(console, weights, fit)
    cells = list(_cells(weights, fit, resolved))
    matrix = plan_given(resolved, registry, machine, cells)
    return WeightsPlan(matrix, matrix.cells[0], matrix.cells[1] if len(cells) > 1 else None, fit)


def _size(size: str | None) -> tuple[str, ...]:
    if size is None:
        return ()
    height, width = parse_size(size)
    return f"pretrain.height={height}", f"pretrain.width={width}"


def located(weights: WeightsFile) -> WeightsFile:
    """With the path made absolute, hcbench's own folders found, and the word list beside the file.

    Raises:
        WeightsError: There is no such file, or it is not what `layout` says.
    """
    path = weights.path.expanduser().absolute()
    if weights.normalise:
        check_choice("--normalise", weights.normalise, NORMALISATIONS)
    if weights.weights_size:
        size = parse_size(weights.weights_size, "--weights-size")
        weights = replace(weights, weights_size=f"{size[0]}x{size[1]}")
    if not path.exists():
        raise WeightsError(f"There is no {weights.path}.", "Name a weight file, or a checkpoint folder of hcbench.")
    folders = [path, path / _INSIDE, *([path.parent] if path.name == "encoder.safetensors" else [])]
    own = next((folder for folder in folders if (folder / _FACTS).is_file()), None)
    if own is not None:
        if weights.layout not in ("", OWN):
            raise WeightsError(f"{weights.path} is a checkpoint of hcbench, no {weights.layout}.", "Leave out --as.")
        if weights.normalise:
            message = f"{weights.path} is a checkpoint of hcbench: pixels are normalised as in its training."
            raise WeightsError(message, "Leave out --normalise.")
        if weights.weights_key or weights.weights_size:
            message = f"{weights.path} is a checkpoint of hcbench, which says itself what it holds."
            raise WeightsError(message, "Leave out --weights-key and --weights-size.")
        return replace(weights, path=own, layout=OWN)
    if path.is_dir() or weights.layout == OWN:
        raise WeightsError(
            f"{weights.path} holds no {_FACTS}, so it is no checkpoint of hcbench.",
            "Name the weight file itself, or the folder of a cell (hcbench-runs/work/...).",
        )
    if weights.layout:
        check_layout(weights.layout)
    layouts = known_layouts().values()
    names = [one.vocabulary for one in layouts if one.vocabulary and weights.layout in ("", one.name)]
    beside = next((file for name in names if (file := path.with_name(name)).is_file()), None)
    words = weights.vocabulary or beside
    return replace(weights, path=path, vocabulary=None if words is None else words.expanduser().absolute())


def _tell(console: Console, weights: WeightsFile, fit: Fit) -> None:
    """The load report, and what in it asks for attention."""
    console.print(Text(fit.text), soft_wrap=True)
    if not weights.layout:
        console.print(f"Read as {fit.layout}, as its names say; --as names another.", soft_wrap=True)
    told = []
    if missing := fit.expected - fit.matched:
        told.append(
            f"Tensors of the network that are not the file's and keep their start: {missing} of {fit.expected}."
        )
    if fit.unknown:
        told.append(f"Tensors that this network has no place for: {fit.unknown}; the file may be of something else.")
    if told:
        console.print(" ".join([*told, "The row is marked as partial."]), style="yellow", soft_wrap=True)
    if not weights.trained_on:
        layout = known_layouts().get(fit.layout)
        published = layout.published_on if layout else ""
        own = f" The files of {layout_title(fit.layout)}'s authors: {published}." if published else ""
        words = f"Nobody says what the weights were trained on; --trained-on does, for the column leaks.{own}"
        console.print(words, soft_wrap=True)


def _cells(weights: WeightsFile, fit: Fit, resolved: Resolved) -> Iterator[Cell]:
    """The file's cell, and that of the same network with random weights unless controls are left out."""
    files = {WEIGHTS: str(weights.path)}
    layout = known_layouts().get(fit.layout)
    if weights.vocabulary is not None and layout is not None and layout.vocabulary:
        files[VOCABULARY] = str(weights.vocabulary)
    hashes = {name: weights_hash(Path(path)) for name, path in files.items()}
    words = hashes.get(VOCABULARY, "")
    same = Config(
        layout=fit.layout,
        vocabulary=words,
        normalise=weights.normalise,
        knobs=fit.knobs,
        weights_key=weights.weights_key,
    )
    config = replace(same, sha256=hashes[WEIGHTS], allow_partial=fit.refused, weights_size=weights.weights_size)
    cell = Cell(
        method=CARD.name,
        budget=NO_BUDGET,
        budget_images=0,
        images_seen=0,
        seed=0,
        backbone=fit.backbone,
        corpus=CorpusConfig(layout=CARD.layout),
        pretrain=PretrainConfig(
            height=fit.height,
            width=fit.width,
            precision=resolved.pretrains[0].precision,
            deterministic=resolved.pretrains[0].deterministic,
        ),
        method_config=asdict(config),
        roots=files,
        profile=resolved.run.profile,
        facts=_facts(weights, fit),
    )
    yield cell
    if resolved.run.controls:
        # hcbench's own networks are described by their folder alone; any other follows from layout and name.
        of = sha256(weights.path / _FACTS) if fit.layout == OWN else ""
        facts = {
            "name": f"random {fit.backbone}",
            "title": f"Random init ({fit.backbone})",
            **supervision_facts("control"),
            **trained_on([NOTHING]),
        }
        yield replace(cell, method_config=asdict(replace(same, sha256=of, random=True)), facts=facts)


def _facts(weights: WeightsFile, fit: Fit) -> dict[str, str]:
    """What tables say of the cell."""
    name = weights.name or _name(weights.path, fit.layout)
    kind = layout_title(fit.layout)
    unknown = f", {fit.unknown} unknown" if fit.unknown else ""
    part = f" [partial: {fit.matched} of {fit.expected} tensors{unknown}]" if fit.partial else ""
    pixels = f" [{NORMALISATIONS[weights.normalise]}]" if weights.normalise else ""
    sources = trained_on(weights.trained_on) if weights.trained_on else {}
    return {"name": name, "title": f"{kind}: {name}{part}{pixels}", "weights": fit.text, **sources}


def _name(path: Path, layout: str) -> str:
    if layout != OWN:
        return path.name.removesuffix(".tar").rpartition(".")[0] or path.name
    return path.parent.name[:8] if path.name == _INSIDE else path.name


def warn(console: Console, planned: WeightsPlan, workspace: Path, tracking_uri: str | None) -> None:
    """Say where the file's weights are not better than random ones: those of its control, else the stored ones."""
    from hcbench.harness.cli.report import read_results

    results = read_results(workspace, tracking_uri)
    known = results.cells.loc[results.cells["cell"] == planned.cell.fingerprint, "title"]
    if not known.empty and known.iloc[0] != planned.cell.facts["title"]:
        text = f"Tables call it {known.iloc[0]!r}, as when it was first scored; --fresh scores it under its new name."
        console.print(text, soft_wrap=True)
    scores = results.scores[results.scores["main"].astype(bool) & results.scores["value"].notna()]
    own = scores[scores["cell"] == planned.cell.fingerprint]
    asked = {one.fingerprint for one in planned.matrix.evaluations[planned.cell.fingerprint]}
    random = scores[scores["cell"].isin(_random_cells(results.cells, planned))]
    arena = ["benchmark", "version", "data", "protocol", "config", "metric"]
    for _, found in own[own["evaluation"].isin(asked)].iterrows():
        same = random[(random[arena] == found[arena]).all(axis=1)]
        if same.empty:
            continue
        score = ScoreRow.read({str(name): value for name, value in found.items()})
        sign = 1.0 if score.higher_is_better else -1.0
        best = (sign * same["value"]).max() * sign
        if sign * (score.value - best) <= 0:
            factor = 100.0 if score.percent else 1.0
            text = (
                f"{score.benchmark_title}: {score.metric_title} {factor * score.value:.1f} does not beat "
                f"random weights ({factor * best:.1f}). Is the layout right (--as), and the input size (--size)?"
            )
            console.print(text, style="yellow", soft_wrap=True)


def _random_cells(cells: pd.DataFrame, planned: WeightsPlan) -> list[str]:
    """The file's own control where it was run, else every stored cell of the method `random`."""
    if planned.control is not None:
        return [planned.control.fingerprint]
    return [str(cell) for cell in cells.loc[cells["method"] == "random", "cell"]]
