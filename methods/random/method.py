"""The random control: the backbone every method starts from."""

from __future__ import annotations

from typing import ClassVar

from hcbench.methods.card import MethodCard
from hcbench.methods.control import Control
from hcbench.methods.random.card import CARD


class Random(Control):
    """Keeps the encoder as it was initialised."""

    card: ClassVar[MethodCard] = CARD
