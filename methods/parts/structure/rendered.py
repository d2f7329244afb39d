"""Structure maps from files: `rendered:<dir>`, grey renders of any body estimator.

Layout, as the authors of GCL keep it: `render/<image>` for the image's own view and `render_45/<image>` ...
`render_315/<image>` for seven others. `<image>` is the image's name, with .png, .jpg or .jpeg where it has no ending.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hcbench.data.files.names import shown
from hcbench.data.files.under_root import why_outside
from hcbench.data.pixels import read_image
from hcbench.errors import DataError
from hcbench.methods.parts.structure.base import StructureProvider, Subjects

TURNS: Final = tuple(range(0, 360, 45))
MOST_COLOUR: Final = 8
"""Largest difference between the channels of a pixel, of 255, in a picture that counts as grey."""
MOST_STRETCH: Final = 0.02
_ENDINGS: Final = ("", ".png", ".jpg", ".jpeg")


class RenderedProvider(StructureProvider):
    """Grey pictures on disk, one channel. That all exist is checked at once, their content when they are read.

    Args:
        folder: Holds `render` and `render_45` ... `render_315`.
        ids: Names of the images of the corpus view.

    Raises:
        DataError: A view of an image is missing.
    """

    def __init__(self, folder: Path, ids: Sequence[str]) -> None:
        self.name, self.channels = f"rendered:{folder}", 1
        self.paths = {turn: [_find(folder / _subfolder(turn), image) for image in ids] for turn in TURNS}
        digest = hashlib.sha256()
        for turn, paths in self.paths.items():
            for path in paths:
                digest.update(f"{turn}/{path.name}/{path.stat().st_size};".encode())
        self.fingerprint = digest.hexdigest()[:16]

    def render(self, subjects: Subjects, yaw: Tensor, size: tuple[int, int]) -> Tensor:
        """See `StructureProvider`; only multiples of 45 degrees exist.

        Raises:
            DataError: A picture is coloured, of another aspect than its image, or of an angle that does not exist.
        """
        maps = []
        for index, angle in zip(subjects.indices.tolist(), yaw.tolist(), strict=True):
            if angle % 360 not in self.paths:
                raise DataError(f"There are no renders turned by {angle:g} degrees.", "Only multiples of 45 exist.")
            maps.append(read_grey(self.paths[int(angle % 360)][index], subjects.frame, size))
        return torch.from_numpy(np.stack(maps)[:, None]).to(subjects.indices.device)


def read_grey(path: Path, frame: tuple[int, int], size: tuple[int, int]) -> NDArray[np.float32]:
    """One render, resized (bicubic) to `size`, float32 (h, w) in [-1, 1].

    Raises:
        DataError: It cannot be read, is coloured, holds 32 bits, or its height:width ratio is not that of images of
            `frame`.
    """
    try:
        picture = read_image(path)
    except DataError as error:
        raise DataError(
            f"The render {path} cannot be read: {error.message}",
            "Render it again, as PNG with 8 or 16 bits of grey: nothing says which number of 32 bits is white.",
        ) from error
    stretch = (picture.height / picture.width) / (frame[0] / frame[1])
    rgb = np.asarray(picture, np.int16)
    if int((rgb.max(axis=2) - rgb.min(axis=2)).max()) > MOST_COLOUR:
        raise DataError(f"The render {path} is coloured.", "Structure must hold no looks: render the body in grey.")
    resized = picture.convert("L").resize((size[1], size[0]), Image.Resampling.BICUBIC)
    if abs(stretch - 1) > MOST_STRETCH:
        raise DataError(
            f"The render {path} is {picture.height}x{picture.width}, its image has the ratio of {frame[0]}x{frame[1]}.",
            "Keep the image's ratio of height to width (within 2 %), or bodies will not lie over each other.",
        )
    return np.asarray(np.asarray(resized, np.float32) / 127.5 - 1.0, np.float32)


def _subfolder(turn: int) -> str:
    return f"render_{turn}" if turn else "render"


def _find(folder: Path, image: str) -> Path:
    if why := why_outside(image):
        raise DataError(f"The image '{shown(image)}' has no render in {folder}: its name {why}.", "Rename the images.")
    for ending in _ENDINGS:
        path = folder / f"{image}{ending}"
        if path.is_file():
            return path
    raise DataError(
        f"There is no render {folder / image} (nor one that ends in .png, .jpg or .jpeg).",
        "Every image needs its own view (render) and seven others (render_45 ... render_315).",
    )
