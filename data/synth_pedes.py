"""SYNTH-PEDES: LUPerson-NL and LPW images with generated captions, for pre-training with text (PLIP)."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.decoded import Files
from hcbench.data.files.under_root import UnderRoot
from hcbench.data.files.walk import names_in
from hcbench.data.formats import pretraining
from hcbench.data.formats.listing import find_base
from hcbench.data.formats.loading import check_cache, check_split, make_report, numbered
from hcbench.data.formats.pretraining import batched, lazy_samples, path_column, source_problems
from hcbench.data.samples import Samples
from hcbench.errors import DataError

log = logging.getLogger(__name__)

SPLITS = pretraining.SPLITS
_FILE = "synthpedes_dataset.json"
_KEYS = ("id", "file_path", "captions")
_CHUNK = 1 << 22
"""Characters of the json that are read at a time."""
_LONGEST = 4 * _CHUNK
"""No entry is longer; what cannot be read within so many characters is damaged."""

CARD = DatasetCard(
    name="synth-pedes",
    title="SYNTH-PEDES",
    homepage="https://github.com/Zplusdragon/PLIP",
    terms="Research only, no commercial use.",
    obtain="BaiduYun, with a code from the homepage.",
    tree=f"""\
ROOT/                                     with or without a folder around it
  {_FILE}
  Part1/<person>/<n>.jpg ... Part11/      parts that are not there are left out""",
    counts={"train": {"images": 4_791_711, "identities": 312_321, "captions": 12_138_157}},
    fields=frozenset({"images", "identity", "group", "captions"}),
)


@dataclass(frozen=True, slots=True)
class AnnotationRecord:
    """One image: its path below the dataset's folder, its person's number, and two or three captions."""

    file: str
    person: int
    captions: tuple[str, ...]


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """All images of the parts that are there, with identities and captions, decoded when they are asked for.

    All captions together take about 6 GB of memory; `records` gives them one by one.

    Args:
        root: The folder of `CARD.tree`.
        split: `train`.
        height: Height of the images, pixels.
        width: Width of the images, pixels.
        cache: Unused but for the rule that it lies outside of `root`: pixels are not kept.

    Returns:
        Samples sorted by path; `identity` and `group` are 0..N-1. The single `prompt_caption` of each image and its
        `attributes` (one text of six words) are not taken.

    Raises:
        DataError: The folder or the json is not as it should be.
    """
    check_split(CARD, split, SPLITS)
    base = _find(root)
    check_cache(base, cache)
    entries = sorted(records(root), key=lambda record: record.file)
    files = np.array([record.file for record in entries])
    if len(np.unique(files)) < len(files):
        raise DataError(f"{base / _FILE} names an image twice.", "Copy the file again from its source.")
    people = numbered([record.person for record in entries])
    return lazy_samples(
        f"synth-pedes {split}",
        Files(base, files),
        files,
        (height, width),
        _hash(base / _FILE),
        group=people,
        identity=people,
        captions=tuple(record.captions for record in entries),
    )


def index(root: Path, split: str) -> Iterator[Mapping[str, Sequence[Any]]]:
    """Rows of a manifest in batches, in the order of the json: paths below `root`, persons, captions.

    Raises:
        DataError: The folder or the json is not as it should be.
    """
    check_split(CARD, split, SPLITS)
    base = _find(root)
    for part in batched(records(root)):
        people = [record.person for record in part]
        captions = [list(record.captions) for record in part]
        paths = path_column(root, base, [record.file for record in part])
        yield {**paths, "identity": people, "group_id": people, "captions": captions}


def records(root: Path) -> Iterator[AnnotationRecord]:
    """The entries of the json whose part is there, in its order, without holding the file in memory.

    Raises:
        DataError: The folder or the json is not as it should be, or holds no image of the parts that are there.
    """
    base = _find(root)
    parts = {name for name in names_in(base) if (base / name).is_dir()}
    absent: set[str] = set()
    inside = UnderRoot(base)
    count = 0
    for number, entry in enumerate(_entries(base / _FILE)):
        record = _record(entry, base / _FILE, number)
        inside.check(record.file, f"{base / _FILE}: entry {number} has the image")
        part = record.file.partition("/")[0]
        if part in parts:
            count += 1
            yield record
        else:
            absent.add(part)
    if absent:
        log.warning("%s: %s are not there; their images are left out", base, ", ".join(sorted(absent)))
    if not count:
        raise DataError(f"{base} holds no folder that {_FILE} names.", f"Expected:\n{CARD.tree}")


def annotation_files(root: Path) -> tuple[Path, ...]:
    """The json, which decides what `load` gives.

    Raises:
        DataError: The root is no folder, or is not SYNTH-PEDES.
    """
    return (_find(root) / _FILE,)


def verify(root: Path) -> VerifyReport:
    """Read the whole json and decode some of the images, evenly spread. Nothing is written.

    Raises:
        DataError: The root is no folder, or is not SYNTH-PEDES.
    """
    base = _find(root)
    files: list[str] = []
    people: set[int] = set()
    captions = 0
    problems: list[str] = []
    notes: list[str] = []
    try:
        for record in records(root):
            files.append(record.file)
            people.add(record.person)
            captions += len(record.captions)
    except DataError as error:
        problems.append(error.message)
    if len(set(files)) < len(files):
        problems.append(f"{_FILE} names {len(files) - len(set(files))} images twice")
    if files:
        broken, notes = source_problems(Files(base, np.array(sorted(files))))
        problems += broken
    found = {"images": len(files), "identities": len(people), "captions": captions}
    return make_report(CARD, root, f"{_FILE} and Part folders", {"train": found}, problems=problems, notes=notes)


def _find(root: Path) -> Path:
    return find_base(root, CARD, [(_FILE,)])[0]


def _record(entry: Any, where: Path, number: int) -> AnnotationRecord:
    absent = [key for key in _KEYS if key not in entry] if isinstance(entry, dict) else list(_KEYS)
    if absent:
        has = ", ".join(sorted(entry)) if isinstance(entry, dict) else type(entry).__name__
        raise DataError(f"{where}: entry {number} has no {', '.join(absent)}; it has {has}.", f"Expected:\n{CARD.tree}")
    captions = entry["captions"]
    if not isinstance(captions, list) or not captions or not all(isinstance(text, str) for text in captions):
        raise DataError(f"{where}: entry {number} has the captions {captions!r}.", "Expected a list of texts.")
    if not isinstance(entry["id"], int) and not str(entry["id"]).isdecimal():
        raise DataError(f"{where}: entry {number} has the id {entry['id']!r}.", "Expected a number.")
    file = str(entry["file_path"]).replace("\\", "/").removeprefix("./")
    return AnnotationRecord(file, int(entry["id"]), tuple(text.strip() for text in captions))


def _entries(path: Path) -> Iterator[Any]:
    """Entries of a json list one after the other; the file is read in pieces."""
    decode = json.JSONDecoder().raw_decode
    with path.open(encoding="utf-8") as file:
        text, position, begun = file.read(_CHUNK), 0, False
        while True:
            while position < len(text) and text[position] in (" \t\r\n," if begun else " \t\r\n\ufeff"):
                position += 1
            try:
                if not begun and text[position : position + 1] != "[":
                    break
                if begun and text[position : position + 1] == "]":
                    return
                if begun:
                    entry, position = decode(text, position)
                    yield entry
                else:
                    begun, position = True, position + 1
                continue
            except ValueError:
                more = file.read(_CHUNK) if len(text) - position < _LONGEST else ""
                if not more:
                    break
                text, position = text[position:] + more, 0
    told = f"cannot be read after {text[max(position - 40, 0) : position + 40]!r}" if begun else "does not hold a list"
    raise DataError(f"{path} {told}.", "Copy the file again from its source.")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


DATASET = Dataset(
    card=CARD,
    load=load,
    verify=verify,
    splits=SPLITS,
    renumbered=(),
    annotation_files=annotation_files,
    index=index,
)
