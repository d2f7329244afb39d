"""Any folder of images, as a corpus for pre-training; its sub-folders may be groups or persons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.decoded import Files
from hcbench.data.files.names import shown, some
from hcbench.data.formats import pretraining
from hcbench.data.formats.file_index import check_listed, index_images, list_images
from hcbench.data.formats.loading import check_cache, check_split, numbered
from hcbench.data.formats.pretraining import batched, lazy_samples, path_column, source_problems
from hcbench.data.samples import Samples
from hcbench.errors import DataError, did_you_mean

SPLITS = pretraining.SPLITS
Folders = Literal["ignore", "group", "identity"]
"""What a sub-folder means: nothing; images that share something (a caption, a pose); images of one person."""
FOLDERS: tuple[Folders, ...] = ("ignore", "group", "identity")

CARD = DatasetCard(
    name="image-folder",
    title="a folder of images",
    homepage="",
    terms="Yours: check what the images' owners allow.",
    obtain="Point to a folder of images: jpg, png, webp, bmp, gif, tif, ppm or whatever else Pillow reads.",
    tree="""\
ROOT/
  *.jpg  or  <sub-folder>/*.jpg           any depth; sub-folders mean nothing, groups or persons:
                                          data prepare --folders ignore|group|identity
Names that begin with a dot, and what operating systems leave, do not count. Linked folders do.""",
    counts={"train": {}},
    fields=frozenset({"images", "group", "identity"}),
)


def load(
    root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path, folders: Folders = "ignore"
) -> Samples:
    """All images in and below a folder, decoded when they are asked for.

    Args:
        root: The folder.
        split: `train`.
        height: Height of the images, pixels; whole images are resized, whatever their aspect.
        width: Width of the images, pixels.
        cache: Folder outside of `root` that keeps the listing.
        folders: What sub-folders mean. As `group` or `identity`, images in one folder belong together, and numbers
            follow the sorted paths of the folders.

    Returns:
        Samples sorted by path; `group` is known unless folders are ignored, `identity` where they are persons.

    Raises:
        DataError: There is no image, or one lies in no sub-folder though these have a meaning.
        CacheError: The cache folder cannot be written.
    """
    check_split(CARD, split, SPLITS)
    _check_folders(folders)
    check_cache(root, cache)
    entries = index_images(root, cache)
    group = None if folders == "ignore" else _folder_numbers(entries.names, root)
    name = f"{shown(root.resolve().name)} {split}"
    return lazy_samples(
        name, Files(root, entries.names), entries.names, (height, width), entries.sizes,
        group=group, identity=group if folders == "identity" else None,
    )  # fmt: skip


def index(root: Path, split: str, *, folders: Folders = "ignore") -> Iterator[Mapping[str, Sequence[Any]]]:
    """Rows of a manifest in batches: paths, and the groups or persons of their folders, as `load` numbers them.

    Raises:
        DataError: There is no such folder or split, or no image in it, or one lies in no sub-folder though these have
            a meaning.
    """
    check_split(CARD, split, SPLITS)
    _check_folders(folders)
    listed = list_images(root)
    names = sorted(name for name, _ in listed.entries)
    check_listed(root, len(names), listed.left_out)
    columns = {"ignore": (), "group": ("group_id",), "identity": ("group_id", "identity")}[folders]
    numbers = _folder_numbers(np.array(names), root) if columns else np.zeros(len(names), np.int64)
    for rows in batched(range(len(names))):
        paths = path_column(root, root, [names[row] for row in rows])
        yield {**paths, **dict.fromkeys(columns, numbers[rows].tolist())}


def verify(root: Path) -> VerifyReport:
    """Count images and sub-folders and decode some of the images, evenly spread. Nothing is written.

    What `load` leaves out is told, what it refuses is a problem.

    Raises:
        DataError: The root is no folder.
    """
    listed = list_images(root)
    names = np.array(sorted(name for name, _ in listed.entries), np.str_)
    problems, notes = source_problems(Files(root, names)) if len(names) else (["there is no image"], [])
    problems += listed.left_out.problems()
    found = {"images": len(names), "sub-folders": len({str(name).rpartition("/")[0] for name in names} - {""})}
    return VerifyReport(
        dataset=CARD.name,
        root=root,
        level="mismatch" if problems else "exact",
        layout="",
        found={"train": found},
        expected={},
        problems=tuple(problems),
        notes=(*notes, *listed.left_out.notes()),
    )


def _check_folders(folders: str) -> None:
    if folders not in FOLDERS:
        raise DataError(f"Sub-folders cannot mean {folders!r}.", did_you_mean(folders, FOLDERS))


def _folder_numbers(names: NDArray[np.str_], root: Path) -> NDArray[np.int64]:
    folders = [str(name).rpartition("/")[0] for name in names]
    bare = [str(name) for name, folder in zip(names, folders, strict=True) if not folder]
    if bare:
        raise DataError(
            f"{len(bare)} of {len(names)} images of {root} lie in no sub-folder: {some(bare)}.",
            "Move them into folders, or let folders mean nothing: --folders ignore (in Python folders='ignore').",
        )
    return numbered(folders)


DATASET = Dataset(
    card=CARD,
    load=load,
    verify=verify,
    splits=SPLITS,
    renumbered=(),
    sometimes=frozenset({"group", "identity"}),
    options=frozenset({"folders"}),
    index=index,
)
