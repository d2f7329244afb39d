"""Text-to-image ReID without a head: captions and images as the encoder's own towers see them.

All test captions of persons are queries, all test images the gallery, ranked by the cosine of the raw vectors; no
re-ranking (Zuo et al., PLIP, NeurIPS 2024, its zero-shot protocol). Nothing is chosen on validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray

from hcbench.benchmarks.base import Inputs, Split
from hcbench.benchmarks.text_reid.task import TextReid
from hcbench.errors import TaskError


class ZeroShotTextReid(TextReid):
    """The benchmark `text-reid`, protocol `zero-shot`: ranked and scored as under `frozen`."""

    zero_shot = True

    def fit(self, train: Split, val: Split) -> Mapping[str, Any]:
        """Nothing is fitted."""
        return {}

    def predict(self, test: Inputs) -> Mapping[str, NDArray[Any]]:
        """As `TextReid.predict`, from the encoder's own vectors.

        Raises:
            TaskError: Captions or vectors are missing, do not belong together, or are not finite.
        """
        if test.captions is None or test.embedded is None or test.embedded.text is None:
            raise TaskError(
                "The test split came without captions or without their vectors.", "They are the inputs: hand them over."
            )
        image, text = test.embedded.image, test.embedded.text
        counts = [len(captions) for captions in test.captions]
        if (len(image), len(text)) != (len(counts), sum(counts)):
            raise TaskError(
                f"There are {len(image)} image and {len(text)} text vectors for {len(counts)} images with "
                f"{sum(counts)} captions.",
                "Hand over one vector of each image, and one of each caption, image after image.",
            )
        if not (bool(image.isfinite().all()) and bool(text.isfinite().all())):
            raise TaskError(
                "The encoder's image or text vectors are not finite.",
                "The encoder has diverged or its checkpoint is damaged.",
            )
        return {
            "image": F.normalize(image, dim=1).numpy(),
            "text": F.normalize(text, dim=1).numpy(),
            "text_image": np.repeat(np.arange(len(counts)), counts),
        }
