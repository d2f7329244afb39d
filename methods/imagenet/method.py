"""The ImageNet control: what a general classifier already knows of people."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar

from hcbench.errors import WeightsError
from hcbench.methods.base import Context
from hcbench.methods.card import MethodCard
from hcbench.methods.checkpoint.card import TIMM, WEIGHTS
from hcbench.methods.control import Control
from hcbench.methods.imagenet.card import CARD
from hcbench.methods.parts.encoder import Encoder
from hcbench.methods.parts.weights.fitting import load_foreign
from hcbench.methods.parts.weights.foreign import timm_model

logger = logging.getLogger(__name__)


class ImageNet(Control):
    """Puts timm's weights into timm's backbone."""

    card: ClassVar[MethodCard] = CARD

    @classmethod
    def own_encoder(cls, config: Any, context: Context) -> Encoder:
        """The backbone with the weights of the file, see `load_foreign`; one that lacks some is refused.

        Raises:
            WeightsError: There is no file, or it is not all of the backbone.
        """
        if WEIGHTS not in context.files:
            raise WeightsError("The method imagenet was given no file.", "See `hcbench run --methods imagenet`.")
        adapt = timm_model(context.backbone.removeprefix(TIMM))
        path = Path(context.files[WEIGHTS])
        encoder, report = load_foreign(path, adapt, context.input_size)
        if report.missing:
            raise WeightsError(
                f"{path.name} is not all of {context.backbone}, and this row would not say so.\n{report.text()}",
                f"`hcbench evaluate {path} --as {TIMM}{context.backbone.removeprefix(TIMM)}` scores and marks it.",
            )
        logger.info("%s", report.text())
        return encoder
