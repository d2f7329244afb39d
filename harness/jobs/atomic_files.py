"""Files that are either complete or not there: written to a temporary name, then renamed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; on leaving without an error what stands there becomes `path`.

    Works for files and for folders; an older `path` is replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    remove(temporary)
    try:
        yield temporary
        if temporary.is_dir():
            remove(path)  # a folder cannot be renamed over a folder that is not empty
        else:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        remove(temporary)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write plain data; NumPy numbers and arrays, paths and sets become plain too."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, default=_plain))


def read_json(path: Path) -> Any:
    """Read plain data."""
    return json.loads(path.read_text())


def write_table(path: Path, columns: Mapping[str, Any]) -> None:
    """Write columns of equal length as Parquet."""
    import pandas as pd  # heavy, and a plan or a worker's start needs none of it

    with replacing(path) as temporary:
        pd.DataFrame(dict(columns)).to_parquet(temporary, index=False)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no plain data")
