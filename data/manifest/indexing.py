"""From a data set in its own layout to the rows of a manifest: looked through once, never again."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hcbench.data.catalogue import dataset
from hcbench.data.dataset import Columns
from hcbench.data.formats.pretraining import BATCH
from hcbench.data.pixels import picture_size
from hcbench.data.samples import Float, Samples
from hcbench.data.skeletons import COCO, Skeleton
from hcbench.data.threads import in_threads
from hcbench.data.windows import to_original, whole_windows
from hcbench.errors import DataError

_NUMBERS = ("identity", "group_id")
"""Columns whose numbers mean nothing beyond the numbering that they belong to."""


def index_splits(
    name: str,
    root: Path,
    splits: Sequence[str],
    *,
    pack: bool,
    size: tuple[int, int],
    cache: Path,
    options: Mapping[str, Any] | None = None,
) -> Iterator[Columns]:
    """The rows of several splits of a data set as those of one corpus, in which a number never means two persons.

    A loader may number the persons of its training splits anew and keep the owners' numbers elsewhere; the data set's
    `renumbered` then names the former. They come first, and the owners' numbers are raised above theirs. Where it is
    empty, all splits have the owners' numbers, and these stay.

    Args:
        name: Of the data set.
        root: Its folder; nothing is written there.
        splits: Of its `splits`, without repetition.
        pack: As for `index`, as are `size`, `cache` and `options`.
        size: Height and width of crops.
        cache: Folder that `load` may use.
        options: Further arguments of its members.

    Raises:
        DataError: Two splits share an image; and as `index`.
    """
    renumbered = dataset(name).renumbered
    listed: dict[str, str] = {}
    taken = 0
    for split in sorted(splits, key=lambda one: one not in renumbered):
        start = 0 if split in renumbered else taken
        highest = -1
        for columns in index(name, root, split, pack=pack, size=size, cache=cache, options=options):
            if len(splits) > 1:
                _note_images(columns, split, listed)
            numbers: dict[str, Any] = {key: np.asarray(columns[key], np.int64) for key in _NUMBERS if key in columns}
            highest = max([highest, *(int(values.max()) for values in numbers.values())])
            raised = {key: np.where(values < 0, values, values + start) for key, values in numbers.items()}
            yield {**columns, **raised} if start else columns
        if split in renumbered:
            taken = max(taken, highest + 1)


def _note_images(columns: Columns, split: str, listed: dict[str, str]) -> None:
    """Add images to those that are listed, each with its split; a DataError where one is there already."""
    for image in columns["image_path"]:
        other = listed.setdefault(image, split)
        if other != split:
            raise DataError(
                f"The splits {other} and {split} share images; the first is {image}.",
                "A manifest holds an image once: name splits that share none, such as train,val.",
            )


def index(
    name: str,
    root: Path,
    split: str,
    *,
    pack: bool,
    size: tuple[int, int],
    cache: Path,
    options: Mapping[str, Any] | None = None,
) -> Iterator[Columns]:
    """The rows of one split of a data set, in batches.

    A data set that knows its rows without looking at pixels gives them with `index(root, split)`, one that cuts
    crops to pre-train on with `person_crops`; of any other, the samples of `load` are taken.

    Args:
        name: Of the data set.
        root: Its folder; nothing is written there.
        split: One of its `splits`.
        pack: Put the images' bytes in: files as they are, crops of larger photographs as PNG.
        size: Height and width of crops.
        cache: Folder that `load` may use.
        options: Arguments that not every data set takes (`trust_pickle`, `folders`).

    Raises:
        DataError: The data are not as they should be, or their samples are crops and `pack` is not set.
    """
    found = dataset(name)
    card = found.card
    further = options or {}
    shared = {"source": card.name, "licence": " ".join(card.terms.split()), "split": split}
    if found.index is not None:
        rows = found.index(root, split, **further)
    else:
        height, width = size
        if found.person_crops is not None:  # what is to be pre-trained on, not what heads are scored on
            samples = found.person_crops(root, split, height, width, cache, **further)
        else:
            samples = found.load(root, split, height=height, width=width, cache=cache, **further)
        rows = _of_samples(samples, root, size, pack=pack)
    for columns in rows:
        count = len(next(iter(columns.values())))
        whole = {**{key: [value] * count for key, value in shared.items()}, **columns}
        yield with_bytes(whole, root) if pack and "image_bytes" not in whole else whole


def _of_samples(samples: Samples, root: Path, size: tuple[int, int], *, pack: bool) -> Iterator[Columns]:
    names = samples.ids.tolist()
    cut = samples.crop_center is not None
    crops = cut or not os.path.isfile(root / names[0])
    if crops and not pack:
        what = "are crops of larger photographs, which no path can name" if cut else f"do not lie at {root / names[0]}"
        deeper = "" if cut else "Give the folder that holds them itself, where another lies around it. Or: "
        raise DataError(
            f"The samples of {samples.name} {what}.",
            f"{deeper}Add --pack: the crops are put into the manifest (--size HxW sets how large).",
        )
    for start in range(0, len(samples), BATCH):
        rows = np.arange(start, min(start + BATCH, len(samples)))
        part = [names[row] for row in rows.tolist()]
        columns: dict[str, Any] = {"image_path": part}
        if crops:
            sizes = np.tile(size[::-1], (len(rows), 1))
            columns["image_bytes"] = list(in_threads(_png, list(np.asarray(samples.images[rows])), "crops"))
        else:
            sizes = np.array(
                list(in_threads(lambda name: picture_size(root / name, f"{root / name} is no image"), part, "images"))
            )
        columns["width"], columns["height"] = sizes.T.tolist()
        yield {**columns, **_labels(samples, rows, sizes, size)}


def _labels(samples: Samples, rows: NDArray[np.int64], sizes: NDArray[np.int64], size: tuple[int, int]) -> Columns:
    """What is known of some samples; keypoints go from pixels of the input to those of the stored image."""
    known = {"group_id": samples.group, "identity": samples.identity, "camera": samples.camera,
             "pose_id": samples.pose_id}  # fmt: skip
    columns: dict[str, Any] = {name: values[rows] for name, values in known.items() if values is not None}
    if samples.captions is not None:
        columns["captions"] = [list(samples.captions[row]) or None for row in rows.tolist()]
    if samples.keypoints is not None:
        found = _of_coco(samples.keypoints[rows], samples.skeleton)
        center, whole = whole_windows(sizes)
        xy = to_original(found[..., :2], center[:, None], whole[:, None], *size)
        found[..., :2] = np.where(found[..., 2:] > 0, xy, 0)
        columns["keypoints"] = [one.ravel().tolist() if one[:, 2].any() else None for one in found]
    return columns


def _of_coco(keypoints: Float, skeleton: Skeleton) -> NDArray[np.float64]:
    """Keypoints (M, K, 3) as the 17 of COCO that a manifest holds, by name; v = 0 where the skeleton has no such joint.

    The sets share the twelve joints of the limbs; heads and necks are marked at other places and are left out.
    """
    found = np.zeros((len(keypoints), len(COCO), 3), np.float64)
    for place, name in enumerate(COCO.joints):
        if name in skeleton.joints:
            found[:, place] = keypoints[:, skeleton.joints.index(name)]
    return found


def with_bytes(columns: Columns, root: Path) -> Columns:
    """The rows with their images put in: files as they are, found by `image_path`.

    Raises:
        DataError: An image is missing.
    """
    paths = [root / name for name in columns["image_path"]]
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise DataError(f"{missing[0]} is missing, as are {len(missing) - 1} others.", "Copy them, or leave them out.")
    return {**columns, "image_bytes": list(in_threads(Path.read_bytes, paths, "images"))}


def _png(pixels: NDArray[np.uint8]) -> bytes:
    with io.BytesIO() as file:
        Image.fromarray(pixels.transpose(1, 2, 0)).save(file, "PNG", compress_level=3)
        return file.getvalue()
