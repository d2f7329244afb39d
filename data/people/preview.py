"""Contact sheets of the embedded corpus: `data/sheet.py` with the colours of its parts."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcbench.data import sheet
from hcbench.data.people.figure import PARTS
from hcbench.data.samples import Samples


def part_colours() -> NDArray[np.uint8]:
    """One colour per part id, uint8 (len(PARTS), 3); background dark, neighbours far apart in hue."""
    hues = [(i * 0.381966) % 1.0 for i in range(len(PARTS))]
    rgb = [colorsys.hsv_to_rgb(hue, 0.55, 0.85 - 0.2 * (i % 2)) for i, hue in enumerate(hues)]
    table = (np.array(rgb) * 255).astype(np.uint8)
    table[0], table[-1] = (28, 28, 30), (120, 120, 125)
    return table


def contact_sheet(
    samples: Samples, path: Path, *, columns: int = 10, overlay: bool = False, limit: int = 100, zoom: int = 2,
    parts: bool = False,
) -> Path:  # fmt: skip
    """Write the first `limit` images as one picture, with the mask of parts below each where `parts`."""
    colours = part_colours() if parts else None
    return sheet.contact_sheet(
        samples, path, columns=columns, overlay=overlay, limit=limit, zoom=zoom, part_colours=colours
    )
