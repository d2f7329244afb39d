"""Splits of a ReID set for the benchmark `attributes`: the images of persons who have a row in an attribute file.

Labels are the person's, so every image of a person has the same. Heads learn from the training images, are chosen on
every tenth training person, and are scored on the gallery without distractors, as the authors' own code does
(`evaluate_market_attribute.m` of vana77/Market-1501_Attribute @9832cdd: 13,115 images of bounding_box_test). Queries
are not scored.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from hcbench.data.card import DatasetCard
from hcbench.data.files.names import some
from hcbench.data.formats import reid_splits
from hcbench.data.formats.identity_attributes.files import (
    PARTS,
    AttributeFile,
    PersonAttributes,
    find_attributes,
    find_file,
)
from hcbench.data.formats.listing import find_base
from hcbench.data.formats.loading import check_split
from hcbench.data.formats.market_files import FOLDERS
from hcbench.data.formats.reid_splits import ReidSet, load_split
from hcbench.data.samples import Samples
from hcbench.data.task_splits import TaskSplits
from hcbench.errors import DataError

log = logging.getLogger(__name__)

BENCHMARK = "attributes"
_BEHIND = {"attributes/train": "train", "attributes/val": "val", "attributes/test": "gallery"}
"""The split of re-identification that each is a part of."""

SPLITS = (*reid_splits.SPLITS, *_BEHIND)
RENUMBERED = (*reid_splits.RENUMBERED, "attributes/train", "attributes/val")
FIELDS = reid_splits.FIELDS | {"attributes"}
SOMETIMES = frozenset({"attributes"})
BENCHMARK_SPLITS = {BENCHMARK: TaskSplits(train="attributes/train", val="attributes/val", test="attributes/test")}


def load_any(
    found: ReidSet, root: Path, split: str, height: int, width: int, cache: Path, kind: AttributeFile
) -> Samples:
    """One of `SPLITS`; those of re-identification know the attributes as well where the file is there.

    Args:
        found: The files.
        root: The folder that the user named.
        split: One of `SPLITS`.
        height: Height of the images, pixels.
        width: Width of the images, pixels.
        cache: Folder outside of the dataset that keeps the decoded pixels.
        kind: The attribute file of this set.

    Raises:
        DataError: There is no such split, no attribute file for a split that needs it, or nobody with a row in it; or
            an image is missing or damaged.
        CacheError: The cache folder cannot be written.
    """
    check_split(found.card, split, SPLITS)
    attributes = find_attributes(found.base, root, kind)
    if split not in _BEHIND:
        return load_split(found, split, height, width, cache, attributes)
    if attributes is None:
        raise kind.absent(found.base)
    whole = load_split(found, _BEHIND[split], height, width, cache, attributes)
    labelled = (np.asarray(whole.attributes) >= 0).any(axis=1)
    if not labelled.any():
        raise DataError(
            f"{attributes.path} has no row for any person of {split} in {found.base}.",
            f"Take the {kind.file} of this data set: hcbench data verify {found.card.name} ROOT compares the two.",
        )
    left = len(whole) - int(labelled.sum())
    if left:
        log.info("%s %s: %d images of distractors or of persons without a row are left out", found.title, split, left)
    part = whole.subset(np.flatnonzero(labelled), name=f"{whole.name}, persons with attributes")
    return replace(part, query=None, attribute_groups=kind.groups, left_out=whole.left_out + left)


def lacking(root: Path, card: DatasetCard, kind: AttributeFile, benchmark: str) -> str:
    """Why a copy cannot be used for a benchmark; empty where it can.

    Raises:
        DataError: The root is no folder, or does not hold the data set.
    """
    if benchmark != BENCHMARK:
        return ""
    base, _ = find_base(root, card, (FOLDERS,))
    return "" if find_file(base, root, kind) is not None else f"{base} holds no {kind.file} (from {kind.homepage})"


def compared(found: ReidSet, root: Path, kind: AttributeFile) -> tuple[list[str], list[str]]:
    """What `verify` says of the attribute file: problems, and notes."""
    try:
        attributes = find_attributes(found.base, root, kind)
    except DataError as error:
        return [error.message], []
    if attributes is None:
        return [], [f"no {kind.file}: no attributes, and nothing for the benchmark {BENCHMARK} ({kind.homepage})"]
    problems, notes = [], attributes.notes()
    special = {found.dropped, found.distractor}
    tests = (*found.query.pids.tolist(), *found.gallery.pids.tolist())
    for part, pids in zip(PARTS, (found.train.pids.tolist(), tests), strict=True):
        seen, rows = set(pids) - special, attributes.persons(part)
        if rowless := sorted(seen - rows):
            problems.append(
                f"{kind.file}: {len(rowless)} persons of {part} have images and no row, so {BENCHMARK} leaves them "
                f"out: {_written(rowless)}"
            )
        if imageless := sorted(rows - seen):
            notes.append(
                f"{kind.file}: {len(imageless)} persons of {part} have a row and no image: {_written(imageless)}"
            )
    notes += _counted(found, attributes)
    return problems, notes


def _counted(found: ReidSet, attributes: PersonAttributes) -> list[str]:
    """How many images and persons the benchmark learns from and scores, and what of the gallery it leaves out."""
    told = []
    for part, people in zip(PARTS, (found.train, found.gallery), strict=True):
        known = np.isin(people.pids, sorted(attributes.persons(part)))
        told.append(f"{int(known.sum()):,} images of {len(np.unique(people.pids[known])):,} persons")
    left = int((~known).sum())
    told[1] += f" of the gallery, whose other {left:,} do not count" if left else " of the gallery"
    return [f"{BENCHMARK} learns from {told[0]} (every tenth person for validation) and is scored on {told[1]}"]


def _written(people: list[int]) -> str:
    return some([f"{person:04d}" for person in people])
