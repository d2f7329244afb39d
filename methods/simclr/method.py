"""SimCLR (Chen et al., ICML 2020, arXiv 2002.05709): with two views per label, the multi-positive loss is NT-Xent."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from hcbench.methods.base import Batch, Context
from hcbench.methods.card import MethodCard
from hcbench.methods.parts.encoder import Encoder
from hcbench.methods.simclr.card import CARD
from hcbench.methods.stablerep.card import Config
from hcbench.methods.stablerep.method import StableRep


class SimCLR(StableRep):
    """StableRep on single images; whatever groups the corpus has stay hidden."""

    card: ClassVar[MethodCard] = CARD

    def __init__(self, config: Config, encoder: Encoder, context: Context) -> None:
        super().__init__(config, encoder, context)
        self.images_per_group = 1

    def labels(self, batch: Batch) -> Tensor:
        """Every image is a label of its own, int64 (B,)."""
        return batch.indices
