"""Parsing by fine-tuning: the 1x1 convolution of the frozen task, trained together with the encoder.

DEVIATION (tinyvision/SOLIDER-HumanParsing @7bdd9eb): that recipe has a pyramid head with an edge branch (SCHP) and
cycles of self-correction; a light head leaves the comparison to the encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hcbench.benchmarks.base import UnlabelledImages
from hcbench.benchmarks.finetune import FineTune, Learner, TrainingBatch, TrainingSetup, batched
from hcbench.benchmarks.parsing.classes import Classes
from hcbench.benchmarks.parsing.head import enlarging, pixel_classes, pixel_logits, pixel_loss
from hcbench.benchmarks.parsing.task import PIECE, Parsing
from hcbench.benchmarks.scoring import need


class ParsingLearner(Learner):
    """Encoder and a linear classifier of tokens."""

    def __init__(self, setup: TrainingSetup) -> None:
        super().__init__(setup)
        self.train_samples, self.classes = setup.train, Classes.of(setup.train)
        self.size: tuple[int, int] = tuple(need(setup.train, "parts")[0:1].shape[1:])
        channels = self.shapes().grid.shape[1]
        convolution = nn.Conv2d(channels, len(self.classes.names), 1)
        nn.init.normal_(convolution.weight, std=0.01, generator=setup.generator)
        nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        # The frozen task standardises channels once; here they change while the encoder learns.
        self.head = nn.Sequential(nn.BatchNorm2d(channels), convolution)

    def loss(self, batch: TrainingBatch) -> Tensor:
        """Cross-entropy of pixels."""
        masks = torch.from_numpy(self.classes.masks(self.train_samples, batch.index.numpy()))
        target = batch.warp.masks(masks, self.classes.mirrored).to(self.device)
        return pixel_loss(self._logits(self.see(batch.images).grid)[None], target)

    @torch.no_grad()
    def predict(self, unlabelled: UnlabelledImages, batch_size: int) -> Mapping[str, NDArray[Any]]:
        """As `Parsing.predict`."""
        grid = self.table(unlabelled, batch_size).grid
        found = [pixel_classes(self._logits(grid[rows].to(self.device))).cpu() for rows in batched(len(grid), PIECE)]
        return {"labels": torch.cat(found).numpy()}

    def _logits(self, grid: Tensor) -> Tensor:
        """Logits of pixels (B, C, H, W)."""
        rows, columns = (enlarging(*axis).to(grid.device) for axis in zip(grid.shape[2:], self.size, strict=True))
        return pixel_logits(self.head(grid), rows, columns)


class FineTuneParsing(FineTune, Parsing):
    """The benchmark `parsing`, protocol `finetune`."""

    learner = ParsingLearner
    criterion = "miou"
