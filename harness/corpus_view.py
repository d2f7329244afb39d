"""The corpus view of a cell: the images that it may pre-train on, with all that is known of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hcbench.data import coco
from hcbench.data.budget import draw_groups
from hcbench.data.people.captions import VOCABULARY
from hcbench.data.people.dataset import pretraining_view
from hcbench.data.people.spec import GROUP_SIZE, REFERENCE_GROUPS, PeopleSpec
from hcbench.data.samples import Int, Samples
from hcbench.errors import DataError
from hcbench.harness.registry import load_registry
from hcbench.harness.settings import Cell

PEOPLE, COCO = "people", "coco"


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
        return pretraining_view(people_spec(cell), groups, cache=cache, workers=workers)
    root = Path(cell.roots[corpus.name])
    if corpus.name == COCO:
        samples = coco.person_crops(root, coco.CORPUS_SPLIT, pretrain.height, pretrain.width, cache)
    else:
        samples = load_registry().data[corpus.name].load(root, pretrain.height, pretrain.width, cache)
    return draw_from(samples, cell)


def people_spec(cell: Cell) -> PeopleSpec:
    """The embedded corpus as a cell wants it."""
    corpus, pretrain = cell.corpus, cell.pretrain
    return PeopleSpec(
        split="pretrain",
        layout=corpus.layout or "identities",
        style=corpus.style,
        caption_detail=corpus.caption_detail,
        noise=corpus.noise,
        height=pretrain.height,
        width=pretrain.width,
    )


def draw_from(samples: Samples, cell: Cell) -> Samples:
    """A budget's share of a corpus on disk: whole groups where it has groups, single images elsewhere.

    Raises:
        DataError: The corpus holds fewer images than the plan thought.
    """
    if cell.budget_images > len(samples):
        raise DataError(
            f"{samples.name} holds {len(samples):,} images, the plan counted on {cell.budget_images:,}.",
            "The data changed while the run was going on. Start it again.",
        )
    units: Int = np.arange(len(samples)) if samples.group is None else samples.group
    names, counts = np.unique(units, return_counts=True)
    order = draw_groups(cell.seed, len(names), len(names), corpus=cell.corpus.name)
    taken = order[: int(np.searchsorted(np.cumsum(counts[order]), cell.budget_images, side="right"))]
    picked = np.flatnonzero(np.isin(units, names[taken]))
    return samples.subset(picked, name=f"{samples.name} {cell.budget}")


def vocabulary(cell: Cell) -> tuple[str, ...]:
    """The word list of a corpus's captions, fixed once for every budget; empty where there are none."""
    return tuple(VOCABULARY) if cell.corpus.name == PEOPLE else ()
