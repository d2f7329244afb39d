"""HAP (Yuan et al., NeurIPS 2023, arXiv 2310.20695): L = L_rec + 0.05 L_align; see `methods/genpoccl/method.py`."""

from __future__ import annotations

from typing import ClassVar

from hcbench.methods.card import MethodCard
from hcbench.methods.genpoccl.method import GenPoCCL
from hcbench.methods.hap.card import CARD


class HAP(GenPoCCL):
    """GenPoCCL with gamma_mp = 0, which also drops the [POSE] token."""

    card: ClassVar[MethodCard] = CARD
