"""Re-identification sets as splits: training persons, queries and gallery become `Samples`, and counts for `verify`.

Every set has the same six splits. `trainval` is all that the owners give for training. `train` and `val` part it for
those who choose something on validation data: by the owners' lists where there are such, else every tenth of the sorted
persons is for validation. `test` is `query` and `gallery` in one, with `Samples.query` telling them apart.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.crops import cached_crops, whole_images
from hcbench.data.files.left_out import LeftOut
from hcbench.data.files.names import some
from hcbench.data.findings import checked_images
from hcbench.data.formats.listing import IMAGE_ENDINGS, find_base
from hcbench.data.formats.loading import (
    check_cache,
    check_split,
    digest,
    every_tenth,
    make_report,
)
from hcbench.data.formats.market_files import FOLDERS, NameRule, PersonFiles, read_folder
from hcbench.data.samples import Samples
from hcbench.errors import DataError

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "trainval", "query", "gallery", "test")
RENUMBERED = ("train", "val", "trainval")
"""Splits whose persons are numbered anew from 0, those of `train` and `val` together; see
`hcbench.data.manifest.indexing`."""
FIELDS = frozenset({"images", "identity", "camera"})
DISTRACTOR = -1
"""The identity of those who match nobody, in `Samples`."""

Attributes = Callable[[str, NDArray[np.int64]], tuple[NDArray[np.int8], tuple[str, ...]]]
"""From `train` or `test` and raw persons (N,) to int8 (N, A) and the A names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReidSet:
    """What lies in a folder, before any pixel is read.

    Attributes:
        card: The dataset's card.
        base: Its own folder.
        layout: Which layout was recognised.
        title: What names of samples begin with; tells versions apart ("msmt17 V2").
        train: Everything that may be trained on.
        query: Queries.
        gallery: What they are searched in, files that do not count included.
        val: bool, rows of `train` that the owners set aside for validation; None where they set none aside.
        dropped: Number of those in the gallery that neither match nor count as wrong; None where there are none.
        distractor: Number of those in the gallery who match nobody; None where there are none.
        test_offset: Added to persons of query and gallery where their numbers begin again at 0.
    """

    card: DatasetCard
    base: Path
    layout: str
    title: str
    train: PersonFiles
    query: PersonFiles
    gallery: PersonFiles
    val: NDArray[np.bool_] | None = None
    dropped: int | None = None
    distractor: int | None = None
    test_offset: int = 0


def read_market_like(root: Path, card: DatasetCard, rules: Sequence[NameRule]) -> ReidSet:
    """A set in the three folders of Market-1501, none of whose numbers means something special.

    Raises:
        DataError: The folder has not these three folders, or names do not follow the rules.
    """
    base, folders = find_base(root, card, (FOLDERS,))
    train, query, gallery = (read_folder(base, folder, rules) for folder in folders)
    layout = f"{'/, '.join(folders)}/" + ("" if base == root else f" in {base.relative_to(root).as_posix()}/")
    return ReidSet(card=card, base=base, layout=layout, title=card.name, train=train, query=query, gallery=gallery)


def load_split(
    found: ReidSet, split: str, height: int, width: int, cache: Path, attributes: Attributes | None = None
) -> Samples:
    """Samples of one split.

    Args:
        found: The files.
        split: One of `SPLITS`.
        height: Height of the images, pixels; whole images are resized, whatever their aspect.
        width: Width of the images, pixels.
        cache: Folder outside of the dataset that keeps the decoded pixels.
        attributes: Gives the attributes of persons, where the set has such.

    Returns:
        Samples in the order of the files. Persons of `train` and `trainval` are 0..N-1 by their sorted numbers;
        those of `val`, where they are others than in `train`, go on from there; those of `query`, `gallery` and
        `test` keep the dataset's numbers. The same number in training and test is not the same person.

    Raises:
        DataError: There is no such split, or an image is missing or damaged.
        CacheError: The cache folder cannot be written.
    """
    check_split(found.card, split, SPLITS)
    check_cache(found.base, cache)
    for remark in _all_left_out(found).remarks():
        log.warning("%s: %s", found.title, remark)
    training = split in ("train", "val", "trainval")
    part = _training(found, split) if training else _test(found, split)
    if part.rows is not None and not part.rows.any():
        raise DataError(
            f"{found.base} leaves no image for {split}: it has {len(np.unique(found.train.pids))} training persons.",
            "Every tenth is for validation where the owners set none aside; use a larger copy, or another split.",
        )
    people, ids = part.people, np.array(part.people.files)
    if len(np.unique(ids)) < len(ids):
        raise DataError(f"{found.title}: an image is listed twice.", "Check the dataset with `hcbench data verify`.")
    pixels, key = cached_crops(whole_images(found.base, people.files, height, width), cache)
    values, names = attributes("train" if training else "test", people.pids) if attributes else (None, ())
    content = [key, ids, part.identity, people.cameras, part.query, names]
    samples = Samples(
        name=f"{found.title} {split}{_rule(found, split)}",
        fingerprint=digest(*content if values is None else (*content, values)),
        images=pixels,
        ids=ids,
        identity=part.identity,
        camera=people.cameras,
        attributes=values,
        attribute_names=names,
        query=part.query,
        left_out=_left_out(found) if split in ("gallery", "test") else 0,
        notes=() if training else tuple(f"{found.title} {split}: {note}" for note in _lonely_queries(found)),
    )
    return samples if part.rows is None else samples.subset(np.flatnonzero(part.rows))


def verify_set(found: ReidSet, root: Path, notes: Sequence[str] = (), problems: Sequence[str] = ()) -> VerifyReport:
    """Counts held against the card's, every image decoded, and whether train, query and gallery fit together."""
    files = (*found.train.files, *found.query.files, *found.gallery.files)
    damage, oddities = checked_images(found.base, files)
    more_problems, more_notes = contradictions(found)
    return make_report(
        found.card,
        root,
        found.layout,
        counts(found),
        problems=(*damage, *more_problems, *problems),
        notes=(*notes, *more_notes, *oddities),
    )


def contradictions(found: ReidSet) -> tuple[list[str], list[str]]:
    """What tables alone tell: problems (persons of training in the test) and notes (queries without a match, junk)."""
    test = set(found.query.pids.tolist()) | set(found.gallery.pids.tolist())
    shared = sorted(set(found.train.pids.tolist()) & test) if not found.test_offset else []
    problems = [f"{len(shared)} persons are in training and test, the first is {shared[0]}"] if shared else []
    times = Counter((*found.train.files, *found.query.files, *found.gallery.files))
    twice = sorted(file for file, count in times.items() if count > 1)
    problems += [f"{len(twice)} images are listed twice: {some(twice)}"] if twice else []
    left_out = _all_left_out(found)
    images = {ending: count for ending, count in sorted(left_out.endings.items()) if ending in IMAGE_ENDINGS}
    if images:
        counted = ", ".join(f"{count} {ending}" for ending, count in images.items())
        problems.append(f"images are not taken, as those of {found.card.title} end otherwise: {counted}")
    return [*problems, *left_out.problems()], [*_lonely_queries(found), *left_out.notes()]


def _all_left_out(found: ReidSet) -> LeftOut:
    return found.train.left_out + found.query.left_out + found.gallery.left_out


def counts(found: ReidSet) -> dict[str, dict[str, int]]:
    """Images and persons of `trainval`, `query` and `gallery`; of the gallery also what does not count."""
    scored = _scored(found)
    special = {found.dropped, found.distractor}
    gallery = {"images": len(scored.files), "identities": len(set(scored.pids.tolist()) - special)}
    if found.dropped is not None:
        gallery["files"] = len(found.gallery.files)
        gallery["dropped"] = _left_out(found)
    if found.distractor is not None:
        gallery["distractors"] = int((scored.pids == found.distractor).sum())
        gallery["persons' images"] = len(scored.files) - gallery["distractors"]
    training = {"images": len(found.train.files), "identities": len(np.unique(found.train.pids))}
    if found.val is not None:
        training["images in list_train"] = int((~found.val).sum())
        training["images in list_val"] = int(found.val.sum())
    query = {"images": len(found.query.files), "identities": len(np.unique(found.query.pids))}
    return {"trainval": training, "query": query, "gallery": gallery}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """One half of a set, whose pixels are cut once, and the rows of it that make up a split (None = all)."""

    people: PersonFiles
    identity: NDArray[np.int64]
    rows: NDArray[np.bool_] | None
    query: NDArray[np.bool_] | None = None


def _training(found: ReidSet, split: str) -> _Part:
    people, position = np.unique(found.train.pids, return_inverse=True)
    is_val, identity = found.val, position.astype(np.int64)
    if is_val is None:
        set_aside = every_tenth(len(people))
        is_val = set_aside[position]
        if split != "trainval":
            # Both parts are numbered without holes, validation persons after the others.
            rank = np.argsort(np.argsort(set_aside, kind="stable"), kind="stable").astype(np.int64)
            identity = rank[position]
    rows = {"trainval": None, "train": ~is_val, "val": is_val}[split]
    return _Part(people=found.train, identity=identity, rows=rows)


def _rule(found: ReidSet, split: str) -> str:
    """What parts training from validation, where a name should tell: results depend on it."""
    owners = {"train": " (list_train)", "val": " (list_val)", "trainval": " (list_train and list_val)"}
    ours = {"train": " (without every tenth person)", "val": " (every tenth person)"}
    return (ours if found.val is None else owners).get(split, "")


def _test(found: ReidSet, split: str) -> _Part:
    gallery = _scored(found)
    both = PersonFiles(
        files=found.query.files + gallery.files,
        pids=np.concatenate([found.query.pids, gallery.pids]),
        cameras=np.concatenate([found.query.cameras, gallery.cameras]),
    )
    identity = both.pids + found.test_offset
    if found.distractor is not None:
        identity = np.where(both.pids == found.distractor, DISTRACTOR, identity)
    is_query = np.arange(len(both.files)) < len(found.query.files)
    rows = {"test": None, "query": is_query, "gallery": ~is_query}[split]
    return _Part(people=both, identity=identity, rows=rows, query=is_query)


def _left_out(found: ReidSet) -> int:
    """Files of the gallery that do not count."""
    return len(found.gallery.files) - len(_scored(found).files)


def _scored(found: ReidSet) -> PersonFiles:
    """The gallery without what does not count."""
    return found.gallery if found.dropped is None else found.gallery.take(found.gallery.pids != found.dropped)


def _lonely_queries(found: ReidSet) -> list[str]:
    """Queries whose person no other camera of the gallery has seen: evaluation skips them."""
    seen = set(zip(found.gallery.pids.tolist(), found.gallery.cameras.tolist(), strict=True))
    by_person: dict[int, set[int]] = {}
    for person, camera in seen:
        by_person.setdefault(person, set()).add(camera)
    lonely = sum(
        not (by_person.get(person, set()) - {camera})
        for person, camera in zip(found.query.pids.tolist(), found.query.cameras.tolist(), strict=True)
    )
    return [f"{lonely} queries have no match under another camera, and are skipped in scoring"] if lonely else []
