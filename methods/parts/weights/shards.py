"""Weights in several files: an index in JSON names the file of every tensor. Readable without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hcbench.errors import WeightsError

_ENDING: Final = ".index.json"
_MAP: Final = "weight_map"


def is_index(path: Path) -> bool:
    """Whether a file is named like an index, such as `model.safetensors.index.json`."""
    return path.name.lower().endswith(_ENDING)


def weight_map(path: Path) -> dict[str, Path]:
    """The file of every tensor that an index names; all of them lie beside the index.

    Raises:
        WeightsError: It is no such index, names files elsewhere, or files that are not there.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"The index {path} cannot be read: {error}.", "Fetch it again.") from error
    named = content.get(_MAP) if isinstance(content, Mapping) else None
    if not isinstance(named, Mapping) or not named or not all(isinstance(name, str) for name in named.values()):
        raise WeightsError(
            f"{path} is no index of weights: it has no {_MAP!r} from names of tensors to names of files.",
            "Name the index that transformers or safetensors wrote, or a weight file itself.",
        )
    outside = sorted({name for name in named.values() if Path(name).name != name or name in ("", ".", "..")})
    if outside:
        raise WeightsError(f"The index {path} names files that are not beside it: {', '.join(outside[:3])}.")
    found = {tensor: path.with_name(name) for tensor, name in named.items()}
    files = sorted(set(found.values()))
    lacking = [file.name for file in files if not file.is_file()]
    if lacking:
        raise WeightsError(
            f"The index {path} names {len(files)} files, of which {len(lacking)} are not beside it: "
            f"{', '.join(lacking[:3])}{' and more' if len(lacking) > 3 else ''}.",
            "Put all of them into the folder of the index.",
        )
    return found


def files_of(path: Path) -> tuple[Path, ...]:
    """The files that hold the weights which `path` stands for: itself, and where it is an index all that it names.

    Raises:
        WeightsError: It is an index that cannot be followed.
    """
    return (path, *sorted(set(weight_map(path).values()))) if is_index(path) else (path,)
