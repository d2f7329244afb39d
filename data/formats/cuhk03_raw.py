"""`cuhk-03.mat`, CUHK03 as its owners give it: an HDF5 file of MATLAB 7.3 with all pixels in nested cells.

`<kind>` is 5 cells, one for each pair of cameras; each is a table of persons x 10 images, of which images 1..5 are the
first view and 6..10 the second; empty cells are images that there are not. HDF5 keeps every axis the other way round.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hcbench.data.files.contents import path_contents
from hcbench.errors import CacheError, DataError


class RawImages:
    """The images of one kind by the names that the field gives them; a context that keeps the file open.

    Args:
        path: cuhk-03.mat.
        kind: `detected` or `labeled`.

    Raises:
        DataError: The package h5py is not installed, or the file is no such mat.
    """

    def __init__(self, path: Path, kind: str) -> None:
        try:
            import h5py
        except ImportError as error:
            raise DataError(
                f"{path} is a mat file of version 7.3 (HDF5), and the package h5py is not installed.",
                "Install it (pip install 'hcbench[readers]'), or use extracted images or a copy in Market's form.",
            ) from error
        self.path, self.kind = path, kind
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise DataError(f"{path} cannot be read as HDF5: {error}.", "Copy it again from its source.") from error
        if kind not in self._file:
            held = ", ".join(sorted(self._file))
            self._file.close()
            raise DataError(
                f"{path} has no {kind}; it holds {held}.", "Expected cuhk-03.mat with detected and labeled."
            )

    def __enter__(self) -> RawImages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def pixels(self, name: str) -> NDArray[np.uint8]:
        """The image that the field calls, for example, `1_001_2_06.png`: uint8 (H, W, 3).

        Raises:
            DataError: There is no such image.
        """
        pair, person, _, image = (int(part) for part in name.removesuffix(".png").split("_"))
        try:
            people: Any = self._file[self._file[self.kind][0][pair - 1]]
            found: NDArray[np.uint8] = np.asarray(self._file[people[image - 1, person - 1]]).T
        except (IndexError, ValueError, KeyError) as error:
            raise DataError(f"{self.path} has no {self.kind} image {name}: {error}.", "Copy it again.") from error
        if found.ndim != 3 or found.shape[2] != 3 or found.dtype != np.uint8:
            raise DataError(
                f"{self.path}: {self.kind} image {name} is {found.dtype} {found.shape}.",
                "Expected height x width x 3 bytes; the protocol's file belongs to another release.",
            )
        return found


def extract(raw: RawImages, names: tuple[str, ...], cache: Path) -> Path:
    """Write images as PNG into the cache, once; what is there is not written again.

    Args:
        raw: Their source.
        names: Which ones.
        cache: Folder outside of the dataset.

    Returns:
        The folder that holds them.

    Raises:
        DataError: An image is missing.
        CacheError: The cache folder cannot be written.
    """
    folder = cache / f"cuhk03-{raw.kind}-{path_contents(raw.path).digest}"
    for name in names:
        if (folder / name).is_file():
            continue
        pixels = raw.pixels(name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=folder, prefix=name, suffix=".part")
            with os.fdopen(handle, "wb") as file:
                Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", compress_level=3)
            Path(temporary).replace(folder / name)
        except OSError as error:
            raise CacheError(f"{folder} cannot be written: {error}.", "Choose another --workspace.") from error
    return folder
