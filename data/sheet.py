"""Contact sheets: what samples look like, with their ground truth drawn over them and their texts below."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hcbench.data.samples import Samples
from hcbench.data.windows import to_crop
from hcbench.errors import DataError

BONES: Final = (
    ("nose", "left_eye"), ("nose", "right_eye"), ("left_eye", "left_ear"), ("right_eye", "right_ear"),
    ("left_shoulder", "right_shoulder"), ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
    ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"), ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"), ("left_hip", "right_hip"), ("left_hip", "left_knee"), ("left_knee", "left_ankle"),
    ("right_hip", "right_knee"), ("right_knee", "right_ankle"),
    ("pelvis", "thorax"), ("thorax", "upper_neck"), ("upper_neck", "head_top"), ("neck", "head_top"), ("neck", "head"),
)  # fmt: skip
"""Joints that a line connects, by name: of every skeleton, those that it has."""
_LEFT, _RIGHT, _MIDDLE = (255, 170, 60), (80, 200, 255), (240, 240, 240)
_CHARACTER, _LINE = 6, 11
"""Width and height of the built-in font, pixels."""
_PAPER, _INK = (24, 24, 28), (225, 225, 225)


def contact_sheet(
    samples: Samples, path: Path, *, columns: int = 10, overlay: bool = False, limit: int = 100, zoom: int = 2,
    part_colours: NDArray[np.uint8] | None = None, texts: Sequence[str] = (),
) -> Path:  # fmt: skip
    """Write the first `limit` images as one picture.

    Args:
        samples: What to show.
        path: PNG to write; its folder is created.
        columns: Images per row.
        overlay: Draw keypoints (filled = visible, ring = hidden), bones (orange left, blue right) and boxes.
        limit: Number of images.
        zoom: Enlargement of each image.
        part_colours: uint8 (parts, 3): show the part mask below each image in these colours.
        texts: What stands below each image, broken into lines.

    Raises:
        DataError: There is nothing to show, or the part mask was asked for and is not known.
    """
    count = min(len(samples), limit)
    if count == 0:
        raise DataError(f"{samples.name} holds no image to show.", "Ask for at least one.")
    if part_colours is not None and samples.parts is None:
        raise DataError(f"{samples.name} has no part masks.", "Leave parts=False.")
    index = np.arange(count)
    images = np.asarray(samples.images[index]).transpose(0, 2, 3, 1)
    height, width = images.shape[1] * zoom, images.shape[2] * zoom
    lines = [_lines(text, width) for text in texts[:count]]
    below = max((len(some) for some in lines), default=0) * _LINE
    step = height * (1 if part_colours is None else 2) + below
    sheet = Image.new("RGB", (min(columns, count) * width, -(-count // columns) * step), _PAPER)
    masks = np.asarray(samples.parts[index]) if part_colours is not None and samples.parts is not None else None
    for i in range(count):
        tile = Image.fromarray(images[i]).resize((width, height), Image.Resampling.BICUBIC)
        if overlay:
            draw_truth(tile, samples, i, zoom)
        x, y = i % columns * width, i // columns * step
        sheet.paste(tile, (x, y))
        if masks is not None and part_colours is not None:
            mask = Image.fromarray(part_colours[masks[i]]).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(mask, (x, y + height))
        if lines:
            ImageDraw.Draw(sheet).multiline_text((x + 2, y + step - below), "\n".join(lines[i]), fill=_INK, spacing=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial.png")
    sheet.save(partial)
    partial.replace(path)
    return path


def draw_truth(tile: Image.Image, samples: Samples, i: int, zoom: int) -> None:
    """Draw box and keypoints of sample `i` into its picture, which is enlarged `zoom` times."""
    draw = ImageDraw.Draw(tile)
    if samples.boxes is not None:
        corners = samples.boxes[i].astype(np.float64)[[[0, 1], [2, 3]]]
        corners[1] += corners[0]
        if samples.crop_center is not None and samples.crop_size is not None:  # the box of the original image
            height, width = tile.height // zoom, tile.width // zoom
            corners = to_crop(corners, samples.crop_center[i], samples.crop_size[i], height, width)
        (left, top), (right, bottom) = corners * zoom
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=(255, 255, 120))
    if samples.keypoints is None:
        return
    points = samples.keypoints[i]
    at = [((float(x) + 0.5) * zoom, (float(y) + 0.5) * zoom) for x, y, _ in points]
    place = {name: number for number, name in enumerate(samples.skeleton.joints)}
    for one, other in BONES:
        ends = [place[name] for name in (one, other) if name in place]
        if len(ends) == 2 and (points[ends, 2] > 0).all():
            sides = {name.partition("_")[0] for name in (one, other)}
            fill = _LEFT if sides == {"left"} else _RIGHT if sides == {"right"} else _MIDDLE
            draw.line((*at[ends[0]], *at[ends[1]]), fill=fill)
    for (x, y), visibility in zip(at, points[:, 2], strict=True):
        if visibility > 0:
            box = (x - 2, y - 2, x + 2, y + 2)
            draw.ellipse(box, fill=(60, 230, 60) if visibility == 2 else None, outline=(230, 50, 50))


def _lines(text: str, width: int, most: int = 8) -> list[str]:
    """A text in lines that fit; letters that the built-in font lacks become question marks."""
    plain = text.encode("latin-1", "replace").decode("latin-1")
    return [
        line
        for part in plain.splitlines()
        for line in textwrap.wrap(part, max(8, width // _CHARACTER), max_lines=most, placeholder=" ...")
    ]
