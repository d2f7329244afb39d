"""The columns of a manifest: one Parquet schema for every corpus on disk, written and read by nobody else's rules.

A row is an image. Every column is there in every file; what is not known is null. An image is named by `image_path`,
below a root, or held in `image_bytes`. The schema's version stands in the file's metadata.
"""

from __future__ import annotations

import os
from typing import Any

import pyarrow as pa

VERSION = 1
"""Goes up with every change of a column's name, type or meaning."""

VERSION_KEY = b"hcbench.manifest.version"
ROOT_KEY = b"hcbench.manifest.root"
"""Folder that `image_path` is relative to; itself relative to the manifest's folder where it is not absolute."""
LINKS_KEY = b"hcbench.manifest.links"
"""1 = whoever wrote the file has looked at the links that its paths go through; else none may lead out of the root."""

KEYPOINT_NUMBERS = 51
"""17 x (x, y, v), COCO order, in pixels of the stored image; v = 0 not labelled, 1 hidden, 2 visible."""

COLUMNS: dict[str, Any] = {
    "image_path": pa.string(),  # below the root, with forward slashes
    "image_bytes": pa.binary(),  # an encoded image: JPEG, PNG, anything Pillow reads
    "group_id": pa.int64(),  # equal = same caption, or same pose and prompt: a method's positives
    "variant": pa.int32(),  # number inside the group
    "captions": pa.list_(pa.string()),
    "identity": pa.int64(),  # person; -1 = nobody else's
    "camera": pa.int64(),
    "pose_id": pa.int64(),  # equal = the same skeleton, pixel for pixel
    "keypoints": pa.list_(pa.float32()),
    "width": pa.int32(),  # of the stored image, pixels
    "height": pa.int32(),
    "seed": pa.int64(),  # that the image was generated from
    "source": pa.string(),  # the data set that the image comes from, by its name in `hcbench data list`
    "licence": pa.string(),
    "generator": pa.string(),  # json: how the image was generated
    "split": pa.string(),
}
"""Name and type of every column, in order."""

REPEATED = ("variant", "camera", "width", "height", "source", "licence", "generator", "split")
"""Columns whose values repeat, which a dictionary makes small."""


def schema(root: str = "", *, links: bool = False) -> pa.Schema:
    """The schema of a file to write.

    Args:
        root: See `ROOT_KEY`; empty = the folder of the manifest.
        links: See `LINKS_KEY`.
    """
    metadata = {VERSION_KEY: str(VERSION).encode()}
    metadata |= {ROOT_KEY: os.fsencode(root)} if root else {}
    metadata |= {LINKS_KEY: b"1"} if links else {}
    return pa.schema(list(COLUMNS.items()), metadata=metadata)


def problems(found: pa.Schema) -> list[str]:
    """What is wrong with the columns of a file, one sentence each; further columns are nobody's business.

    Types that hold the same values in another way (large_string for string) are as good.
    """
    wrong = []
    for name, kind in COLUMNS.items():
        at = found.get_all_field_indices(name)
        if len(at) != 1:
            wrong.append(f"the column {name} is missing" if not at else f"the column {name} is there {len(at)} times")
        elif _plain(found.field(at[0]).type) != kind:
            wrong.append(f"{name} is {found.field(at[0]).type}, expected {kind}")
    return wrong


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type without large offsets, dictionaries, fixed lengths and names of list items."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_binary(kind):
        return pa.binary()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(_plain(kind.value_type))
    return kind
