"""CUHK-PEDES: persons of several ReID sets, each image with two sentences that describe the person."""

from __future__ import annotations

from pathlib import Path

from hcbench.data import text_reid_files as files
from hcbench.data.card import DatasetCard, Report
from hcbench.data.samples import Samples

CARD = DatasetCard(
    name="cuhk-pedes",
    title="CUHK-PEDES",
    homepage="https://github.com/ShuangLI59/Person-Search-with-Natural-Language-Description",
    terms="Academic use only, no redistribution. The images come from other datasets, whose terms apply too\n"
    "(not verified).",
    obtain="Ask the authors (address on the homepage) with a university e-mail address; unpack what they send.\n"
    "The table of 238,768 rows with this name on the Hugging Face Hub mixes other data and is not this benchmark.",
    tree="""\
ROOT/                                     with or without folders around it
  reid_raw.json                           a list of {"split", "file_path", "id", "captions"}
  imgs/cam_a/*  cam_b/*  CUHK01/*  CUHK03/*  Market/*  test_query/*  train_query/*""",
    counts={
        "train": {"images": 34_054, "identities": 11_003, "captions": 68_126},
        "val": {"images": 3_078, "identities": 1_000, "captions": 6_158},
        "test": {"images": 3_074, "identities": 1_000, "captions": 6_156},
    },
    unverified=frozenset({"train captions", "val captions"}),
    fields=frozenset({"images", "identity", "captions"}),
)
SPLITS = files.SPLITS

_FORMAT = files.Format(
    card=CARD,
    annotations=("reid_raw.json",),
    first_id=1,
    variants=(
        (
            "train",
            {"images": 34_051, "identities": 11_000, "captions": 68_120},
            "the filtered list that HAP trains on (three persons fewer than the official one)",
        ),
    ),
)


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """Whole images, resized, with persons and captions.

    Args:
        root: Folder with the layout of `CARD.tree`.
        split: One of `SPLITS`.
        height: Height of the images, pixels.
        width: Width of the images, pixels.
        cache: Folder outside of `root` that keeps the resized pixels.

    Returns:
        Samples sorted by file. `ids` are paths like `imgs/cam_a/000_45.bmp`; `identity` is 0..N-1 in train and
        trainval, in the order of the raw ids, and the raw id (from 1) in val and test. Captions stand as they are in
        the file, without blank ones; an image may have more than two, or, which is logged, none.

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
