"""Pose on frozen features: a heat-map head on the token grid, scored by OKS (pycocotools) and PCK.

Boxes are ground truth, the detection score is the mean of the heat-map maxima. Of images cut out of larger ones the
predictions are mapped back and scored in the original image, against the official file where the data has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hcbench.benchmarks.base import FeatureTable, Inputs, Scores, Split, Task
from hcbench.benchmarks.heads import Standardiser, cosine_factor, head_generator, minibatches, one_thread, steps_for
from hcbench.benchmarks.metrics.bootstrap import resample_weights
from hcbench.benchmarks.metrics.keypoints import OksMetrics, PckMetrics, coco_oks, coco_results, decode_heatmaps, pck
from hcbench.benchmarks.pose.card import CARD
from hcbench.benchmarks.pose.head import (
    STRIDE,
    HeatmapHead,
    grid_for,
    heatmaps,
    place_loss,
    prepare_grid,
    to_cells,
    to_pixels,
)
from hcbench.benchmarks.pose.truth import PoseTruth, input_size, original
from hcbench.benchmarks.scoring import best_trial, need, sample_columns, selection
from hcbench.data.samples import Samples

LEARNING_RATES = (3e-3, 1e-2)
SEARCH_SHARE = 0.25
"""Length of the runs that choose the learning rate, as a share of the full one."""
PASSES = 4.0
BATCH_SIZE = 32
WEIGHT_DECAY = 1.0
WIDTH = 64
DECODER = "quarter"
PCK = {"PCK20": 0.2, "PCK10": 0.1, "PCK05": 0.05}


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What heads are trained on.

    Attributes:
        grid: float32 (N, D, h, w), standardised, of the size that the head works on.
        xy: float32 (N, J, 2), joints in heat-map cells.
        weight: float32 (N, J), 1 for joints that train: labelled, hidden ones included, and inside the crop.
        standardise: What made `grid`.
    """

    grid: Tensor
    xy: Tensor
    weight: Tensor
    standardise: Standardiser

    @classmethod
    def of(cls, train: Split) -> Lesson:
        """Prepare the training split once for all heads."""
        x, y, v = torch.from_numpy(need(train.samples, "keypoints")).unbind(-1)
        height, width = input_size(train.samples)
        inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        grid, standardise = prepare_grid(train.features.grid, grid_for((height, width)), None)
        return cls(grid, to_cells(torch.stack([x, y], dim=-1)), ((v > 0) & inside).float(), standardise)


@dataclass(frozen=True, slots=True)
class Probe:
    """A trained head and what it needs to read features."""

    head: HeatmapHead
    standardise: Standardiser

    @torch.no_grad()
    def predict(self, features: FeatureTable) -> dict[str, NDArray[Any]]:
        """`keypoints` float32 (N, J, 2) in crop pixels and `scores` (N, J), heat-map maxima in 0..1."""
        points, scores = [], []
        for grid in features.grid.split(500):
            ready, _ = prepare_grid(grid, self.head.grid_size, self.standardise)
            xy, maximum = decode_heatmaps(heatmaps(self.head(ready)).numpy(), method=DECODER)
            points.append(to_pixels(xy))
            scores.append(maximum)
        return {"keypoints": np.concatenate(points).astype(np.float32), "scores": np.concatenate(scores)}


class Pose(Task):
    """The benchmark `pose`, protocol `frozen`."""

    card = CARD

    _probe: Probe

    @one_thread
    def fit(self, train: Split, val: Split) -> Mapping[str, Any]:
        """Choose the learning rate by validation OKS after short runs, then train at full length."""
        lesson = Lesson.of(train)
        probes = [self._train(lesson, lr, SEARCH_SHARE) for lr in LEARNING_RATES]
        trials = [
            {"readout": "grid", "lr": lr, **self._validate(probe, val)}
            for lr, probe in zip(LEARNING_RATES, probes, strict=True)
        ]
        best = best_trial(trials, "OKS")
        self._probe = self._train(lesson, LEARNING_RATES[best], 1.0)
        chosen = selection(trials, "OKS") | {"trial_length": SEARCH_SHARE}
        self._chosen = chosen | {"final": self._validate(self._probe, val)}
        return self._chosen

    @one_thread
    def predict(self, test: Inputs) -> Mapping[str, NDArray[Any]]:
        """`keypoints` float32 (N, 17, 2) in pixels of the crops, `scores` float32 (N, 17)."""
        return self._probe.predict(test.features)

    def score(self, predictions: Mapping[str, NDArray[Any]], truth: Samples) -> Scores:
        """OKS average precision and PCK in original image pixels; persons are resampled whole."""
        target = PoseTruth.of(truth)
        oks, near = _evaluate(target, predictions)
        image_clusters = target.image_clusters(oks.image_ids)
        weights = resample_weights(image_clusters, replicates=self.config.replicates, seed=CARD.resample_seed)
        own_image = np.searchsorted(oks.image_ids, target.image_id)
        return Scores(
            summary=oks.summary() | _renamed(near.summary()),
            per_sample=sample_columns(truth) | {"oks": _own_oks(oks, len(truth))} | _renamed(near.per_sample()),
            replicates=oks.replicates(weights) | _renamed(near.replicates(weights[:, own_image])),
            record={
                **{f"oks_{key}": value for key, value in oks.protocol.items()},
                **{f"pck_{key}": value for key, value in near.protocol.items()},
                "boxes": "ground truth",
                "area": "as in the data (people: visible mask)",
                "score": "mean over joints of the heat-map maximum",
                "decoder": f"{DECODER}, {STRIDE} px cells, cell centres aligned with the crop",
                "flip_test": False,
                "frame": "crop" if truth.crop_center is None else "original image",
                "ground_truth": "samples" if truth.coco_truth is None else "official file, images of the split",
                "hidden_joints": "count (v = 1 as v = 2)",
                "persons": len(truth),
                "images": len(oks.image_ids),
                "clusters": len(np.unique(image_clusters)),
                "split": truth.name,
                **self._record,
            },
            chosen=self._chosen,
        )

    def oracle(self, truth: Samples) -> Mapping[str, NDArray[Any]]:
        """The labelled joints with score 1; of one that nobody labelled no place is known: score 0 at (0, 0)."""
        keypoints = need(truth, "keypoints")
        labelled = keypoints[..., 2] > 0
        places = np.where(labelled[..., None], keypoints[..., :2], 0).astype(np.float32)
        return {"keypoints": places, "scores": labelled.astype(np.float32)}

    def _validate(self, probe: Probe, val: Split) -> dict[str, float]:
        """Mean OKS, AP50 and PCK on validation.

        Mean OKS chooses: AP50 of 900 images is noisy near its floor, and PCK .20 is high for the mean pose already.
        """
        predictions = probe.predict(val.features)
        oks, near = _evaluate(PoseTruth.of(val.samples), predictions)
        return {"OKS": float(np.nanmean(_own_oks(oks, len(val.samples)))), "AP50": oks.ap50} | _renamed(near.summary())

    def _train(self, lesson: Lesson, lr: float, share: float) -> Probe:
        grid, seed = lesson.grid, self.config.head_seed
        head = HeatmapHead(
            grid.shape[1],
            lesson.xy.shape[1],
            (grid.shape[2], grid.shape[3]),
            width=WIDTH,
            generator=head_generator(seed, CARD.name, "init"),
        ).to(memory_format=torch.channels_last)
        decayed = [p for p in head.parameters() if p.ndim > 1]
        plain = [p for p in head.parameters() if p.ndim == 1]
        optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}]
        )
        order = head_generator(seed, CARD.name, "order")
        steps = steps_for(len(grid), BATCH_SIZE, PASSES * self.config.epochs * share)
        for step, index in enumerate(minibatches(len(grid), BATCH_SIZE, steps, order)):
            loss = place_loss(head(grid[index]), lesson.xy[index], lesson.weight[index])
            optimiser.zero_grad()
            loss.backward()
            for group in optimiser.param_groups:
                group["lr"] = lr * cosine_factor(step, steps)
            optimiser.step()
        return Probe(head.eval(), lesson.standardise)


def _evaluate(target: PoseTruth, predictions: Mapping[str, NDArray[Any]]) -> tuple[OksMetrics, PckMetrics]:
    """Score predictions in crop pixels in the frame of the images."""
    points = original(predictions["keypoints"], target.samples)
    # A map without any mass has no maximum; the joint then counts as missed, with score 0.
    joint_scores = np.nan_to_num(predictions["scores"].astype(np.float64))
    results = coco_results(target.image_id, points, joint_scores.mean(axis=1), joint_scores)
    near = pck(points, target.keypoints[..., :2], target.visible, target.boxes, thresholds=tuple(PCK.values()))
    return coco_oks(target.official, results), near


def _renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """PCK values under the names of the card."""
    return {name: values[f"pck_{threshold:g}"] for name, threshold in PCK.items()}


def _own_oks(oks: OksMetrics, count: int) -> NDArray[np.float64]:
    """OKS of each prediction with the best person of its image, (N,); NaN where no person of the image counts."""
    values = np.full(count, np.nan)
    for image in oks.images:
        if image.counted.any():
            values[image.result_index] = image.oks[:, image.counted].max(axis=1)
    return values
