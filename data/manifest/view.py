"""What a cell sees of a manifest: the images of its budget under its layout, as `Samples`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hcbench.data.budget import draw_images
from hcbench.data.formats.loading import digest
from hcbench.data.manifest.images import ManifestImages, from_bytes, from_files, unpacked
from hcbench.data.manifest.manifest import Manifest
from hcbench.data.manifest.schema import KEYPOINT_NUMBERS
from hcbench.data.pixels import decoder
from hcbench.data.samples import Float, Int, Samples
from hcbench.data.windows import to_crop, whole_windows
from hcbench.errors import DataError

DRAW = "manifest"
"""Name in the seed of every draw: budgets depend on what a manifest holds, not on what it is called."""
WORDS = 30_000
"""Words of a corpus's captions that a text tower gets at most, the frequent ones; BERT's list is as long."""
_LABELS = ("identity", "camera", "pose_id")


def budget_rows(manifest: Manifest, layout: str, images: int, seed: int) -> Int:
    """The rows of a budget, int64 (images,), ascending: whole groups where the layout has groups."""
    units = manifest.units(layout)
    return draw_images(np.arange(len(manifest)) if units is None else units, images, seed, corpus=DRAW)


def view(manifest: Manifest, layout: str, rows: Int, *, height: int, width: int, cache: Path) -> Samples:
    """Some rows as samples; no pixel is read before it is asked for.

    Args:
        manifest: An open one.
        layout: captions, poses or identities: what makes a group.
        rows: int64 (M,), ascending.
        height: Input height, pixels; every image is stretched to the input.
        width: Input width, pixels.
        cache: Folder outside of the data, for packed images.

    Raises:
        DataError: A row contradicts the schema.
    """
    known = manifest.known(layout)
    columns = [name for name in (*_LABELS, "captions", "keypoints") if name in known]
    table = manifest.take(["image_path", "variant", "width", "height", *columns], rows)
    numbers = {name: pc.fill_null(table[name], -1).to_numpy().astype(np.int64) for name in columns if name in _LABELS}
    ids = _ids(table, rows)
    sizes = np.stack([pc.fill_null(table[name], 0).to_numpy().astype(np.int64) for name in ("width", "height")], axis=1)
    units = manifest.units(layout)
    if manifest.packed:
        read = from_bytes(unpacked(manifest, rows, cache))
    else:
        read = from_files(
            manifest.root, ids, links=manifest.links, called=lambda row: f"{manifest.path}: row {rows[row]}"
        )
    return Samples(
        name=f"{manifest.name}/{layout}",
        fingerprint=digest(decoder(), manifest.fingerprint, layout, (height, width), rows),
        images=ManifestImages(read, sizes, lambda row: str(ids[row]), height=height, width=width),
        ids=ids,
        group=None if units is None else units[rows],
        captions=cast(Any, Captions(table["captions"])) if "captions" in columns else None,
        keypoints=_keypoints(table["keypoints"], sizes, ids, (height, width)) if "keypoints" in columns else None,
        **numbers,
    )


def words(manifest: Manifest, most: int = WORDS) -> tuple[str, ...]:
    """The words of all captions, the most frequent first where there are too many, then sorted."""
    counts: Counter[str] = Counter()
    for start in range(0, len(manifest), 1 << 16):
        rows = np.arange(start, min(start + (1 << 16), len(manifest)))
        texts = pc.list_flatten(manifest.take(["captions"], rows)["captions"])
        pieces = pc.list_flatten(pc.split_pattern_regex(pc.utf8_lower(texts), r"[\s\p{P}]+"))
        for found in pc.value_counts(pieces.combine_chunks()):
            counts[found["values"].as_py() or ""] += found["counts"].as_py()
    del counts[""]
    frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]
    return tuple(sorted(word for word, _ in frequent))


class Captions(Sequence[tuple[str, ...]]):
    """The captions of every image, held by Arrow: Python strings are made for the images that are asked for.

    Args:
        lists: A column of lists of strings.
    """

    def __init__(self, lists: pa.ChunkedArray) -> None:
        self.lists = lists.combine_chunks()

    def __len__(self) -> int:
        return len(self.lists)

    @overload
    def __getitem__(self, index: int) -> tuple[str, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[str, ...]]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        return tuple(self.lists[int(index)].as_py())

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return (tuple(captions.as_py()) for captions in self.lists)


def _ids(table: pa.Table, rows: Int) -> NDArray[np.str_]:
    """The path of every image, or the number of its row where it has none."""
    if table["image_path"].null_count == 0:
        return np.array(table["image_path"].to_pylist(), np.str_)
    return np.array([f"row {row}" for row in rows.tolist()], np.str_)


def _keypoints(column: pa.ChunkedArray, sizes: Int, ids: NDArray[np.str_], size: tuple[int, int]) -> Float:
    """Keypoints in pixels of the input, float32 (N, 17, 3); 0, 0, 0 where there are none."""
    lists = column.combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero((lengths != 0) & (lengths != KEYPOINT_NUMBERS))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{ids[row]} has {lengths[row]} keypoint numbers, as have {len(wrong) - 1} other images.",
            f"Expected {KEYPOINT_NUMBERS}: 17 x (x, y, v) in COCO's order, or null.",
        )
    found = np.zeros((len(lists), 17, 3), np.float64)
    found[lengths > 0] = pc.list_flatten(lists).to_numpy(zero_copy_only=False).reshape(-1, 17, 3)
    if not np.isfinite(found).all():
        raise DataError("Some keypoints of the manifest are no numbers.", "Give v = 0 to what is not known.")
    center, whole = whole_windows(np.maximum(sizes, 1))
    xy = to_crop(found[..., :2], center[:, None], whole[:, None], *size)
    labelled = found[..., 2:] > 0
    return np.concatenate([np.where(labelled, xy, 0), found[..., 2:]], axis=2).astype(np.float32)
