"""The pooled vectors of an encoder for many images, in blocks; imports torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hcbench.data.samples import Float
from hcbench.harness.jobs.worker_process import worker_environment
from hcbench.harness.planning.machine import usable_cores

if TYPE_CHECKING:
    from hcbench.harness.scoring.weight_fit import Question

Embed = Callable[[NDArray[np.uint8]], Float]
"""From uint8 (n, 3, H, W) to float32 (n, D)."""


def embedder(question: Question) -> tuple[Embed, tuple[int, int], str]:
    """What a file of weights makes of images.

    Args:
        question: The file, and the input size wanted; hcbench's own checkpoints have theirs.

    Returns:
        A function that embeds images of the encoder's input size; that size, height and width; and how the file fits
        its network, a few lines.

    Raises:
        HcbenchError: See `hcbench.harness.scoring.weight_fit.look`.
    """
    # Before torch is imported: threads that spin cost more than they give.
    threads = worker_environment(usable_cores())
    os.environ.update({name: value for name, value in threads.items() if name not in os.environ})
    import torch

    from hcbench.harness.scoring.weight_fit import opened
    from hcbench.methods.parts.encoder import encode_all

    layout, encoder, report = opened(question)
    encoder = encoder.to("cuda" if torch.cuda.is_available() else "cpu")

    def embed(images: NDArray[np.uint8]) -> Float:
        with torch.inference_mode():
            pooled: Float = encode_all(encoder, images).pooled.numpy().astype(np.float32)
        return pooled

    height, width = encoder.input_size
    text = f"{question.path}: a checkpoint of hcbench, {height}x{width}" if report is None else report.text()
    return embed, (height, width), f"{text}\nRead as {layout}."
