"""Small `market_attribute.mat` and `duke_attribute.mat`: the structs of the originals, with persons of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from hcbench.data.formats.identity_attributes.files import AttributeFile

Label = Callable[[int, str], int]
"""The value of a person's field, as the mat has it."""


def write_attributes(path: Path, kind: AttributeFile, persons: Mapping[str, Iterable[int]], label: Label) -> None:
    """Write the struct of one of the files; fields come in another order in each of its parts, as in the originals.

    Args:
        path: Where.
        kind: Which file.
        persons: By part, `train` and `test`, in the order of the rows.
        label: 1 or 2 (ages: 1 to 4; 0 = not labelled).
    """
    tables: dict[str, dict[str, Any]] = {}
    for part, people in persons.items():
        listed = list(people)
        names = sorted((*kind.binary, *kind.steps), reverse=part == "test")
        tables[part] = {name: np.array([label(person, name) for person in listed], np.uint8) for name in names}
        tables[part]["image_index"] = np.array([f"{person:04d}" for person in listed], object)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {kind.variable: tables})
