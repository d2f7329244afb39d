"""ICFG-PEDES: images of MSMT17, each with one long sentence that describes the person."""

from __future__ import annotations

import re
from pathlib import Path

from hcbench.data import text_reid_files as files
from hcbench.data.card import DatasetCard, Report
from hcbench.data.samples import Samples

CARD = DatasetCard(
    name="icfg-pedes",
    title="ICFG-PEDES",
    homepage="https://github.com/zifyloo/SSAN",
    terms="On request, research only; the images are those of MSMT17, whose terms apply to them (not verified).",
    obtain="Ask the authors (form on the homepage); unpack what they send.",
    tree="""\
ROOT/                                     with or without folders around it
  ICFG-PEDES.json                         or: ICFG_PEDES.json; a list of {"split", "file_path", "id", "captions"}
  imgs/train/<person>/*.jpg  imgs/test/<person>/*.jpg     MSMT17's folders: the json alone tells the split""",
    counts={
        "trainval": {"images": 34_674, "identities": 3_102, "captions": 34_674},
        "test": {"images": 19_848, "identities": 1_000, "captions": 19_848},
    },
    unverified=frozenset({"trainval identities"}),
    fields=frozenset({"images", "identity", "camera", "captions"}),
)
SPLITS = files.SPLITS

_FORMAT = files.Format(
    card=CARD,
    annotations=("ICFG-PEDES.json", "ICFG_PEDES.json"),
    splits=("train", "test"),
    camera=re.compile(r"\d{4}_\d{3}_(\d{2})_"),
)


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """Whole images, resized, with persons, cameras and captions.

    There is no official `val`: it is every tenth person of the official train (the 10th, 20th ... of the sorted ids),
    with all of that person's images. `train` is what remains, `trainval` the official train, `test` the official one.

    Args:
        root: Folder with the layout of `CARD.tree`.
        split: One of `SPLITS`.
        height: Height of the images, pixels.
        width: Width of the images, pixels.
        cache: Folder outside of `root` that keeps the resized pixels.

    Returns:
        Samples sorted by file. `ids` are paths like `imgs/train/0000/0000_000_01_0303morning_0008_0.jpg`; `identity` is
        0..N-1 in train and trainval, in the order of the raw ids, and the raw id (from 0) in val and test; `camera` is
        that of the file's name, counted from 0.

    Raises:
        DataError: The folder, the json or an image is not as it should be.
        CacheError: The cache folder cannot be written.
    """
    return files.load_split(_FORMAT, root, split, height=height, width=width, cache=cache)


def annotation_files(root: Path) -> tuple[Path, ...]:
    """The json that decides what `load` gives.

    Raises:
        DataError: The root is no folder, or holds no accepted layout.
    """
    return files.annotation_files(_FORMAT, root)


def verify(root: Path) -> Report:
    """Check a copy: layout, json, every image, the counts of each split. Reads every image; nothing is written.

    Raises:
        DataError: The root is no folder, or holds no accepted layout.
    """
    return files.verify(_FORMAT, root)
