"""MATLAB files of data sets, read by name."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench.errors import DataError


def read_mat(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Variables of a .mat file of MATLAB 5 to 7.

    Raises:
        DataError: The file is none, is of version 7.3, or lacks a variable; the message says which it has.
    """
    from scipy import io  # the planner reads cards, and need not load scipy for that

    try:
        found: dict[str, NDArray[Any]] = io.loadmat(path, variable_names=list(names))
    except NotImplementedError as error:
        raise DataError(
            f"{path} is a mat file of version 7.3 (HDF5), expected version 5 to 7.", "Take the file of the release."
        ) from error
    except (
        OSError,
        EOFError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        zlib.error,
        io.matlab.MatReadError,
    ) as error:
        raise DataError(f"{path} cannot be read as a mat file: {error}.", "Copy it again from its source.") from error
    absent = [name for name in names if name not in found]
    if absent:
        held = ", ".join(name for name, *_ in io.whosmat(path)) or "nothing"
        raise DataError(
            f"{path} has no {', '.join(absent)}; it holds {held}.", f"Expected the variables {', '.join(names)}."
        )
    return {name: found[name] for name in names}


def numeric(value: NDArray[Any], where: str) -> NDArray[np.float64]:
    """An array of numbers, flat, float64.

    Raises:
        DataError: It holds something else.
    """
    if value.dtype.kind not in "biuf":
        raise DataError(f"{where} holds no numbers.", "Take the official mat file.")
    return value.astype(np.float64).ravel()


def text_cells(cells: NDArray[Any]) -> tuple[str, ...]:
    """The strings of a cell array, in order."""
    return tuple(str(cell.item() if hasattr(cell, "item") and cell.size == 1 else cell) for cell in cells.ravel())
