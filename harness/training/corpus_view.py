"""The corpus view of a cell: the images that it may pre-train on, with all that is known of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from hcbench.data.budget import draw_groups, draw_images
from hcbench.data.catalogue import dataset
from hcbench.data.manifest.manifest import Manifest, open_manifest
from hcbench.data.manifest.view import budget_rows, view, words
from hcbench.data.people.captions import VOCABULARY
from hcbench.data.people.dataset import pretraining_view
from hcbench.data.people.fit import fitted, render_size
from hcbench.data.people.spec import GROUP_SIZE, REFERENCE_GROUPS, PeopleSpec
from hcbench.data.samples import Int, Samples
from hcbench.errors import DataError
from hcbench.harness.planning.cell import Cell
from hcbench.harness.planning.corpora import IMAGES, PEOPLE, is_manifest
from hcbench.harness.planning.registry import load_registry


def corpus_view(cell: Cell, cache: Path, workers: int = 1) -> Samples:
    """The budget's images of the cell's corpus.

    The draw depends on corpus and seed alone: all methods of a seed share it, and smaller budgets lie inside larger
    ones.

    Args:
        cell: Which corpus, layout, budget and seed.
        cache: Folder of rendered and decoded pixels.
        workers: Processes that render what is not there yet.

    Raises:
        DataError: The corpus is not there or not what it claims to be.
    """
    corpus, pretrain = cell.corpus, cell.pretrain
    if corpus.name == PEOPLE:
        groups = draw_groups(cell.seed, REFERENCE_GROUPS, cell.budget_images // GROUP_SIZE, corpus=PEOPLE)
        rendered = pretraining_view(people_spec(cell), groups, cache=cache, workers=workers)
        return fitted(rendered, pretrain.height, pretrain.width)
    if is_manifest(corpus.name):
        manifest, layout = _manifest(cell), corpus.layout or "identities"
        rows = budget_rows(manifest, layout, cell.budget_images, cell.seed)
        samples = view(manifest, layout, rows, height=pretrain.height, width=pretrain.width, cache=cache)
        return replace(samples, name=f"{samples.name} {cell.budget}")
    load_registry()  # a worker has not looked at plug-ins yet
    found = dataset(corpus.name)
    if found.person_crops is None:
        raise DataError(f"{corpus.name} gives no crops to pre-train on.", "It needs person_crops, or a manifest.")
    root = Path(cell.roots[corpus.name])
    return draw_from(found.person_crops(root, found.training_split, pretrain.height, pretrain.width, cache), cell)


def image_warnings(samples: Samples) -> tuple[str, ...]:
    """What went wrong while images were read one by one; empty where they were read beforehand."""
    return tuple(getattr(samples.images, "warnings", ()))


def _manifest(cell: Cell) -> Manifest:
    root = cell.roots.get(IMAGES)
    return open_manifest(Path(cell.roots[cell.corpus.name]), None if root is None else Path(root))


def people_spec(cell: Cell) -> PeopleSpec:
    """The embedded corpus as it is rendered for a cell; `fitted` gives it the cell's size."""
    corpus = cell.corpus
    height, width = render_size(cell.pretrain.height, cell.pretrain.width)
    return PeopleSpec(
        split="pretrain",
        layout=corpus.layout or "identities",
        style=corpus.style,
        caption_detail=corpus.caption_detail,
        noise=corpus.noise,
        height=height,
        width=width,
    )


def draw_from(samples: Samples, cell: Cell) -> Samples:
    """A budget's share of a corpus on disk: group by group where it has groups, single images elsewhere.

    Raises:
        DataError: The corpus holds fewer images than the plan thought.
    """
    if cell.budget_images > len(samples):
        raise DataError(
            f"{samples.name} holds {len(samples):,} images, the plan counted on {cell.budget_images:,}.",
            "The data changed while the run was going on. Start it again.",
        )
    units: Int = np.arange(len(samples)) if samples.group is None else samples.group
    picked = draw_images(units, cell.budget_images, cell.seed, corpus=cell.corpus.name)
    return samples.subset(picked, name=f"{samples.name} {cell.budget}")


def vocabulary(cell: Cell) -> tuple[str, ...]:
    """The word list of a corpus's captions, fixed once for every budget; empty where there are none.

    A manifest's captions are read for it, all of them, for methods that keep a text tower alone.
    """
    if is_manifest(cell.corpus.name):
        tower = load_registry().method(cell.method).has_text_tower(cell.method_config)
        manifest = _manifest(cell) if tower else None
        return words(manifest) if manifest is not None and manifest.complete("captions") else ()
    return tuple(VOCABULARY) if cell.corpus.name == PEOPLE else ()
