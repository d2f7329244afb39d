"""LUPerson: four million unlabelled person images from videos, for pre-training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.decoded import Files, Lmdb, PixelSource
from hcbench.data.files.left_out import LeftOut
from hcbench.data.files.walk import names_in
from hcbench.data.formats import pretraining
from hcbench.data.formats.file_index import check_listed, index_images, list_images
from hcbench.data.formats.listing import IMAGE_ENDINGS, find_base
from hcbench.data.formats.loading import check_cache, check_split, make_report
from hcbench.data.formats.luperson_files import KEYS_FILE, index_lmdb, list_lmdb, lmdb_file
from hcbench.data.formats.pretraining import batched, encoded_column, lazy_samples, path_column, source_problems
from hcbench.data.samples import Samples

SPLITS = pretraining.SPLITS
CARD = DatasetCard(
    name="luperson",
    title="LUPerson",
    homepage="https://github.com/DengpanFu/LUPerson",
    terms="Research only (not verified). Videos belong to those who made them.",
    obtain="The authors give video ids, detections and scripts, and the processed images on request.",
    tree="""\
ROOT/                                     one of these, with or without a folder around it
  images/*.jpg                            (also one or more folders further down)
  LUPerson-data/*.jpg
  lmdb/data.mdb                           (needs the package lmdb; keys.pkl beside it is not read)
  *.jpg""",
    counts={"train": {"images": 4_180_243}},
    fields=frozenset({"images"}),
)


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """All images, decoded when they are asked for.

    The listing is kept in `cache` and opened as a memory map, so that the second start takes no time.

    Args:
        root: The folder of `CARD.tree`.
        split: `train`.
        height: Height of the images, pixels.
        width: Width of the images, pixels.
        cache: Folder outside of `root` that keeps the listing.

    Returns:
        Samples sorted by name; `ids` are paths below the dataset's folder, or keys of the LMDB.

    Raises:
        DataError: The folder is not as it should be.
        CacheError: The cache folder cannot be written.
    """
    check_split(CARD, split, SPLITS)
    base, layout = _find(root)
    check_cache(base, cache)
    if layout == "lmdb":
        entries = index_lmdb(base / layout, cache)
        told: object = lmdb_file(base / layout).stat().st_size
    else:
        entries = index_images(base, cache, layout)
        told = entries.sizes
    return lazy_samples(f"luperson {split}", _source(base, layout, entries.names), entries.names, (height, width), told)


def index(root: Path, split: str) -> Iterator[Mapping[str, Sequence[Any]]]:
    """Rows of a manifest in batches: paths below `root`, or the images of an LMDB themselves.

    Raises:
        DataError: The folder is not as it should be.
    """
    check_split(CARD, split, SPLITS)
    base, layout = _find(root)
    names, left_out = _names(base, layout)
    check_listed(base / layout, len(names), left_out)
    for part in batched(names):
        yield encoded_column(Lmdb(base / layout, np.array(part))) if layout == "lmdb" else path_column(root, base, part)


def verify(root: Path) -> VerifyReport:
    """Count the images and decode some of them, evenly spread. Nothing is written.

    Raises:
        DataError: The root is no folder, or is not LUPerson.
    """
    base, layout = _find(root)
    names, left_out = _names(base, layout)
    source = _source(base, layout, np.array(names))
    problems, notes = source_problems(source) if names else ([f"{base / layout} holds no image"], [])
    if (base / KEYS_FILE).exists():
        notes.append(f"{KEYS_FILE} is a pickle and was not read; nothing needs it")
    return make_report(
        CARD, root, f"{layout}/" if layout != "." else "images in the folder itself", {"train": {"images": len(names)}},
        problems=(*problems, *left_out.problems()), notes=(*notes, *left_out.notes()),
    )  # fmt: skip


def _names(base: Path, layout: str) -> tuple[list[str], LeftOut]:
    """Sorted paths or keys, listed anew, and what was left out."""
    listed = list_lmdb(base / layout) if layout == "lmdb" else list_images(base, layout)
    return sorted(name for name, _ in listed.entries), listed.left_out


def _source(base: Path, layout: str, names: NDArray[np.str_]) -> PixelSource:
    return Lmdb(base / layout, names) if layout == "lmdb" else Files(base, names)


def _find(root: Path) -> tuple[Path, str]:
    """The dataset's folder, and the folder below it (`.` = itself) that holds the images."""
    layouts = ("images", "LUPerson-data", "lmdb")
    in_folders = not root.is_dir() or any((root / name).is_dir() for name in layouts)
    if not in_folders and any(name.lower().endswith(IMAGE_ENDINGS) for name in names_in(root)):
        return root, "."
    base, (layout,) = find_base(root, CARD, [(name,) for name in layouts])
    return base, layout


DATASET = Dataset(card=CARD, load=load, verify=verify, splits=SPLITS, index=index)
