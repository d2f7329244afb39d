"""Weights of a file in the place of a trained encoder, and the same architecture with random weights as its control."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from hcbench.errors import WeightsError
from hcbench.methods.base import Context
from hcbench.methods.card import MethodCard
from hcbench.methods.checkpoint.card import CARD, OWN, VOCABULARY, WEIGHTS, Config
from hcbench.methods.checkpoint.layouts import adapter, normalising
from hcbench.methods.control import Control
from hcbench.methods.parts.checkpoint import load_encoder
from hcbench.methods.parts.encoder import Encoder
from hcbench.methods.parts.weights.fitting import LoadReport, Told, load_foreign
from hcbench.methods.parts.weights.reading import read_weights
from hcbench.methods.parts.weights.wrappers import chosen

logger = logging.getLogger(__name__)


class Checkpoint(Control):
    """Puts an encoder with a file's weights in the place of the backbone."""

    card: ClassVar[MethodCard] = CARD

    @classmethod
    def own_encoder(cls, config: Any, context: Context) -> Encoder:
        """The encoder that `hcbench evaluate` asked for; see `load`."""
        given = {name: Path(path) for name, path in context.files.items()}
        if WEIGHTS not in given:
            raise WeightsError("The method checkpoint was given no file.", "Use `hcbench evaluate FILE`.")
        encoder, report = load(config, given, context.input_size)
        if report is not None:
            logger.info("%s", report.text(most=sys.maxsize))
        return encoder


def load(config: Config, files: Mapping[str, Path], size: tuple[int, int]) -> tuple[Encoder, LoadReport | None]:
    """An encoder with the weights of a file, in evaluation mode on the CPU, and how the file fits it.

    Args:
        config: Layout of the file, and whether the weights are to be random ones instead.
        files: `WEIGHTS`, the file, or a folder of hcbench's own; perhaps `VOCABULARY`, a word list for a text tower.
        size: Input height and width, pixels; hcbench's own checkpoints keep theirs.

    Returns:
        The encoder; the report, None for hcbench's own folders (they fit or are refused) and for random weights.

    Raises:
        WeightsError: The file cannot be read, is of another layout, or fits too badly.
    """
    path = files[WEIGHTS]
    if config.layout == OWN:
        encoder = load_encoder(path)
        return (reset(encoder), None) if config.random else (encoder, None)
    adapt = normalising(adapter(config.layout, files.get(VOCABULARY)), config.normalise)
    if config.random:
        return adapt(chosen(read_weights(path), config.weights_key), size).encoder.eval(), None
    trained_at = tuple(int(side) for side in config.weights_size.split("x")) if config.weights_size else None
    told = Told(key=config.weights_key, size=None if trained_at is None else (trained_at[0], trained_at[1]))
    return load_foreign(path, adapt, size, allow_partial=config.allow_partial, told=told)


def reset(encoder: Encoder) -> Encoder:
    """The same architecture with the weights that it begins with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return type(encoder).from_arguments(encoder.arguments()).eval()
