"""CUHK03 under the new protocol (767 persons to train on, 700 to test), in boxes of a detector.

Boxes drawn by hand (`labeled`) are a benchmark of their own: `cuhk03_np_labeled`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.files.names import some
from hcbench.data.files.under_root import check_names
from hcbench.data.findings import checked_images
from hcbench.data.formats import reid_splits
from hcbench.data.formats.attribute_files import rows_of, whole
from hcbench.data.formats.cuhk03_raw import RawImages, extract
from hcbench.data.formats.listing import find_base
from hcbench.data.formats.loading import check_cache, check_split, found_splits, make_report
from hcbench.data.formats.market_files import ANY_MARKET, CUHK03, FOLDERS, PersonFiles, parse_names, read_folder
from hcbench.data.formats.mat_files import numeric, read_mat, text_cells
from hcbench.data.formats.reid_splits import ReidSet, contradictions, counts, load_split
from hcbench.data.samples import Samples
from hcbench.errors import DataError

KINDS = ("detected", "labeled")
"""Boxes of a detector, and boxes drawn by hand. A split without a kind is of the first, the harder."""
SPLITS = (*reid_splits.SPLITS, *(f"{kind}/{split}" for kind in KINDS for split in reid_splits.SPLITS))
RENUMBERED = tuple(split for split in SPLITS if split.rpartition("/")[2] in reid_splits.RENUMBERED)
_RAW = ("cuhk03_release/cuhk-03.mat", "cuhk-03.mat")
_INDICES = ("train_idx", "query_idx", "gallery_idx")

CARD = DatasetCard(
    name="cuhk03-np",
    title="CUHK03 (new protocol, boxes of a detector)",
    homepage="https://www.ee.cuhk.edu.hk/~xgwang/CUHK_identification.html",
    terms="On request, academic use only (not verified).",
    obtain="Fill in the form of the homepage. The two cuhk03_new_protocol_config_*.mat are in the repository\n"
    "https://github.com/zhunzhong07/person-re-ranking",
    tree="""\
ROOT/                                     one of these, with or without a folder around it; KIND = detected or labeled
  images_KIND/1_001_1_01.png ...  cuhk03_new_protocol_config_KIND.mat
ROOT/
  cuhk03_release/cuhk-03.mat      cuhk03_new_protocol_config_KIND.mat      (needs the package h5py)
ROOT/
  KIND/bounding_box_train/0001_c1_1.png ...  KIND/query/  KIND/bounding_box_test/""",
    counts={
        "detected/trainval": {"images": 7_365, "identities": 767},
        "detected/query": {"images": 1_400, "identities": 700},
        "detected/gallery": {"images": 5_332, "identities": 700},
        "labeled/trainval": {"images": 7_368, "identities": 767},
        "labeled/query": {"images": 1_400, "identities": 700},
        "labeled/gallery": {"images": 5_328, "identities": 700},
    },
    fields=reid_splits.FIELDS,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Copy:
    """The files of one kind; `raw` where their pixels are still inside cuhk-03.mat."""

    found: ReidSet
    raw: Path | None = None


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """One split of one kind of CUHK03.

    Args:
        root: The folder of `CARD.tree`.
        split: One of `SPLITS`: `labeled/test`, `detected/test`, or `test` alone for `detected/test`.
        height: Height of the images, pixels.
        width: Width of the images, pixels.
        cache: Folder outside of `root` that keeps the decoded pixels, and what was taken out of cuhk-03.mat.

    Returns:
        Samples in the order of the file names; the name says the kind. Cameras are 0 and 1, the two views of every
        pair of cameras, although there are five pairs.

    Raises:
        DataError: The folder, the protocol's file, a name or an image is not as it should be, or h5py is missing.
        CacheError: The cache folder cannot be written.
    """
    check_split(CARD, split, SPLITS)
    kind, _, part = split.rpartition("/")
    copy = _read(root, kind or KINDS[0])
    found = copy.found
    check_cache(found.base, cache)
    if copy.raw is not None:
        names = (*found.train.files, *found.query.files, *found.gallery.files)
        with RawImages(copy.raw, kind or KINDS[0]) as raw:
            found = replace(found, base=extract(raw, names, cache / "cuhk03"))
        # The images lie in the cache now, as does the cache of their pixels.
        cache = cache / "crops"
    return load_split(found, part, height, width, cache)


def verify(root: Path) -> VerifyReport:
    """Check what is there of both kinds: protocol, names, every image's decoding, counts. Nothing is written.

    Raises:
        DataError: The root is no folder, or holds neither kind.
    """
    return verify_kinds(CARD, root, KINDS)


def verify_kinds(card: DatasetCard, root: Path, kinds: Sequence[str]) -> VerifyReport:
    """`verify` of some kinds, held against a card of theirs.

    Raises:
        DataError: The root is no folder, or holds none of the kinds.
    """
    found: dict[str, dict[str, int]] = {}
    problems: list[str] = []
    notes: list[str] = []
    copies, absent = found_splits(kinds, lambda kind: _read(root, kind))
    for kind, copy in copies.items():
        files = (*copy.found.train.files, *copy.found.query.files, *copy.found.gallery.files)
        damage, oddities = (
            (_raw_problems(copy.raw, kind, files), []) if copy.raw else checked_images(copy.found.base, files)
        )
        wrong, remarks = contradictions(copy.found)
        found |= {f"{kind}/{split}": table for split, table in counts(copy.found).items()}
        problems += [f"{kind}: {text}" for text in (*damage, *wrong)]
        notes += [f"{kind}: {text}" for text in (*remarks, *oddities)]
    notes += [f"{kind} was not found: {error.message}" for kind, error in absent.items()]
    layouts = "; ".join(copy.found.layout for copy in copies.values())
    return make_report(card, root, layouts, found, problems=problems, notes=notes)


def _read(root: Path, kind: str) -> _Copy:
    config = f"cuhk03_new_protocol_config_{kind}.mat"
    in_market_form = tuple(f"{kind}/{folder}" for folder in FOLDERS)
    layouts = [(f"images_{kind}", config), *((raw, config) for raw in _RAW), in_market_form, FOLDERS]
    base, marks = find_base(root, CARD, layouts)
    if marks[-1] != config:
        return _Copy(found=_market_form(base, tuple(marks), kind))
    raw = base / marks[0] if marks[0] in _RAW else None
    train, query, gallery = _protocol(base / config, None if raw else base / marks[0])
    if raw is None:
        train, query, gallery = (
            replace(part, files=tuple(f"{marks[0]}/{file}" for file in part.files)) for part in (train, query, gallery)
        )
    found = ReidSet(card=CARD, base=base, layout=f"{marks[0]} and {config}", title=f"cuhk03-np {kind}",
                    train=train, query=query, gallery=gallery)  # fmt: skip
    return _Copy(found=found, raw=raw)


def _market_form(base: Path, folders: tuple[str, ...], kind: str) -> ReidSet:
    """A copy in Market's form; where its folder does not say the kind, a folder around it must."""
    if folders == FOLDERS:
        names = [place.name.lower() for place in (base.resolve(), base.resolve().parent)]
        said = next((one for name in names for one in KINDS if one in name), None)
        if said is None:
            raise DataError(
                f"{base} does not say whether its images are detected or labeled.",
                "Name the folder around the three folders so, for example cuhk03-np/detected.",
            )
        if said != kind:
            raise DataError(f"{base} holds the {said} images alone.", f"Use the splits {said}/train ... {said}/test.")
    train, query, gallery = (read_folder(base, folder, (ANY_MARKET,)) for folder in folders)
    return ReidSet(card=CARD, base=base, layout=f"{'/, '.join(folders)}/", title=f"cuhk03-np {kind}",
                   train=train, query=query, gallery=gallery)  # fmt: skip


def _protocol(path: Path, images: Path | None) -> tuple[PersonFiles, PersonFiles, PersonFiles]:
    """Train, query and gallery of a cuhk03_new_protocol_config_*.mat, whose indices count from 1.

    Args:
        path: The mat.
        images: Folder of the images; None where they are inside cuhk-03.mat and will be written by their names.
    """
    content = read_mat(path, (*_INDICES, "labels", "filelist"))
    files = np.array(text_cells(content["filelist"]))
    if images is not None:
        check_names(images, files.tolist(), lambda row: f"{path}: row {row + 1} of filelist is")
    elif folders := [name for name in files.tolist() if "/" in name or "\\" in name]:
        raise DataError(
            f"{path}: filelist names other folders: {some(folders)}.", "Expected names such as 1_001_1_01.png."
        )
    labels = whole(numeric(content["labels"], f"{path}: labels"), f"{path}: labels")
    if len(labels) != len(files):
        raise DataError(f"{path}: {len(files)} files, {len(labels)} labels.", "Expected one label for each file.")
    rows = {name: rows_of(content[name], len(files), f"{path}: {name}") for name in _INDICES}
    empty = [name for name in _INDICES if not rows[name].size]
    if empty:
        raise DataError(f"{path}: {some(empty)} names no image.", "Copy the file again from its source.")
    together = np.concatenate(list(rows.values()))
    twice, times = np.unique(together, return_counts=True)
    if (times > 1).any():
        names = some(files[twice[times > 1]].tolist())
        raise DataError(f"{path}: images in two splits: {names}.", "Copy the file again from its source.")
    return tuple(_part(files, labels, rows[name], path) for name in _INDICES)  # type: ignore[return-value]


def _part(files: NDArray[np.str_], labels: NDArray[np.int64], rows: NDArray[np.int64], path: Path) -> PersonFiles:
    order = rows[np.argsort(files[rows], kind="stable")]
    names = tuple(files[order].tolist())
    _, cameras = parse_names(names, (CUHK03,), path)
    return PersonFiles(files=names, pids=labels[order], cameras=cameras)


def _raw_problems(path: Path, kind: str, names: Sequence[str]) -> list[str]:
    """Images that cuhk-03.mat does not hold, or why it cannot be read."""
    broken = []
    try:
        with RawImages(path, kind) as raw:
            for name in names:
                try:
                    raw.pixels(name)
                except DataError as error:
                    broken.append(error.message)
    except DataError as error:
        return [error.message]
    return [*broken[:3], *([f"and {len(broken) - 3} more such images"] if len(broken) > 3 else [])]


DATASET = Dataset(card=CARD, load=load, verify=verify, splits=SPLITS, renumbered=RENUMBERED)
