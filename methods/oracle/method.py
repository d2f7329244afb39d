"""The oracle: an encoder that sees nothing, for which the evaluation hands the truth to the metrics."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from hcbench.errors import MethodError
from hcbench.methods.base import Context
from hcbench.methods.card import MethodCard
from hcbench.methods.control import Control
from hcbench.methods.oracle.card import CARD, Config
from hcbench.methods.parts.encoder import Encoder, Features


class OracleEncoder(Encoder):
    """Says how large images are wanted, and nothing else: predictions are the benchmark's own truth."""

    oracle = True

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.input_size, self.grid_size, self.dim = (height, width), (1, 1), 0

    def forward(self, images: Tensor, **knobs: float) -> Features:
        """Refuse: there are no features.

        Raises:
            MethodError: Always.
        """
        raise MethodError(
            "The oracle has no features: its predictions are the truth.",
            "Ask the benchmark's `Task.oracle`, or choose a method with an encoder.",
        )

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments."""
        height, width = self.input_size
        return {"height": height, "width": width}


class Oracle(Control):
    """Puts the oracle in the place of the backbone."""

    card: ClassVar[MethodCard] = CARD

    def __init__(self, config: Config, encoder: Encoder, context: Context) -> None:
        super().__init__(config, OracleEncoder(*context.input_size), context)
