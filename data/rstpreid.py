"""RSTPReid: five images of MSMT17 for each of 4,101 persons, each with two sentences that describe the person."""

from __future__ import annotations

import re
from pathlib import Path

from hcbench.data import text_reid_files as files
from hcbench.data.card import DatasetCard, Report
from hcbench.data.samples import Samples

CARD = DatasetCard(
    name="rstpreid",
    title="RSTPReid",
    homepage="https://github.com/NjtechCVLab/RSTPReid-Dataset",
    terms="The repository carries the MIT licence; the images are those of MSMT17, whose terms apply to them\n"
    "(not verified).",
    obtain="Follow the link on the homepage; unpack images and json side by side.",
    tree="""\
ROOT/                                     with or without folders around it
  data_captions.json                      a list of {"split", "img_path", "id", "captions"}
  imgs/0000_c14_0005.jpg ...              <person>_c<camera>_<number>.jpg, no folders below""",
    counts={
        "train": {"images": 18_505, "identities": 3_701, "captions": 37_010},
        "val": {"images": 1_000, "identities": 200, "captions": 2_000},
        "test": {"images": 1_000, "identities": 200, "captions": 2_000},
    },
    fields=frozenset({"images", "identity", "camera", "captions"}),
)
SPLITS = files.SPLITS

_FORMAT = files.Format(
    card=CARD,
    annotations=("data_captions.json",),
    image_key="img_path",
    camera=re.compile(r"\d{4}_c(\d{1,2})_\d{4}\.jpg$"),
    variants=(
        (
            "train",
            {"images": 19_505, "identities": 3_901, "captions": 39_010},
            "train and val together, as HAP trains on them",
        ),
    ),
)


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """Whole images, resized, with persons, cameras and captions.

    Args:
        root: Folder with the layout of `CARD.tree`.
        split: One of `SPLITS`.
        height: Height of the images, pixels.
        width: Width of the images, pixels.
        cache: Folder outside of `root` that keeps the resized pixels.

    Returns:
        Samples sorted by file. `ids` are paths like `imgs/3901_c14_0007.jpg`; `identity` is 0..N-1 in train and
        trainval, in the order of the raw ids, and the raw id (from 0) in val and test; `camera` is that of the file's
        name, counted from 0.

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
