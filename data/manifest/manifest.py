"""Reading a manifest: opened by its footers alone, columns read when asked for, rows when drawn.

A manifest is a Parquet file, or a folder of them that counts as one in the order of their names. Nothing here grows
with the number of rows but an integer column, eight bytes a row, while it is looked at.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hcbench.data.files.contents import MOST_FILES, SAMPLE, Contents, listed_contents
from hcbench.data.files.under_root import check_names, is_allowed, why_outside
from hcbench.data.manifest.hash import ColumnHashes
from hcbench.data.manifest.schema import (
    COLUMNS,
    KEYPOINT_NUMBERS,
    LINKS_KEY,
    ROOT_KEY,
    VERSION,
    VERSION_KEY,
    problems,
)
from hcbench.data.samples import Int
from hcbench.errors import DataError

SUFFIX = ".parquet"
GROUP_COLUMNS = {"captions": "group_id", "poses": "pose_id", "identities": "identity"}
"""Layout to the column whose equal values make a group."""
_DOUBTFUL = r"^$|^[/\\]|^\.+$|^[A-Za-z]:[/\\]|(^|[/\\])\.\.([/\\]|$)|\x00"
"""Paths that a closer look is taken at."""
_HINT = "Write it with `hcbench data prepare` or `hcbench generate`, or with the columns of data/manifest/schema.py."


@dataclass(frozen=True, kw_only=True, eq=False)
class Manifest:
    """An open manifest.

    Attributes:
        path: The file or folder.
        root: Folder that `image_path` is relative to.
        files: Its Parquet files.
        starts: First row of each file, and the number of rows at the end.
        lacking: Rows in which a column is null, for every column.
        links: Whether links that paths go through may lead out of the root (`LINKS_KEY`).
    """

    path: Path
    root: Path
    files: tuple[pq.ParquetFile, ...]
    starts: tuple[int, ...]
    lacking: dict[str, int] = field(default_factory=dict)
    links: bool = False

    def __len__(self) -> int:
        return self.starts[-1]

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.path.name

    @property
    def packed(self) -> bool:
        """Whether the images are inside."""
        return self.complete("image_bytes")

    def complete(self, column: str) -> bool:
        """Whether every row knows a column."""
        return self.lacking[column] == 0

    def known(self, layout: str) -> frozenset[str]:
        """Fields of `Samples` that every image has under a layout; keypoints where any has them (v = 0 elsewhere)."""
        columns = {"identity": "identity", "camera": "camera", "pose_id": "pose_id", "captions": "captions",
                   "group": GROUP_COLUMNS[layout]}  # fmt: skip
        fields = {name for name, column in columns.items() if self.complete(column)}
        fields |= {"keypoints"} if self.lacking["keypoints"] < len(self) else set()
        return frozenset(fields | {"images"})

    def why_unknown(self, what: str, layout: str) -> str:
        """Why a field of `Samples` is not known, in words; empty where there is no more to say than that."""
        column = {"group": GROUP_COLUMNS[layout]}.get(what, what)
        lacking = self.lacking.get(column, 0)
        if 0 < lacking < len(self):
            return f"{lacking:,} of {len(self):,} rows have no {column}"
        return f"the layout {layout} needs {column}" if what == "group" else ""

    def integers(self, column: str) -> Int:
        """A whole integer column, int64 (N,), null as -1."""
        values = np.empty(len(self), np.int64)
        for start, table in self._groups([column]):
            values[start : start + table.num_rows] = pc.fill_null(table[column], -1).to_numpy()
        return values

    def units(self, layout: str) -> Int | None:
        """The group of every row under a layout, int64 (N,), or None where there are none.

        A negative identity belongs to nobody, so each such row is a group of its own, numbered from -2 downwards.
        """
        column = GROUP_COLUMNS[layout]
        if not self.complete(column):
            return None
        values = self.integers(column)
        alone = np.flatnonzero(values < 0)
        values[alone] = -2 - alone
        return values

    def take(self, columns: Sequence[str], rows: Int) -> pa.Table:
        """Some columns of some rows.

        Args:
            columns: Names.
            rows: int64 (M,), ascending.
        """
        parts = []
        for start, table in self._groups(columns, rows):
            low, high = np.searchsorted(rows, [start, start + table.num_rows])
            parts.append(table.take(pa.array(rows[low:high] - start)))
        return pa.concat_tables(parts) if parts else pa.table({name: pa.nulls(0, COLUMNS[name]) for name in columns})

    def values(self, column: str) -> tuple[str, ...]:
        """The different values of a text column, sorted, null left out."""
        found: set[str] = set()
        for _, table in self._groups([column]):
            found |= set(pc.unique(table[column].combine_chunks()).to_pylist())
        return tuple(sorted(value for value in found if value is not None))

    def sources(self) -> tuple[str, ...]:
        """Where the images come from, sorted: `name:split`, `name` where no split is told, "" where no source is."""
        found = set()
        for _, table in self._groups(["source", "split"]):
            plain = pa.table([pc.fill_null(table[name].cast(pa.string()), "") for name in ("source", "split")],
                             names=["source", "split"])  # fmt: skip
            pairs = plain.group_by(["source", "split"]).aggregate([]).to_pylist()
            found |= {f"{one['source']}:{one['split']}".rstrip(":") for one in pairs}
        return tuple(sorted(found))

    def check_paths(self) -> None:
        """Refuse paths that, as written, lead out of the root; links are looked at when an image is read.

        Raises:
            OutsideError: With the first such row, from 0, and how many more there are.
        """
        if self.packed or is_allowed():
            return
        wrong: list[tuple[int, str]] = []
        for start, table in self._groups(["image_path"]):
            paths = table["image_path"].cast(pa.large_string()).combine_chunks()
            doubtful = pc.fill_null(pc.match_substring_regex(paths, _DOUBTFUL), fill_value=False)
            rows = np.flatnonzero(doubtful.to_numpy(zero_copy_only=False)).tolist()
            wrong += [(start + row, path) for row in rows if why_outside(path := paths[row].as_py())]
        if wrong:
            paths_alone = [path for _, path in wrong]
            check_names(self.root, paths_alone, lambda place: f"{self.path}: row {wrong[place][0]}: image_path is")

    @property
    def fingerprint(self) -> str:
        """Hash of the content, 16 hex digits: all columns in the order of the rows, and all images as they now are.

        Where files lie does not matter, nor how a manifest is compressed and cut, unless it holds images: these stand
        for themselves by their Parquet files. See `contents` of images that are too many to read.
        """
        return self._hashed(self.image_contents)

    @property
    def contents(self) -> Contents:
        """What stands for columns and images together; `fingerprint` is its digest."""
        images = self.image_contents
        return replace(images, digest=self._hashed(images))

    @property
    def image_contents(self) -> Contents:
        """What stands for the images: the files that are named, or the Parquet files that hold them."""
        if self.packed:
            files = manifest_files(self.path)
            return listed_contents(files[0].parent, [path.name for path in files], named=False)
        if len(self) > MOST_FILES:
            rows = np.unique(np.linspace(0, len(self) - 1, SAMPLE).astype(np.int64))
            return listed_contents(self.root, self._image_paths(rows), count=len(self))
        return listed_contents(self.root, self._image_paths(np.arange(len(self))))

    def _hashed(self, images: Contents) -> str:
        return hashlib.sha256("\n".join([*self._column_digests, images.fingerprint]).encode()).hexdigest()[:16]

    @functools.cached_property
    def _column_digests(self) -> list[str]:
        hashes = ColumnHashes()
        hashed = [name for name in COLUMNS if name != "image_bytes" and self.lacking[name] < len(self)]
        for _, table in self._groups(hashed):
            hashes.add(table)
        return hashes.digests()

    def _image_paths(self, rows: Int) -> list[str]:
        return [name for name in self.take(["image_path"], rows)["image_path"].to_pylist() if name is not None]

    def group_sizes(self, layout: str) -> tuple[int, int]:
        """How many groups there are, and how many images each has: 0 where they differ; images alone are groups of 1.

        The sum of a budget's groups is known only where all are equal (`CorpusFacts.group_size`).
        """
        units = self.units(layout)
        if units is None:
            return len(self), 1
        _, counts = np.unique(units, return_counts=True)
        return len(counts), int(counts[0]) if counts.min() == counts.max() else 0

    def _groups(self, columns: Sequence[str], rows: Int | None = None) -> Iterator[tuple[int, pa.Table]]:
        """First row and table of every row group, or of those that hold some of `rows`, ascending."""
        for file, start in zip(self.files, self.starts, strict=False):
            for index in range(file.num_row_groups):
                end = start + file.metadata.row_group(index).num_rows
                holds_rows = rows is None or np.searchsorted(rows, start) < np.searchsorted(rows, end)
                if holds_rows:
                    yield start, _read(file, index, columns)
                start = end


def open_manifest(path: Path, root: Path | None = None) -> Manifest:
    """Open a manifest by its footers.

    Args:
        path: A .parquet file, or a folder of them.
        root: Folder of the images; None takes the one that the manifest names, or its own folder.

    Raises:
        DataError: There is none, it is no manifest, a newer one, or contradicts itself.
    """
    paths = manifest_files(path)
    files = tuple(_open(one) for one in paths)
    for one, file in zip(paths, files, strict=True):
        _check(one, file)
    starts = np.cumsum([0, *(file.metadata.num_rows for file in files)]).tolist()
    if starts[-1] == 0:
        raise DataError(f"{path} holds no row.", "A manifest has one row per image.")
    counts = {name: [_count(file, name) for file in files] for name in COLUMNS}
    manifest = Manifest(
        path=path.resolve(),
        root=(root or _root(path, files[0])).resolve(),
        files=files,
        starts=tuple(starts),
        links=all(LINKS_KEY in (file.metadata.metadata or {}) for file in files),
        lacking={name: sum(empty for empty, _ in file_counts) for name, file_counts in counts.items()},
    )
    _check_rows(manifest, sum(values for _, values in counts["keypoints"]))
    return manifest


def check_images(manifest: Manifest, sample: int = 64) -> None:
    """Look up a few of the files that a manifest names.

    Raises:
        DataError: None of them is there: the root is wrong. Or a path leads out of it.
    """
    if manifest.packed:
        return
    manifest.check_paths()
    rows = np.unique(np.linspace(0, len(manifest) - 1, sample).astype(np.int64))
    names = manifest.take(["image_path"], rows)["image_path"].to_pylist()
    if not any(os.path.isfile(manifest.root / name) for name in names):
        raise DataError(
            f"{manifest.name} names images that are not there: none of {len(names)} looked up lies below "
            f"{manifest.root}, for example {names[0]}.",
            f"Say where they lie: --data {manifest.name.removesuffix(SUFFIX)}=ROOT",
        )


def manifest_files(path: Path) -> list[Path]:
    """The Parquet files of a manifest, in the order of its rows; errors as `open_manifest`."""
    if os.path.isfile(path):
        return [path]
    if not os.path.isdir(path):
        raise DataError(f"There is no manifest {path}.", "Give a .parquet file, or a folder of them.")
    files = sorted(one for one in path.glob(f"*{SUFFIX}") if not one.name.startswith("."))
    if not files:
        raise DataError(f"{path} holds no {SUFFIX} file.", "Give a manifest: a .parquet file, or a folder of them.")
    return files


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, memory_map=True)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}.", f"It is damaged or something else. {_HINT}") \
            from error  # fmt: skip


def _read(file: pq.ParquetFile, index: int, columns: Sequence[str]) -> pa.Table:
    try:
        return file.read_row_group(index, columns=list(columns), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"A manifest cannot be read any further (row group {index}): {error}.",
            "Its file is damaged: copy it again.",
        ) from error


def _check(path: Path, file: pq.ParquetFile) -> None:
    version = (file.metadata.metadata or {}).get(VERSION_KEY)
    if version is None or not version.isdigit():
        raise DataError(f"{path} is no manifest: it does not name a version ({VERSION_KEY.decode()}).", _HINT)
    if int(version) > VERSION:
        raise DataError(
            f"{path} is a manifest of version {int(version)}; this hcbench reads up to {VERSION}.", "Update hcbench."
        )
    if wrong := problems(file.schema_arrow):
        raise DataError(f"{path} has other columns than a manifest: {'; '.join(wrong)}.", _HINT)


def _check_rows(manifest: Manifest, keypoint_numbers: int) -> None:
    rows, lacking = len(manifest), manifest.lacking
    if lacking["image_path"] and lacking["image_bytes"]:
        raise DataError(
            f"{manifest.path}: {lacking['image_path']:,} of {rows:,} rows have no image_path, and "
            f"{lacking['image_bytes']:,} no image_bytes.",
            "Every row needs the one, or every row the other.",
        )
    with_keypoints = rows - lacking["keypoints"]
    if keypoint_numbers != KEYPOINT_NUMBERS * with_keypoints:
        raise DataError(
            f"{manifest.path} has keypoints of another length: {keypoint_numbers:,} numbers in {with_keypoints:,} rows "
            f"({keypoint_numbers / max(1, with_keypoints):g} each).",
            f"Expected {KEYPOINT_NUMBERS}: 17 x (x, y, v) in COCO's order, or null.",
        )
    if with_keypoints and (lacking["width"] or lacking["height"]):
        raise DataError(
            f"{manifest.path} has keypoints, but not the width and height of every image.",
            "They are needed to scale keypoints to the input.",
        )


def _count(file: pq.ParquetFile, column: str) -> tuple[int, int]:
    """Rows without a value, and values: from the statistics of the row groups, or read where there are none."""
    empty = values = 0
    for index in range(file.num_row_groups):
        group = file.metadata.row_group(index)
        chunk = group.column(_leaves(file)[column])
        statistics = chunk.statistics
        if statistics is not None and statistics.has_null_count:
            nulls, slots = statistics.null_count, chunk.num_values
        else:
            array = _read(file, index, [column])[column].combine_chunks()
            lists = pa.types.is_nested(array.type)
            held = len(array.flatten()) if lists else len(array) - array.null_count
            nulls = int(pc.sum(pc.equal(pc.fill_null(pc.list_value_length(array), 0), 0)).as_py() or 0) \
                if lists else array.null_count  # fmt: skip
            slots = held + nulls
        empty, values = empty + nulls, values + slots - nulls
    return empty, values


@functools.lru_cache(maxsize=1024)
def _leaves(file: pq.ParquetFile) -> dict[str, int]:
    """Column to its number among the leaves."""
    return {file.schema.column(i).path.partition(".")[0]: i for i in range(len(file.schema))}


def _root(path: Path, file: pq.ParquetFile) -> Path:
    own = path.absolute().parent
    stored = os.fsdecode((file.metadata.metadata or {}).get(ROOT_KEY, b""))
    return own / stored  # an absolute one stands for itself
