"""What pre-training sets of millions of images share: lazily decoded samples, and a check of a part of the images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hcbench.data.decoded import Decoded, PixelSource
from hcbench.data.findings import Findings, attempt
from hcbench.data.formats.loading import digest
from hcbench.data.pixels import Picture, decoder, read_picture
from hcbench.data.samples import Samples
from hcbench.data.threads import in_threads
from hcbench.errors import DataError

Row = TypeVar("Row")

SPLITS = ("train",)
"""Pre-training sets are not parted."""
BATCH = 1_024
"""Rows of a manifest that are given out together."""
CHECKED = 10_000
"""So many images are decoded by `verify`, evenly spread: all of several millions would take hours."""


def lazy_samples(
    name: str,
    source: PixelSource,
    ids: NDArray[np.str_],
    input_size: tuple[int, int],
    content_key: object,
    *,
    group: NDArray[np.int64] | None = None,
    identity: NDArray[np.int64] | None = None,
    captions: tuple[tuple[str, ...], ...] | None = None,
) -> Samples:
    """Samples whose images are decoded when they are read.

    Args:
        name: What they are called.
        source: Their encoded images, N of them.
        ids: str (N,).
        input_size: Height and width of the images, pixels.
        content_key: What else decides the content: file sizes, the hash of the json of captions.
        group: int64 (N,).
        identity: int64 (N,).
        captions: N tuples.
    """
    return Samples(
        name=name,
        fingerprint=digest(decoder(), input_size, ids, content_key, group, identity),
        images=Decoded(source, *input_size),
        ids=ids,
        group=group,
        identity=identity,
        captions=captions,
    )


def source_problems(source: PixelSource) -> tuple[list[str], list[str]]:
    """Decode up to `CHECKED` images, evenly spread over the set.

    Returns:
        Problems (those that cannot be decoded) and notes (how many were looked at, where not all were; and those of
        which not everything counts).
    """
    findings = Findings()
    rows = np.unique(np.linspace(0, len(source) - 1, min(CHECKED, len(source))).astype(np.int64)).tolist()

    def read(row: int) -> Picture | DataError:
        return attempt(lambda: read_picture(BytesIO(source.encoded(row)), source.where(row)))

    for row, found in zip(rows, in_threads(read, rows, "images"), strict=True):
        findings.add(source.where(row), found)
    spread = f"{len(rows):,} of {len(source):,} images were decoded, evenly spread"
    return findings.problems, [*([spread] if len(rows) < len(source) else []), *findings.notes]


def batched(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in lists of at most `BATCH`."""
    left = iter(rows)
    while batch := list(islice(left, BATCH)):
        yield batch


def path_column(root: Path, base: Path, files: Iterable[str]) -> dict[str, Sequence[Any]]:
    """The column of a manifest that says where images lie, below the folder that the user named."""
    start = base.relative_to(root)
    return {"image_path": [(start / file).as_posix() for file in files]}


def encoded_column(source: PixelSource) -> dict[str, Sequence[Any]]:
    """The column of a manifest that holds the images themselves."""
    return {"image_bytes": [source.encoded(row) for row in range(len(source))]}
