"""Hashes of the columns of a manifest."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


class ColumnHashes:
    """Hashes of columns that come piece by piece: where pieces end does not matter, nor how they are encoded."""

    def __init__(self) -> None:
        self._hashes: dict[str, Any] = defaultdict(hashlib.sha256)

    def add(self, table: pa.Table) -> None:
        """The next rows, all of their columns."""
        for name in table.column_names:
            self._feed(name, table[name].combine_chunks())

    def digests(self) -> list[str]:
        """A line for each kind of buffer, sorted."""
        return [f"{name} {value.hexdigest()}" for name, value in sorted(self._hashes.items())]

    def _feed(self, name: str, array: pa.Array) -> None:
        """Put an array's values into hashes, one for each kind of buffer."""
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        kind = array.type
        if pa.types.is_dictionary(kind):
            return self._feed(name, array.dictionary_decode())
        self._hashes[f"{name}?"].update(array.is_null().cast(pa.uint8()).to_numpy(zero_copy_only=False))
        if pa.types.is_nested(kind):
            self._hashes[f"{name}#"].update(_int32(pc.list_value_length(array)))
            return self._feed(f"{name}[]", pc.list_flatten(array))
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            self._hashes[f"{name}#"].update(_int32(pc.binary_length(array)))
            array = pc.fill_null(array, "").cast(pa.large_string())
            ends = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
            if len(array) and ends[-1] > ends[0]:
                self._hashes[name].update(memoryview(array.buffers()[2])[int(ends[0]) : int(ends[-1])])
            return None
        self._hashes[name].update(np.ascontiguousarray(pc.fill_null(array, 0).to_numpy(zero_copy_only=False)))
        return None


def _int32(lengths: pa.Array) -> NDArray[np.int32]:
    return np.ascontiguousarray(pc.fill_null(lengths, 0).cast(pa.int32()).to_numpy(zero_copy_only=False))
