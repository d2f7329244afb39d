"""Pictures of what a method has learned, drawn at the end of its training."""

from __future__ import annotations

import logging
import math
import textwrap
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont

from hcbench.data.files.under_root import why_outside
from hcbench.data.samples import Samples
from hcbench.data.seeds import name_seed
from hcbench.errors import MethodError
from hcbench.harness.jobs.atomic_files import remove, replacing
from hcbench.harness.jobs.cell_folder import FIGURES
from hcbench.harness.training.batches import make_batch
from hcbench.methods.base import Figure, Method

logger = logging.getLogger(__name__)

IMAGES = 32
"""Images of the view that pictures are drawn from; a method may show fewer."""
_HEIGHT = 128
"""Pixels that a tile is high at the least."""
_GAP, _LINE, _LETTER = 2, 16, 6
"""Pixels between tiles, of a line of text, and of a letter."""


def draw_figures(method: Method, view: Samples, folder: Path, *, seed: int, device: torch.device) -> tuple[str, ...]:
    """Write the method's pictures into `folder`, all or none, and give warnings for the user.

    The images are the same for every method of a seed on the same view. Drawing changes nothing of the method's
    weights and of torch's own generator, and its failure is told of but costs nothing else: pictures are for the eye.
    """
    rng = np.random.default_rng(name_seed("figures", seed))
    picked = np.sort(rng.permutation(len(view))[:IMAGES])
    remove(folder / FIGURES)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(name_seed("figures", "method", seed))
            batch = make_batch(view, picked, method.card.needs, seed=name_seed("figures", "batch", seed), step=0)
            generator = torch.Generator().manual_seed(name_seed("figures", "views", seed))
            with torch.no_grad():
                pictures = method.eval().figures(batch.to(device), generator)
        if not pictures:
            return ()
        with replacing(folder / FIGURES) as temporary:
            temporary.mkdir()
            for name, figure in pictures.items():
                if why := why_outside(f"{name}.png"):
                    raise MethodError(f"A figure is called {name!r}: that {why}.", "Call it by a word.")
                sheet(name, figure).save(temporary / f"{name}.png")
    except Exception as error:  # a picture must not lose a cell
        logger.exception("the figures of %s could not be drawn", method.card.name)
        return (f"figures could not be drawn ({type(error).__name__}: {error}); the log says more",)
    return ()


def sheet(name: str, figure: Figure) -> Image.Image:
    """Lay a figure out: titles, rows of tiles enlarged to pixels that one can see, white lines between, the note.

    Raises:
        MethodError: The tiles are no uint8 pictures, or there is another number of titles than of columns.
    """
    tiles = figure.tiles.detach().cpu()
    if tiles.dtype != torch.uint8 or tiles.ndim != 5 or tiles.shape[2] != 3 or tiles.shape[1] != len(figure.columns):
        found = f"{str(tiles.dtype).removeprefix('torch.')} {tuple(tiles.shape)}"
        raise MethodError(
            f"The figure {name!r} has tiles {found} and {len(figure.columns)} titles.",
            "Give uint8 (rows, columns, 3, h, w), RGB, and a title for each column.",
        )
    factor = max(1, math.ceil(_HEIGHT / tiles.shape[3]))
    tiles = tiles.repeat_interleave(factor, dim=3).repeat_interleave(factor, dim=4)
    rows, columns, _, height, width = tiles.shape
    framed = F.pad(tiles, (_GAP, 0, _GAP, 0), value=255)
    pixels = framed.permute(0, 3, 1, 4, 2).reshape(rows * (height + _GAP), columns * (width + _GAP), 3)
    font = ImageFont.load_default()
    lines = textwrap.wrap(figure.note, max(20, pixels.shape[1] // _LETTER))
    paper = Image.new("RGB", (pixels.shape[1] + _GAP, len(pixels) + _LINE * (1 + len(lines)) + 2 * _GAP), "white")
    paper.paste(Image.fromarray(pixels.numpy()), (0, _LINE))
    draw = ImageDraw.Draw(paper)
    for column, title in enumerate(figure.columns):
        middle = _GAP + column * (width + _GAP) + width / 2
        draw.text((middle, _LINE / 2), title, fill="black", font=font, anchor="mm")
    for number, line in enumerate(lines):
        draw.text((_GAP, _LINE * (1 + number) + len(pixels) + _GAP), line, fill="black", font=font)
    return paper
