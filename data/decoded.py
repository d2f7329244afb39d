"""Images that are decoded when they are asked for: sets of millions, whose pixels nobody keeps twice on disk."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hcbench.data.pixels import decode_image
from hcbench.data.windows import resized
from hcbench.errors import DataError


class PixelSource(Protocol):
    """N encoded images; safe to send to another process."""

    def __len__(self) -> int: ...

    def encoded(self, row: int) -> bytes:
        """The bytes of one image as they lie on disk."""

    def where(self, row: int) -> str:
        """What an error message calls it."""


class Files:
    """Image files.

    Args:
        folder: Where they lie.
        names: str (N,), paths below it.
    """

    def __init__(self, folder: Path, names: NDArray[np.str_]) -> None:
        self.folder, self.names = folder, names

    def __len__(self) -> int:
        return len(self.names)

    def encoded(self, row: int) -> bytes:
        """The file's content.

        Raises:
            DataError: It cannot be read.
        """
        try:
            return (self.folder / str(self.names[row])).read_bytes()
        except OSError as error:
            raise DataError(
                f"{self.where(row)} cannot be read: {error}.", "Copy it again, or take it out of the list."
            ) from error

    def where(self, row: int) -> str:
        """Its path."""
        return str(self.folder / str(self.names[row]))


class Decoded:
    """An image array that decodes and resizes whole images, whatever their aspect, each time they are asked for.

    Args:
        source: Where the encoded images come from.
        height: Height of the images, pixels.
        width: Width of the images, pixels.
    """

    def __init__(self, source: PixelSource, height: int, width: int) -> None:
        self.source, self.height, self.width = source, height, width

    def __len__(self) -> int:
        return len(self.source)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, 3, H, W)."""
        return len(self), 3, self.height, self.width

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        # Never an array of all rows: there are millions, and a batch asks for a few.
        rows = np.arange(*index.indices(len(self))) if isinstance(index, slice) else np.asarray(index)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        if rows.size and not -len(self) <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()}..{rows.max()} of {len(self)} images")
        rows = np.where(rows < 0, rows + len(self), rows)
        images = np.empty((rows.size, 3, self.height, self.width), np.uint8)
        for place, row in enumerate(rows.reshape(-1).tolist()):
            images[place] = self._one(row)
        return images.reshape(*rows.shape, 3, self.height, self.width)

    def _one(self, row: int) -> NDArray[np.uint8]:
        image = decode_image(BytesIO(self.source.encoded(row)), self.source.where(row))
        return resized(image, self.height, self.width)


class Lmdb:
    """Encoded images in an LMDB, opened when first read and again in every process, since it outlives no fork.

    Args:
        path: The folder (or file) of the LMDB.
        keys: str (N,).
    """

    def __init__(self, path: Path, keys: NDArray[np.str_]) -> None:
        self.path, self.keys = path, keys
        self._opened: tuple[int, Any] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "keys": self.keys, "_opened": None}

    def encoded(self, row: int) -> bytes:
        """The value under a key.

        Raises:
            DataError: There is no such key, or no library to read it.
        """
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), open_lmdb(self.path))
        with self._opened[1].begin(write=False) as transaction:
            value = transaction.get(str(self.keys[row]).encode())
        if value is None:
            raise DataError(f"{self.where(row)}: there is no such key.", "The LMDB and the list of keys do not fit.")
        return bytes(value)

    def where(self, row: int) -> str:
        """Its key and its LMDB."""
        return f"{self.path}[{self.keys[row]}]"


def open_lmdb(path: Path) -> Any:
    """Open an LMDB for reading alone: no lock file, nothing read ahead.

    Raises:
        DataError: The library is not installed, or the folder holds no LMDB.
    """
    try:
        import lmdb
    except ImportError as error:
        raise DataError(
            f"{path} is an LMDB, and the package lmdb is not installed.", "Install it: pip install 'hcbench[readers]'"
        ) from error
    try:
        return lmdb.open(str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False, meminit=False)
    except lmdb.Error as error:
        raise DataError(f"{path} cannot be opened as an LMDB: {error}.", "Copy it again from its source.") from error
