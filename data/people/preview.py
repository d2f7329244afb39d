"""Contact sheets: what a corpus looks like, with its ground truth drawn over it."""

from __future__ import annotations

import colorsys
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hcbench.data.people.figure import PARTS
from hcbench.data.samples import Samples
from hcbench.errors import DataError

BONES: Final = (
    (0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12), (11, 12), (11, 13),
    (13, 15), (12, 14), (14, 16),
)  # fmt: skip
_LEFT, _RIGHT, _MIDDLE = (255, 170, 60), (80, 200, 255), (240, 240, 240)


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
    """Write the first `limit` images as one picture.

    Args:
        samples: What to show.
        path: PNG to write; its folder is created.
        columns: Images per row.
        overlay: Draw keypoints (filled = visible, ring = hidden), bones (orange left, blue right) and boxes.
        limit: Number of images.
        zoom: Enlargement of each image.
        parts: Show the part mask below each image.

    Raises:
        DataError: There is nothing to show, or the part mask was asked for and is not known.
    """
    count = min(len(samples), limit)
    if count == 0:
        raise DataError(f"{samples.name} holds no image to show.", "Ask for at least one.")
    if parts and samples.parts is None:
        raise DataError(f"{samples.name} has no part masks.", "Leave parts=False.")
    index = np.arange(count)
    images = np.asarray(samples.images[index]).transpose(0, 2, 3, 1)
    height, width = images.shape[1] * zoom, images.shape[2] * zoom
    step = height * (2 if parts else 1)
    sheet = Image.new("RGB", (columns * width, -(-count // columns) * step))
    masks = np.asarray(samples.parts[index]) if parts and samples.parts is not None else None
    for i in range(count):
        tile = Image.fromarray(images[i]).resize((width, height), Image.Resampling.BICUBIC)
        if overlay:
            _draw_truth(tile, samples, i, zoom)
        corner = (i % columns * width, i // columns * step)
        sheet.paste(tile, corner)
        if masks is not None:
            mask = Image.fromarray(part_colours()[masks[i]]).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(mask, (corner[0], corner[1] + height))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial.png")
    sheet.save(partial)
    partial.replace(path)
    return path


def _draw_truth(tile: Image.Image, samples: Samples, i: int, zoom: int) -> None:
    draw = ImageDraw.Draw(tile)
    if samples.boxes is not None:
        x, y, w, h = (float(v) * zoom for v in samples.boxes[i])
        draw.rectangle((x, y, x + w - 1, y + h - 1), outline=(255, 255, 120))
    if samples.keypoints is None:
        return
    points = samples.keypoints[i]
    at = [((float(x) + 0.5) * zoom, (float(y) + 0.5) * zoom) for x, y, _ in points]
    for a, b in BONES:
        if points[a, 2] > 0 and points[b, 2] > 0:
            both_left, both_right = (a % 2 and b % 2), (a % 2 == 0 and b % 2 == 0 and a and b)
            draw.line((*at[a], *at[b]), fill=_LEFT if both_left else _RIGHT if both_right else _MIDDLE)
    for (x, y), visibility in zip(at, points[:, 2], strict=True):
        if visibility > 0:
            box = (x - 2, y - 2, x + 2, y + 2)
            draw.ellipse(box, fill=(60, 230, 60) if visibility == 2 else None, outline=(230, 50, 50))
