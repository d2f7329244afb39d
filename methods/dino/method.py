"""DINO (Caron et al., ICCV 2021, arXiv 2104.14294): L = L_dino alone; see `methods/solider/method.py`."""

from __future__ import annotations

from typing import ClassVar

from hcbench.methods.card import MethodCard
from hcbench.methods.dino.card import CARD
from hcbench.methods.solider.method import Solider


class DINO(Solider):
    """SOLIDER with semantic_loss = 0, which also drops controller, part head and second stage."""

    card: ClassVar[MethodCard] = CARD
