"""Writing a manifest: rows come in batches, a file appears whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hcbench.data.files.names import ADVICE, is_text, shown
from hcbench.data.manifest.schema import COLUMNS, REPEATED, schema
from hcbench.errors import DataError

ROWS_PER_GROUP = 65_536
"""Rows that Parquet keeps together; labels alone are small."""
PACKED_ROWS_PER_GROUP = 256
"""The same where images are inside: a few megabytes, the least that is ever read."""
ROWS_PER_SHARD = 50_000
"""Rows of a file where the manifest is a folder of files."""
_PARTIAL = ".partial"
_LISTS = ("captions", "keypoints")


class ManifestWriter:
    """Writes a manifest; use it as a context, so that a failure leaves nothing behind.

    Args:
        out: A file that ends in .parquet, or a folder that gets shards of `ROWS_PER_SHARD` rows.
        root: Folder that `image_path` is relative to; empty = the folder that `out` lies in.
        packed: Whether rows hold `image_bytes`.
        links: Whether links that paths go through were looked at, and may lead out of the root.

    Raises:
        DataError: `out` is there already.
    """

    def __init__(self, out: Path, *, root: str = "", packed: bool = False, links: bool = False) -> None:
        if out.exists():
            raise DataError(f"{out} is there already.", "Remove it, or choose another name.")
        self.out, self.rows = out, 0
        self._sharded = out.suffix != ".parquet"
        self._schema, self._packed = schema(root, links=links), packed
        self._place = out.with_name(f".{out.name}{_PARTIAL}")
        self._file: _File | None = None
        self._shards = 0

    def __enter__(self) -> ManifestWriter:
        self.out.parent.mkdir(parents=True, exist_ok=True)
        _remove(self._place)
        if self._sharded:
            self._place.mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if self._file is not None:
                self._file.close(whole=kind is None)
            if kind is None:
                if self.rows == 0:
                    raise DataError(f"Nothing was written to {self.out}: there is no row.", "Look at what was read.")
                self._place.replace(self.out)
        finally:
            _remove(self._place)

    def add(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Append rows.

        Args:
            columns: Values by column, all of one length; columns left out are null.
        """
        table = to_table(columns)
        while table.num_rows:
            if self._file is not None and self._sharded and self._file.rows >= ROWS_PER_SHARD:
                self._file.close(whole=True)
                self._file = None
            if self._file is None:
                name = self._place / f"part-{self._shards:05d}.parquet" if self._sharded else self._place
                self._file, self._shards = _File(name, self._schema, packed=self._packed), self._shards + 1
            room = ROWS_PER_SHARD - self._file.rows if self._sharded else table.num_rows
            self._file.add(table.slice(0, room))
            self.rows += min(room, table.num_rows)
            table = table.slice(room)


def to_table(columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Rows as the schema has them.

    Args:
        columns: As for `ManifestWriter.add`.

    Raises:
        DataError: A column is unknown, of another length, or holds values of another type.
    """
    unknown = sorted(set(columns) - set(COLUMNS))
    lengths = {len(values) for values in columns.values()}
    if unknown or len(lengths) != 1:
        found = f"the unknown columns {', '.join(unknown)}" if unknown else f"columns of lengths {sorted(lengths)}"
        raise DataError(f"A manifest was given {found}.", f"Columns are: {', '.join(COLUMNS)}.")
    count = lengths.pop()
    arrays = []
    for name, kind in COLUMNS.items():
        try:
            values = columns.get(name)
            arrays.append(pa.nulls(count, kind) if values is None else pa.array(values, kind))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise DataError(f"The manifest's column {name} cannot hold what it was given: {error}.") from error
        except UnicodeEncodeError as error:
            first = next(text for text in _texts(values) if not is_text(text))
            raise DataError(
                f"The manifest's column {name} cannot hold '{shown(first)}': it is not in UTF-8.", ADVICE
            ) from error
    return pa.table(arrays, schema=schema())


def _texts(values: Any) -> Iterator[str]:
    """The texts of a column, those in lists too."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | tuple):
            yield from _texts(value)


class _File:
    """One Parquet file, written in row groups of a fixed size."""

    def __init__(self, path: Path, columns: pa.Schema, *, packed: bool) -> None:
        self.rows = 0
        self._group = PACKED_ROWS_PER_GROUP if packed else ROWS_PER_GROUP
        self._waiting: list[pa.Table] = []
        # Images are compressed by themselves; doing it again costs time and saves nothing.
        compression = {_leaf(name): "none" if name == "image_bytes" else "zstd" for name in COLUMNS}
        self._writer = pq.ParquetWriter(path, columns, compression=compression, use_dictionary=list(REPEATED))

    def add(self, table: pa.Table) -> None:
        """Append rows; what fills no row group waits."""
        self._waiting.append(table)
        self.rows += table.num_rows
        if sum(part.num_rows for part in self._waiting) >= self._group:
            self._flush(whole_groups=True)

    def close(self, *, whole: bool) -> None:
        """End the file; its own description is only true of a whole one."""
        if whole:
            self._flush(whole_groups=False)
        self._writer.close()

    def _flush(self, *, whole_groups: bool) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        end = table.num_rows // self._group * self._group if whole_groups else table.num_rows
        self._waiting = [table.slice(end)] if end < table.num_rows else []
        table = table.slice(0, end)
        self._writer.write_table(table, row_group_size=self._group)


def _leaf(name: str) -> str:
    return f"{name}.list.element" if name in _LISTS else name


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
