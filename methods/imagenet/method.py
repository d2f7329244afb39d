"""The ImageNet control: what a general classifier already knows of people."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar

from hcbench.errors import WeightsError
from hcbench.methods.base import Context
from hcbench.methods.card import MethodCard
from hcbench.methods.checkpoint.card import TIMM, WEIGHTS
from hcbench.methods.imagenet.card import CARD
from hcbench.methods.parts.control import Control
from hcbench.methods.parts.encoder import Encoder
from hcbench.methods.parts.foreign import timm_model
from hcbench.methods.parts.weights import load_foreign

logger = logging.getLogger(__name__)


class ImageNet(Control):
    """Puts timm's weights into timm's backbone."""

    card: ClassVar[MethodCard] = CARD

    @classmethod
    def own_encoder(cls, config: Any, context: Context) -> Encoder:
        """The backbone with the weights of the file; see `load_foreign`."""
        if WEIGHTS not in context.files:
            raise WeightsError("The method imagenet was given no file.", "See `hcbench run --methods imagenet`.")
        adapt = timm_model(context.backbone.removeprefix(TIMM))
        encoder, report = load_foreign(Path(context.files[WEIGHTS]), adapt, context.input_size)
        logger.info("%s", report.text())
        return encoder
