"""What `hcbench data` prints and does: look-ups, checks, indexing, pictures. Nothing here writes into a data set."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hcbench.data.card import VerifyReport
from hcbench.data.catalogue import (
    built_in_modules,
    dataset,
    dataset_card,
    direct_corpora,
    is_for_training,
    taking,
    training_split,
)
from hcbench.errors import ConfigError, DataError, did_you_mean
from hcbench.harness.cli.tables import plain_table
from hcbench.harness.planning.corpora import PARQUET, is_manifest
from hcbench.harness.planning.data_roots import found_roots, root_of, rooted_names

if TYPE_CHECKING:
    from hcbench.data.dataset import Columns
    from hcbench.data.samples import Samples
    from hcbench.harness.planning.registry import Registry
    from hcbench.harness.scoring.task_trial import TaskTrial

_LINES = 4
"""Of what is known of an image, lines that stand below it; the text file beside the picture has all."""
_USELESS = "Its files are valid, but no task can be run on it; see the reasons above."
JSONL = ".jsonl"
"""How an index is named that `prepare` imports."""
CACHE = "cache"
"""Folder of decoded pixels in the workspace."""


def datasets_table(registry: Registry, workspace: Path) -> Table:
    """Every real data set: what it is, who uses it, and where it lies on this machine."""
    roots = _known_roots(workspace, registry.data)
    table = plain_table("data set", "what it is", "used by", "here at", unbroken=("data set",))
    for name in (*built_in_modules(), *registry.data):
        users = [task.name for task in registry.benchmarks.values() if name in task.data]
        if is_for_training(name):
            users += ["pre-training" if name in direct_corpora() else "pre-training, prepared"]
        table.add_row(name, dataset_card(name).title, ", ".join(users), roots.get(name, Text("-", style="dim")))
    return table


def _known_roots(workspace: Path, further: Iterable[str] = ()) -> dict[str, str]:
    """Where real data lie on this machine, by name."""
    roots: dict[str, str] = {}
    for override in found_roots(workspace, rooted_names(further)):
        roots |= override.value
    return roots


def explain(console: Console, registry: Registry, name: str) -> None:
    """Everything that a user must know to get a data set and to lay it out."""
    card = dataset_card(name)
    console.print(Text(card.title, style="bold") + Text(f"  {card.homepage}", style="default"))
    _paragraph(console, "Terms", card.terms)
    _paragraph(console, "How to get it (nothing is downloaded by hcbench)", card.obtain)
    _paragraph(console, "Expected files", card.tree)
    table = plain_table("split", "official counts")
    for split, counts in card.official.items():
        doubtful = {what for what in counts if {what, f"{split} {what}"} & card.unverified}
        told = [f"{count:,} {what}" + (" (not verified)" if what in doubtful else "") for what, count in counts.items()]
        table.add_row(split, ", ".join(told) or "no official number")
    console.print()
    console.print(table)
    if card.split_rule:
        _paragraph(console, "Splits", card.split_rule)
    for other, relation in card.sister_sets.items():
        console.print(Text(f"Beware, {other}: {relation}."), soft_wrap=True)
    _paragraph(console, "Then", "\n".join(_uses(registry, card.name)))


def _uses(registry: Registry, name: str) -> Iterator[str]:
    """The commands that a data set is for."""
    yield f"hcbench data verify {name} ROOT"
    scored = [task.name for task in registry.benchmarks.values() if name in task.data]
    if scored:
        only = "" if is_for_training(name) else f" --test-on {name}"
        yield f"hcbench run --data {name}=ROOT{only} ...   scores {', '.join(scored)} on it"
    if name in direct_corpora():
        yield f"hcbench run --data {name}=ROOT --corpus {name} ...   pre-trains on it"
    elif is_for_training(name):
        yield f"hcbench data prepare {name} ROOT --out {name}{PARQUET}   and then   --corpus {name}{PARQUET}"


def verify(
    console: Console,
    registry: Registry,
    name: str,
    root: Path | None,
    workspace: Path,
    options: Mapping[str, Any] | None = None,
) -> bool:
    """Print how a copy compares with the official one, and what it can serve; gives whether it can be used.

    Args:
        console: Where it is printed.
        registry: Knows the benchmarks that a data set may serve.
        name: A data set, or a manifest.
        root: Its folder; None takes what is known of it.
        workspace: May know it.
        options: Arguments that not every data set takes (`trust_pickle`).

    Raises:
        ConfigError: The data set does not take one of the options.
        DataError: There is nothing that could be looked at.
    """
    _check_options(name, options or {})
    if name.endswith(JSONL):
        raise DataError(
            f"{name} is an index.", f"Import it: hcbench data prepare {name} --out FILE.parquet; then verify."
        )
    if is_manifest(name):
        from hcbench.data.manifest.check import verify_manifest

        coco = _known_roots(workspace).get("coco")
        report = verify_manifest(Path(name), root, None if coco is None else Path(coco))
    else:
        found = dataset(name)
        report = found.verify(root_of(found.name, root, workspace), **(options or {}))
    console.print(Text(report.text()), soft_wrap=True)
    trials = () if report.level == "mismatch" or is_manifest(name) else _tried(registry, report)
    for trial in trials:
        console.print(Text(f"  {trial.text(report.dataset)}"), soft_wrap=True)
    useless = bool(trials) and not any(trial.served for trial in trials)
    good = report.level == "exact" and not useless
    verdict = _USELESS if useless else _verdict(report)
    console.print(Text(verdict, style="green" if good else "yellow"), soft_wrap=True)
    return report.level != "mismatch" and not useless


def _tried(registry: Registry, report: VerifyReport) -> tuple[TaskTrial, ...]:
    """What a copy whose files are as they should be can serve."""
    from hcbench.harness.scoring.task_trial import try_tasks

    return try_tasks(report.dataset, report.root, registry)


@dataclass(frozen=True, kw_only=True, slots=True)
class Indexing:
    """What `hcbench data prepare` is asked for.

    Attributes:
        out: A .parquet file, or a folder for shards.
        pack: Whether images are put inside.
        splits: Splits; empty takes the training split.
        size: Height and width of crops.
        options: Arguments that not every data set takes (`trust_pickle`, `folders`).
    """

    out: Path
    pack: bool
    splits: Sequence[str]
    size: tuple[int, int]
    options: Mapping[str, Any] = field(default_factory=dict)


def prepare(console: Console, name: str, root: Path | None, wanted: Indexing, workspace: Path) -> None:
    """Write the manifest of a data set, or of an index.jsonl."""
    _check_options(name, wanted.options)
    if name.endswith(JSONL):
        _prepare_index(console, Path(name), root, wanted)
        return
    from hcbench.data.manifest.indexing import index_splits

    found = dataset(name)
    place = root_of(found.name, root, workspace)
    check_outside(wanted.out, place)
    splits = tuple(dict.fromkeys(wanted.splits)) or (training_split(name),)
    for split in splits:
        if split not in found.splits:
            raise ConfigError(f"{found.name} has no split {split!r}.", did_you_mean(split, found.splits))
    with tempfile.TemporaryDirectory(prefix="hcbench-prepare-") as cache:
        rows = index_splits(
            name, place, splits, pack=wanted.pack, size=wanted.size, cache=Path(cache), options=wanted.options
        )
        _write(console, rows, wanted.out, place, ", ".join(splits))


def _check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse options that only other data sets take; indices and manifests take none."""
    for option in options:
        able = taking(option)
        if not able or is_manifest(name) or name.endswith(JSONL) or dataset_card(name).name not in able:
            raise ConfigError(f"{name} takes no --{option.replace('_', '-')}.", f"It is for {', '.join(able)}.")


def _prepare_index(console: Console, path: Path, root: Path | None, wanted: Indexing) -> None:
    """Import an index; it is no owner's data set, and the manifest may lie beside it as `hcbench generate` has it."""
    from hcbench.data.manifest.index_jsonl import read_index

    if wanted.splits:
        raise ConfigError("--split is for data sets.", "The lines of an index name their split themselves.")
    if root is not None and not root.is_dir():
        raise DataError(f"{root} is no folder.", "Give the folder that image paths are relative to.")
    place = (root or path.parent).resolve()
    _write(console, read_index(path, place, pack=wanted.pack), wanted.out, place, path.name)


def _write(console: Console, rows: Iterator[Columns], out: Path, place: Path, what: str) -> None:
    """Write rows whose images lie below `place`, or are inside, and tell what they know."""
    from hcbench.data.manifest.manifest import open_manifest
    from hcbench.data.manifest.write import ManifestWriter

    first = next(rows, None)
    inside = first is not None and "image_bytes" in first  # asked for, or the only way: a data base has no files
    beside = out.absolute().parent.resolve() == place  # such a folder can be moved
    with ManifestWriter(out, root="" if inside or beside else str(place), packed=inside, links=True) as writer:
        for columns in chain([first] if first is not None else [], rows):
            writer.add(columns)
    manifest = open_manifest(out)
    knows = [name for name in ("captions", "identity", "camera", "pose_id", "keypoints", "group_id")
             if manifest.lacking[name] < len(manifest)]  # fmt: skip
    console.print(
        f"wrote {out}: {len(manifest):,} images of {what}"
        f"{', packed' if manifest.packed else f', below {place}'}; knows {', '.join(knows) or 'nothing but images'}.",
        soft_wrap=True,
    )
    path = str(out) if out.suffix == PARQUET or "/" in str(out) else f"./{out}"  # not to be taken for a name
    console.print(f"Next: hcbench run --corpus {path} --methods ...", soft_wrap=True)


def preview(
    console: Console, name: str, root: Path | None, out: Path, *, split: str | None, count: int, workspace: Path
) -> None:
    """Draw a contact sheet of a data set or a manifest, with labels over the images and texts below them."""
    from hcbench.data.sheet import contact_sheet

    if root is not None and root.is_dir():
        check_outside(out, root)
    samples = _shown(name, root, split, count, workspace)
    texts = [_text(samples, row) for row in range(min(count, len(samples)))]
    short = ["\n".join(text.splitlines()[:_LINES]) for text in texts]
    stem = name.replace(PARQUET, "").rstrip("/").rpartition("/")[2]
    path = contact_sheet(samples, out / f"{stem}.png", columns=8, overlay=True, limit=count, zoom=2, texts=short)
    listing = out / f"{stem}.txt"
    listing.write_text("\n".join(text.replace("\n", "\t") for text in texts) + "\n", encoding="utf-8")
    for one in (path, listing):
        console.print(f"wrote {one}", soft_wrap=True)
    for warning in (*samples.notes, *getattr(samples.images, "warnings", ())):
        console.print(Text(f"Beware: {warning}", style="yellow"), soft_wrap=True)


def _shown(name: str, root: Path | None, split: str | None, count: int, workspace: Path) -> Samples:
    """Samples spread evenly over a data set or a manifest."""
    import numpy as np

    height, width = 128, 64
    if is_manifest(name):
        from hcbench.data.manifest.manifest import check_images, open_manifest
        from hcbench.data.manifest.view import view

        manifest = open_manifest(Path(name), root)
        check_images(manifest)
        rows = np.unique(np.linspace(0, len(manifest) - 1, count).astype(np.int64))
        cache = Path(tempfile.mkdtemp(prefix="hcbench-preview-"))
        try:
            return view(manifest, "captions", rows, height=height, width=width, cache=cache)
        finally:  # an open memory map outlives its file
            shutil.rmtree(cache)
    found = dataset(name)
    place = root_of(found.name, root, workspace)
    samples = found.load(place, split or found.training_split, height=height, width=width, cache=workspace / CACHE)
    return samples.subset(np.unique(np.linspace(0, len(samples) - 1, count).astype(np.int64)), samples.name)


def _text(samples: Samples, row: int) -> str:
    """What is known of a sample, for people to read: its id, its numbers, its captions."""
    numbers = {"group": samples.group, "id": samples.identity, "cam": samples.camera, "pose": samples.pose_id}
    told = [f"{what} {values[row]}" for what, values in numbers.items() if values is not None]
    captions = () if samples.captions is None else samples.captions[row]
    return "\n".join([str(samples.ids[row]), *([" ".join(told)] if told else []), *captions])


def _verdict(report: VerifyReport) -> str:
    return {
        "exact": "As its owners gave it out." if report.expected else "Nothing is missing or damaged.",
        "subset": "Every file is valid, but it is not all of it: numbers cannot be compared with published ones.",
        "mismatch": "Something is missing or damaged; see the problems above.",
    }[report.level]


def check_outside(out: Path, root: Path) -> None:
    """Raise a DataError where something would be written into a data set."""
    if out.resolve().is_relative_to(root.resolve()):
        raise DataError(
            f"{out} lies inside the data set {root}, where nothing is ever written.", "Choose another --out."
        )


def _paragraph(console: Console, title: str, text: str) -> None:
    console.print(Text(f"\n{title}:\n") + Text("\n".join(f"  {line}" for line in text.splitlines())), soft_wrap=True)
