"""Mat files in the nesting in which MATLAB saves cells and structs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat


def cells(items: Sequence[Any], *, across: bool = False) -> np.ndarray:
    """A cell array of one column, or of one row."""
    found = np.empty(len(items), object)
    found[:] = list(items)
    return found[None] if across else found[:, None]


def column(numbers: Sequence[int]) -> np.ndarray:
    """Numbers as the N x 1 doubles that MATLAB makes of them."""
    return np.asarray(numbers, np.float64)[:, None]


def write_mat(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, dict(content), do_compression=True)
