"""Any folder of images as a data set: nothing is known of them, and for some methods nothing needs to be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hcbench.data.card import DatasetCard, Report
from hcbench.data.crops import in_threads, read_image
from hcbench.data.indexing import BATCH, images_in
from hcbench.data.manifest_images import ManifestImages, from_files
from hcbench.data.samples import Samples
from hcbench.errors import DataError

SPLIT = "train"
CARD = DatasetCard(
    name="image-folder",
    title="Any folder of images",
    homepage="",
    terms="Those of whoever made the images.",
    obtain="Put images into a folder; folders inside it are looked through as well.",
    tree="ROOT/\n  any/folders/below/*.jpg        .jpeg, .png, .webp and .bmp too; one person per image",
    counts={SPLIT: {}},
    fields=frozenset({"images"}),
)


def index(root: Path, split: str) -> Iterator[Mapping[str, Sequence[Any]]]:
    """The rows of a manifest: paths alone, so that millions of files are listed and none is opened."""
    found = False
    for names in _batched(images_in(_checked(root, split))):
        found = True
        yield {"image_path": names}
    if not found:
        raise _empty(root)


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """All images of the folder, decoded when they are asked for.

    Args:
        root: The folder.
        split: `train`, the only one.
        height: Input height, pixels; every image is stretched to the input.
        width: Input width, pixels.
        cache: Not used: nothing is kept.

    Raises:
        DataError: There is no image, or no such split.
    """
    names = list(images_in(_checked(root, split)))
    if not names:
        raise _empty(root)
    ids = np.array(names)
    sizes = np.zeros((len(names), 2), np.int64)
    listing = "\n".join(f"{name} {(root / name).stat().st_size}" for name in names)
    return Samples(
        name=f"image-folder {root.name}",
        fingerprint=hashlib.sha256(listing.encode()).hexdigest()[:16],
        images=ManifestImages(from_files(root, ids), sizes, lambda row: str(ids[row]), height=height, width=width),
        ids=ids,
    )


def verify(root: Path) -> Report:
    """Decode every image once; there is no official number of them.

    Raises:
        DataError: There is no image.
    """
    names = list(images_in(_checked(root, SPLIT)))
    if not names:
        raise _empty(root)

    def check(name: str) -> str | None:
        try:
            read_image(root / name)
        except DataError as error:
            return error.message
        return None

    problems = tuple(problem for problem in in_threads(check, names, "images") if problem)
    return Report(
        dataset=CARD.name,
        root=root,
        level="mismatch" if problems else "exact",
        layout="images in folders",
        found={SPLIT: {"images": len(names)}},
        expected={},
        problems=problems,
    )


def _batched(names: Iterator[str]) -> Iterator[list[str]]:
    while several := list(islice(names, BATCH)):
        yield several


def _checked(root: Path, split: str) -> Path:
    if not root.is_dir():
        raise DataError(f"{root} is no folder.", "Give the folder that holds the images.")
    if split != SPLIT:
        raise DataError(f"A folder of images has no split {split!r}.", f"Take {SPLIT}.")
    return root


def _empty(root: Path) -> DataError:
    return DataError(f"{root} holds no image.", "Images end in .jpg, .jpeg, .png, .webp or .bmp.")
