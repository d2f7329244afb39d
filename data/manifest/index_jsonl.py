"""An index.jsonl: one json object per image, in the words of a manifest, as sets that others generated are told.

GenCOCO is such a set: several images of every pose and prompt, which are a method's positives (`group_id`).
"""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hcbench.data.catalogue import dataset_modules
from hcbench.data.dataset import Columns
from hcbench.data.files.under_root import UnderRoot
from hcbench.data.formats.pretraining import batched
from hcbench.data.manifest.indexing import with_bytes
from hcbench.data.manifest.schema import COLUMNS, KEYPOINT_NUMBERS
from hcbench.data.overlaps import plain
from hcbench.data.pixels import picture_size
from hcbench.data.threads import in_threads
from hcbench.errors import DataError

REQUIRED = ("image_path", "group_id")
"""Fields that every line has; `group_id` may be null where an image has no group."""
OTHER_NAMES = {"image": "image_path", "caption": "captions", "pose_ann_id": "pose_id", "license": "licence"}
"""What fields are called elsewhere, to the column of a manifest."""
_FIELDS = tuple(name for name in COLUMNS if name != "image_bytes")
_COCO_ID = "pose_ann_id"

log = logging.getLogger(__name__)


def read_index(path: Path, root: Path, *, pack: bool) -> Iterator[Columns]:
    """The rows that an index names, in batches, in its order.

    Width and height are those of the images. Where a pose is named as `pose_ann_id`, an annotation of COCO, the source
    is COCO unless the line names another data set; what it calls the generated set itself stands in `generator`. Fields
    that no manifest has are left out and named once, in the log.

    Args:
        path: The file; empty lines count for nothing.
        root: Folder that image paths are relative to.
        pack: Put the images' bytes in.

    Raises:
        DataError: With the number of the line: it is no json object, lacks a required field, holds a value of another
            kind, or names an image that is not there or has another size than it says.
    """
    unknown: set[str] = set()
    inside = UnderRoot(root)
    for lines in batched(_lines(path)):
        rows = [(where, _row(text, where, unknown)) for where, text in lines]
        sized = list(in_threads(lambda placed_row: _sized(*placed_row, inside), rows, f"images of {path.name}"))
        columns = {name: [row.get(name) for row in sized] for name in _FIELDS}
        yield with_bytes(columns, root) if pack else columns


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Every line that is not empty, and what messages call it."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path}, line {number}", line
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text: {error}.", "Expected UTF-8, one json object per line.") \
            from error  # fmt: skip


def _row(text: str, where: str, unknown: set[str]) -> dict[str, Any]:
    """The values of one line by column; `unknown` gathers the fields that are none."""
    try:
        entry = json.loads(text)
    except ValueError as error:
        raise DataError(f"{where} is no json: {error}.", "Expected one json object per line.") from error
    if not isinstance(entry, dict):
        raise DataError(f"{where} holds a json {type(entry).__name__}.", "Expected an object: {...}.")
    row: dict[str, Any] = {}
    for field, value in entry.items():
        name = OTHER_NAMES.get(field, field)
        if name in row:
            raise DataError(f"{where} tells {name} twice, once as {field}.", "Leave out one of them.")
        if name in _FIELDS:
            row[name] = _value(name, value, where)
        elif field not in unknown:
            unknown.add(field)
            log.warning("%s: no manifest has the field %r; it is left out of all lines", where, field)
    absent = [name for name in REQUIRED if name not in row]
    if absent:
        raise DataError(
            f"{where} has no {' and no '.join(absent)}; it has {', '.join(entry) or 'no fields'}.",
            f"Fields are {', '.join(_FIELDS)}. Images of one pose and prompt share a group_id, or null.",
        )
    if row["image_path"] is None:
        raise DataError(f"{where}: image_path is None.", "Expected a path below the folder of the index.")
    if row.get("pose_id") is not None and _COCO_ID in entry:
        _mark_coco(row, entry.get("generator"))
    return row


def _mark_coco(row: dict[str, Any], generator: Any) -> None:
    """Make COCO the source, against which poses are checked, unless the line names another set that we know.

    A name that no data set has is the generated set's own; it goes to `generator`.
    """
    name = row.get("source")
    if name is not None and _is_known(name.replace("/", ":").partition(":")[0]):
        return
    row["source"] = "coco"
    if name is not None:
        row["generator"] = json.dumps({"dataset": name, "generator": generator}, sort_keys=True)


@functools.cache
def _is_known(name: str) -> bool:
    """Whether a data set is called so, in whatever spelling."""
    return plain(name) in map(plain, dataset_modules())


def _value(name: str, value: Any, where: str) -> Any:
    """A field's value as its column holds it."""
    kind = COLUMNS[name]
    if value is None:
        return None
    if name == "keypoints":
        return _keypoints(value, where)
    if name == "captions":
        captions = [value] if isinstance(value, str) else value
        fits, expected = isinstance(captions, list) and all(isinstance(one, str) for one in captions), "text, or a list"
        value = captions or None
    elif name == "generator" and isinstance(value, dict):
        return json.dumps(value, sort_keys=True)
    elif pa.types.is_integer(kind):
        limit = 2 ** (kind.bit_width - 1)
        fits, expected = type(value) is int and -limit <= value < limit, f"a whole number of {kind.bit_width} bits"
    else:
        fits, expected = isinstance(value, str), "text"
    if not fits:
        raise DataError(f"{where}: {name} is {str(value)[:80]!r}.", f"Expected {expected}, or null.")
    return value


def _keypoints(value: Any, where: str) -> list[float]:
    try:
        points = np.array(value, np.float64)
    except (TypeError, ValueError):
        points = np.zeros(0)
    if points.shape not in ((17, 3), (KEYPOINT_NUMBERS,)):
        found = " x ".join(map(str, points.shape)) if points.size else "no table of numbers"
        raise DataError(
            f"{where}: keypoints are {found}.",
            "Expected 17 x 3: x, y (pixels of the image) and v of COCO's joints, or null.",
        )
    points = points.reshape(17, 3)
    if not np.isfinite(points).all() or not np.isin(points[:, 2], (0, 1, 2)).all():
        raise DataError(
            f"{where}: keypoints hold what is no number, or another v than 0, 1 and 2.",
            "v is 0 for not labelled, 1 for hidden, 2 for visible.",
        )
    return [float(number) for number in points.ravel()]


def _sized(where: str, row: dict[str, Any], inside: UnderRoot) -> dict[str, Any]:
    """A row with the size of its image."""
    inside.check(row["image_path"], f"{where}: image_path is")
    path = inside.root / row["image_path"]
    if not os.path.isfile(path):
        raise DataError(
            f"{where}: there is no image {path}.",
            "Images lie below the folder of the index; name another folder after the index.",
        )
    try:
        size = picture_size(path, f"{path} is no image")
    except DataError as error:
        raise DataError(f"{where}: {error.message}", "Copy the image again, or take out the line.") from error
    stated = tuple(row.get(name) or found for name, found in zip(("width", "height"), size, strict=True))
    if stated != size:
        raise DataError(
            f"{where}: {path.name} is {size[0]} x {size[1]}, the line says {stated[0]} x {stated[1]}.",
            "Keypoints count pixels of the image as it is stored: mend the line, or take the right image.",
        )
    return {**row, "width": size[0], "height": size[1]}
