"""MAE (He et al., CVPR 2022, arXiv 2111.06377): L = L_rec of one random mask; see `methods/genpoccl/method.py`."""

from __future__ import annotations

from typing import ClassVar

from hcbench.methods.card import MethodCard
from hcbench.methods.genpoccl.method import GenPoCCL
from hcbench.methods.mae.card import CARD


class MAE(GenPoCCL):
    """GenPoCCL with both gammas 0 and a random mask."""

    card: ClassVar[MethodCard] = CARD
