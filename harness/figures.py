"""Pictures of what a method has learned, drawn at the end of its training."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hcbench.data.budget import name_seed
from hcbench.data.samples import Samples
from hcbench.errors import MethodError
from hcbench.harness.batches import make_batch
from hcbench.harness.files import remove, replacing
from hcbench.harness.folder import FIGURES
from hcbench.methods.base import Method

logger = logging.getLogger(__name__)

IMAGES = 32
"""Images of the view that pictures are drawn from; a method may show fewer."""


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
            for name, picture in pictures.items():
                _as_image(name, picture).save(temporary / f"{name}.png")
    except Exception as error:  # a picture must not lose a cell
        logger.exception("the figures of %s could not be drawn", method.card.name)
        return (f"figures could not be drawn ({type(error).__name__}: {error}); the log says more",)
    return ()


def _as_image(name: str, picture: torch.Tensor) -> Image.Image:
    if picture.dtype != torch.uint8 or picture.ndim != 3 or picture.shape[0] != 3:
        raise MethodError(
            f"The figure {name!r} is {str(picture.dtype).removeprefix('torch.')} {tuple(picture.shape)}.",
            "Give uint8 (3, H, W), RGB.",
        )
    return Image.fromarray(picture.permute(1, 2, 0).contiguous().cpu().numpy())
