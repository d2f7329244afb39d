"""Pose by fine-tuning: heat maps with unbiased coordinates (UDP) and flip test, boxes as in the frozen task.

UDP (Huang et al., CVPR 2020): the intervals between cell centres, not the cells, span the crop, so that a mirrored
image gives exactly mirrored maps and the two can be averaged. Heads: `deconv` is ViTPose's simple head with
mean-squared error (Xu et al., NeurIPS 2022); `light` is the frozen task's, with its spatial cross-entropy, which learns
in far fewer steps.

DEVIATION (HAP, ViTPose): no half-body augmentation, which needs whole images around the crops.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hcbench.benchmarks.base import FeatureTable, Scores, UnlabelledImages
from hcbench.benchmarks.finetune import FineTune, Learner, TrainingBatch, TrainingSetup, batched
from hcbench.benchmarks.metrics.keypoints import decode_heatmaps, encode_heatmaps
from hcbench.benchmarks.pose.head import CELLS, HeatmapHead, grid_for, heatmaps, place_loss
from hcbench.benchmarks.pose.measures import criterion
from hcbench.benchmarks.pose.task import WIDTH, Pose
from hcbench.benchmarks.scoring import need
from hcbench.data.samples import ImageArray, Samples
from hcbench.errors import ConfigError
from hcbench.methods.parts.encoder import Encoder

DECODER = "udp"
SIGMA = 2.0
"""Width of the Gaussians of the `deconv` head, in heat-map cells."""
CHANNELS = 256
"""Of both deconvolutions."""
HEADS = ("light", "deconv")


class DeconvHead(nn.Sequential):
    """Two deconvolutions 4x4 with batch norm, then a 1x1 convolution: heat maps at a quarter of the input's size."""

    def __init__(self, channels: int, joints: int, generator: torch.Generator) -> None:
        layers: list[nn.Module] = []
        for width in (channels, CHANNELS):
            layers += [nn.ConvTranspose2d(width, CHANNELS, 4, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(CHANNELS), nn.ReLU(inplace=True)]
        super().__init__(*layers, nn.Conv2d(CHANNELS, joints, 1))
        for layer in self:
            if isinstance(layer, nn.ConvTranspose2d | nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.001, generator=generator)


class PoseLearner(Learner):
    """Encoder and a heat-map head."""

    def __init__(self, setup: TrainingSetup) -> None:
        super().__init__(setup)
        if self.recipe.head not in HEADS:
            raise ConfigError(f"The recipe's head is {self.recipe.head!r}.", f"Pose has {', '.join(HEADS)}.")
        self.keypoints = torch.from_numpy(need(setup.train, "keypoints"))
        self.mirrored = setup.train.skeleton.flip
        height, width = setup.train.images[0:1].shape[2:]
        self.size, self.cells = (height, width), grid_for((height, width))
        joints, channels = self.keypoints.shape[1], self.shapes().grid.shape[1]
        self.head: nn.Module
        if self.recipe.head == "light":
            self.head = HeatmapHead(channels, joints, self.cells, width=WIDTH, generator=setup.generator)
        else:
            self.head = DeconvHead(channels, joints, setup.generator)

    def loss(self, batch: TrainingBatch) -> Tensor:
        """Spatial cross-entropy (`light`) or mean-squared error (`deconv`) over joints that are labelled and inside."""
        keypoints = batch.warp.keypoints(self.keypoints[batch.index], self.mirrored)
        raw, shown = self._raw(self.see(batch.images).grid), keypoints[..., 2] > 0
        if self.recipe.head == "light":
            xy = keypoints[..., :2] / self._pixels_per_cell()
            return place_loss(raw, xy.to(raw.device), shown.to(raw))
        size = {"input_size": self.size[::-1], "heatmap_size": raw.shape[:1:-1]}
        target, weight = encode_heatmaps(keypoints[..., :2].numpy(), shown.numpy(), sigma=SIGMA, method="udp", **size)
        error = F.mse_loss(raw, torch.from_numpy(target).to(raw), reduction="none").mean(dim=(2, 3))
        return (error * torch.from_numpy(weight).to(raw)).mean()

    @torch.no_grad()
    def predict(self, unlabelled: UnlabelledImages, batch_size: int) -> Mapping[str, NDArray[Any]]:
        """As `Pose.predict`."""
        tables = [self.table(unlabelled, batch_size)]
        if self.recipe.flip_test:
            tables.append(self.table(UnlabelledImages(images=Mirrored(unlabelled.images)), batch_size))
        points, scores = [], []
        for rows in batched(len(tables[0]), 500):
            maps = self._maps(tables[0], rows)
            if self.recipe.flip_test:
                maps = (maps + self._maps(tables[1], rows).flip(3)[:, list(self.mirrored)]) / 2
            # The decoder takes logarithms above .001, as of maps whose peaks are near 1.
            peak = maps.amax(dim=(2, 3), keepdim=True)
            xy, _ = decode_heatmaps((maps / peak.clamp_min(1e-12)).numpy(), method=DECODER)
            points.append(xy * self._pixels_per_cell().numpy())
            scores.append(peak[:, :, 0, 0].clamp_min(0).numpy())
        return {"keypoints": np.concatenate(points).astype(np.float32), "scores": np.concatenate(scores)}

    def _maps(self, table: FeatureTable, rows: slice) -> Tensor:
        """Heat maps (n, J, H, W) on the CPU."""
        raw = self._raw(table.grid[rows].to(self.device)).cpu()
        return heatmaps(raw) if self.recipe.head == "light" else raw

    def _raw(self, grid: Tensor) -> Tensor:
        """What the head says of token grids of any size."""
        if tuple(grid.shape[2:]) != self.cells:
            grid = F.interpolate(grid, size=self.cells, mode="bilinear", align_corners=False, antialias=True)
        raw: Tensor = self.head(grid)
        return raw

    def _pixels_per_cell(self) -> Tensor:
        """Distance of cell centres in pixels, (x, y): intervals span the crop."""
        height, width = (CELLS * cells - 1 for cells in self.cells)
        return torch.tensor([(self.size[1] - 1) / width, (self.size[0] - 1) / height])


@dataclass(frozen=True, slots=True)
class Mirrored:
    """Images from the other side."""

    images: ImageArray

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        return self.images[index][..., ::-1]


class FineTunePose(FineTune, Pose):
    """The benchmark `pose`, protocol `finetune`."""

    learner = PoseLearner
    criterion = "OKS"

    def finetune(self, encoder: Encoder, train: Samples, val: Samples, **more: Any) -> Mapping[str, Any]:
        """As every benchmark; validation chooses by what the data define, as in the frozen task."""
        self.criterion = criterion(val)
        return super().finetune(encoder, train, val, **more)

    def judged(self, scores: Scores) -> float:
        """Mean OKS, or the share of joints that are near enough."""
        if self.criterion == "OKS":
            return float(np.nanmean(scores.per_sample["oks"]))
        return super().judged(scores)

    def how(self) -> Mapping[str, Any]:
        """How coordinates are read."""
        return {"decoder": f"{DECODER}, intervals span the crop", "flip_test": self.recipe.flip_test}
