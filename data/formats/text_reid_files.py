"""The json of text-to-image ReID sets: one entry per image with its person, its captions and its split.

CUHK-PEDES, ICFG-PEDES and RSTPReid share the format but for the file's name, the image's key and the first id.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from hcbench.data.card import Counts, DatasetCard, VerifyReport
from hcbench.data.crops import cached_crops, whole_images
from hcbench.data.files.names import some
from hcbench.data.files.under_root import check_names
from hcbench.data.findings import checked_images
from hcbench.data.formats.listing import find_base
from hcbench.data.formats.loading import (
    check_cache,
    check_split,
    every_tenth,
    numbered,
    read_json,
)
from hcbench.data.formats.person_splits import PARTS, folder_notes, report, sealed
from hcbench.data.samples import Int, Samples
from hcbench.errors import DataError, did_you_mean

SPLITS = ("train", "val", "trainval", "test")
_LARGEST_ID = 2**63 - 1
RENUMBERED = ("train", "trainval")
"""Splits whose persons are numbered anew from 0; `val` and `test` keep the numbers of the json."""
IMAGES = "imgs"
"""Folder that the entries' paths are relative to, in all three sets."""
WITHOUT_SPLITS = "caption_all.json"
"""Another official file of CUHK-PEDES: the same captions, but no word on which split an image is in."""


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One image: its path below `imgs/`, its person, its captions as written, its split."""

    file: str
    identity: int
    captions: tuple[str, ...]
    split: str


@dataclass(frozen=True, slots=True)
class Release:
    """A copy on disk: its folder, the name of its json, and all entries sorted by file."""

    base: Path
    annotations: str
    entries: tuple[Entry, ...]

    @property
    def images(self) -> Path:
        """Folder of the images."""
        return self.base / IMAGES


@dataclass(frozen=True, kw_only=True, slots=True)
class TextReidSet:
    """One dataset: its card, how it writes its json, and what every one of them does the same way.

    Attributes:
        card: Its card; `card.counts` names splits of `SPLITS`.
        annotations: Accepted names of the json, below the dataset's folder.
        image_key: Key of an entry that holds the image's path.
        first_id: The smallest id that may occur.
        splits: Splits that the json names. Where `val` is none of them, it is carved out of train by person.
        camera: Pattern of the image's base name whose first group is the camera, 1-based; None where it is unknown.
        variants: Known other releases: the counts of one split, and what to say.
    """

    card: DatasetCard
    annotations: tuple[str, ...]
    image_key: str = "file_path"
    first_id: int = 0
    splits: tuple[str, ...] = PARTS["all"]
    camera: re.Pattern[str] | None = None
    variants: tuple[tuple[str, Mapping[str, int], str], ...] = ()

    def load(self, root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
        """Whole images of one split, resized, with persons, captions and, where file names tell them, cameras.

        Where the owners set no `val` aside, it is every tenth person of their train (the 10th, 20th ... of the sorted
        ids), with all of that person's images; `train` is what remains, `trainval` the official train.

        Args:
            root: Folder with the layout of the card's `tree`.
            split: One of `SPLITS`.
            height: Height of the images, pixels.
            width: Width of the images, pixels.
            cache: Folder outside of `root` that keeps the resized pixels.

        Returns:
            Samples sorted by file. `ids` are paths like `imgs/cam_a/000_45.bmp`; `identity` is 0..N-1 in train and
            trainval, in the order of the raw ids, and the raw id in val and test; `camera` is counted from 0. Captions
            stand as they are in the file, without blank ones; an image may have several, or, which is noted, none.

        Raises:
            DataError: The folder, the json or an image is not as it should be.
            CacheError: The cache folder cannot be written.
        """
        base, annotations = find(self, root)
        check_split(self.card, split, SPLITS)
        check_cache(base, cache)
        release = read(self, base, annotations)
        entries = [entry for entry in release.entries if entry.split in PARTS[split]]
        if not entries:
            raise DataError(f"{base / annotations} names no image of {split}.", "Take the official json.")
        captions = tuple(tuple(text.strip() for text in entry.captions if text.strip()) for entry in entries)
        silent = [entry.file for entry, texts in zip(entries, captions, strict=True) if not texts]
        notes = (*_blank_captions(entries), *_silent(silent))
        for note in notes:
            log.warning("%s %s: %s", self.card.name, split, note)
        files = [entry.file for entry in entries]
        crops, pixels = cached_crops(whole_images(release.images, files, height, width), cache)
        identity = np.array([entry.identity for entry in entries], np.int64)
        return sealed(
            Samples(
                name=f"{self.card.name} {split}",
                fingerprint=pixels,
                images=crops,
                ids=np.array([f"{IMAGES}/{file}" for file in files]),
                identity=numbered(identity) if split.startswith("train") else identity,
                camera=None if self.camera is None else _cameras(files, self.camera, self.card),
                captions=captions,
                notes=tuple(f"{self.card.name} {split}: {note}" for note in notes),
            )
        )

    def annotation_files(self, root: Path) -> tuple[Path, ...]:
        """The json that decides what `load_split` gives.

        Raises:
            DataError: The root is no folder, or holds no accepted layout.
        """
        base, annotations = find(self, root)
        return (base / annotations,)

    def verify(self, root: Path) -> VerifyReport:
        """Check a copy: layout, json, every image, the counts of each split. Reads every image; nothing is written.

        Raises:
            DataError: The root is no folder, or holds no accepted layout.
        """
        base, annotations = find(self, root)
        layout = f"{annotations}, {IMAGES}/"
        try:
            release = read(self, base, annotations)
            files = [entry.file for entry in release.entries]
            if self.camera is not None:
                _cameras(files, self.camera, self.card)
        except DataError as error:
            return report(self.card, root, layout, {}, problems=[error.message])
        found = _counts(self, release.entries)
        damage, oddities = checked_images(release.images, files)
        silent = [entry.file for entry in release.entries if not any(text.strip() for text in entry.captions)]
        problems = list(_silent(silent))
        return report(
            self.card,
            root,
            layout,
            found,
            problems=problems + damage,
            notes=_entry_notes(self, release.entries) + folder_notes(release.images, files) + oddities,
            variants={split: name for split, counts, name in self.variants if found.get(split) == counts},
        )


def find(form: TextReidSet, root: Path) -> tuple[Path, str]:
    """The dataset's folder and the name of its json.

    Raises:
        DataError: The root is no folder, holds no accepted layout, or only a json without splits.
    """
    names = (*form.annotations, WITHOUT_SPLITS)
    base, (annotations, _) = find_base(root, form.card, [(name, IMAGES) for name in names])
    if annotations == WITHOUT_SPLITS:
        raise DataError(
            f"{base} holds {WITHOUT_SPLITS}, which does not say which split an image is in.",
            f"Take {form.annotations[0]} of the same release.",
        )
    return base, annotations


def read(form: TextReidSet, base: Path, annotations: str) -> Release:
    """Read and check every entry; `val` is carved out of train where the json has none.

    Raises:
        DataError: The file is no json, has other keys, or contradicts itself; the entry is named.
    """
    where = base / annotations
    content = read_json(where)
    if not isinstance(content, list) or not content:
        what = f"an empty {type(content).__name__}" if not content else f"a json {type(content).__name__}"
        raise DataError(f"{where} holds {what}.", f"Expected a list of images: {_example(form)}")
    listed = [_entry(form, raw, f"{where}: entry {n}") for n, raw in enumerate(content)]
    check_names(base / IMAGES, [entry.file for entry in listed], lambda n: f"{where}: entry {n} has the image")
    entries = sorted(listed, key=_by_file)
    _check_unique(entries, where)
    if "val" not in form.splits:
        entries = _carve(entries)
    return Release(base, annotations, tuple(entries))


def _by_file(entry: Entry) -> str:
    return entry.file


def _example(form: TextReidSet) -> str:
    return f'{{"split": "train", "{form.image_key}": "...", "id": {form.first_id}, "captions": ["..."]}}.'


def _entry(form: TextReidSet, raw: Any, what: str) -> Entry:
    """One checked entry; further keys, such as `processed_tokens`, are ignored."""
    example = f"Expected {_example(form)}"
    if not isinstance(raw, Mapping):
        raise DataError(f"{what} is a {type(raw).__name__}, no object.", example)
    absent = [key for key in ("split", form.image_key, "id", "captions") if key not in raw]
    if absent:
        keys = ", ".join(map(str, raw)) or "no keys"
        lacks_split = f" {WITHOUT_SPLITS} has no splits: take {form.annotations[0]}." if absent == ["split"] else ""
        raise DataError(f"{what} has no {', '.join(absent)}; it has {keys}.", example + lacks_split)
    file, identity, captions, split = raw[form.image_key], raw["id"], raw["captions"], raw["split"]
    if split not in form.splits:
        raise DataError(f"{what} is in the unknown split {split!r}.", did_you_mean(str(split), form.splits))
    if type(identity) is not int or not form.first_id <= identity <= _LARGEST_ID:
        raise DataError(
            f"{what} has the id {identity!r}; ids of {form.card.title} are whole numbers from {form.first_id}.",
            "The file was renumbered or is of another dataset: take the official json.",
        )
    if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
        raise DataError(f"{what} has captions that are no list of texts: {captions!r:.80}.", example)
    if not isinstance(file, str) or not file:
        raise DataError(f"{what} has the image {file!r}.", f"Expected a path below {IMAGES}/.")
    return Entry(PurePosixPath(file).as_posix(), identity, tuple(captions), split)


def _check_unique(entries: Sequence[Entry], where: Path) -> None:
    """An image occurs once, a person in one split only."""
    listed: set[str] = set()
    home: dict[int, str] = {}
    for entry in entries:
        if entry.file in listed:
            raise DataError(f"{where}: the image {entry.file} is listed twice.", "Take the official json.")
        listed.add(entry.file)
        split = home.setdefault(entry.identity, entry.split)
        if split != entry.split:
            raise DataError(
                f"{where}: id {entry.identity} is both in {split} and in {entry.split}.",
                "Splits share no person: the file was renumbered per split; take the official json.",
            )


def _carve(entries: Sequence[Entry]) -> list[Entry]:
    """Every tenth of the sorted persons of train, with all of their images, becomes `val`."""
    persons = sorted({entry.identity for entry in entries if entry.split == "train"})
    held_out = {person for person, out in zip(persons, every_tenth(len(persons)), strict=True) if out}
    return [
        Entry(entry.file, entry.identity, entry.captions, "val") if entry.identity in held_out else entry
        for entry in entries
    ]


def _counts(form: TextReidSet, entries: Sequence[Entry]) -> Counts:
    def count(splits: Sequence[str]) -> dict[str, int]:
        own = [entry for entry in entries if entry.split in splits]
        return {
            "images": len(own),
            "identities": len({entry.identity for entry in own}),
            "captions": sum(len(entry.captions) for entry in own),
        }

    return {name: count(PARTS[name]) for name in form.card.counts}


def _entry_notes(form: TextReidSet, entries: Sequence[Entry]) -> list[str]:
    """Persons of train that are not numbered without gaps, and captions that are blank."""
    persons = {entry.identity for entry in entries if entry.split in ("train", *({"val"} - set(form.splits)))}
    notes = list(_blank_captions(entries))
    last = form.first_id + len(persons) - 1
    if persons and persons != set(range(form.first_id, last + 1)):
        notes.append(f"train: ids are not {form.first_id}..{last} without gaps, as the official ones are")
    return notes


def _blank_captions(entries: Sequence[Entry]) -> tuple[str, ...]:
    """What is said of captions without a word; nothing where there are none."""
    blank = sum(not text.strip() for entry in entries for text in entry.captions)
    return (f"{blank} captions are blank and not used",) if blank else ()


def _silent(files: Sequence[str]) -> tuple[str, ...]:
    """What is said of images without a caption, which are found by none; nothing where there are none."""
    return (f"{len(files)} images have no caption: {some(files)}",) if files else ()


def _cameras(files: Sequence[str], pattern: re.Pattern[str], card: DatasetCard) -> Int:
    """Cameras from 0, as torchreid counts those of MSMT17, whose images these are."""
    matches = [pattern.match(PurePosixPath(file).name) for file in files]
    strange = [file for file, match in zip(files, matches, strict=True) if match is None]
    if strange:
        raise DataError(
            f"{len(strange)} images are not named as those of {card.title} are: {some(strange)}.",
            f"Names must fit {pattern.pattern}: they tell the camera.",
        )
    return np.array([int(match[1]) - 1 for match in matches if match is not None], np.int64)
