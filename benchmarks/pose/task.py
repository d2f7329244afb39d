"""Pose on frozen features: a heat-map head on the token grid, scored by OKS (pycocotools), PCKh and PCK.

Boxes are ground truth, and the score of a person is the mean of the heat-map maxima; `evaluate.boxes=detected` scores a
detector's boxes, whose scores are factors. Of images cut out of larger ones the predictions are mapped back and scored
in the original image, against the official file where the data has one.
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
from hcbench.benchmarks.metrics.keypoints import decode_heatmaps
from hcbench.benchmarks.metrics.oks_nms import THRESHOLD
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
from hcbench.benchmarks.pose.measures import Measures, criterion, measure
from hcbench.benchmarks.pose.truth import PoseTruth, input_size, is_detected
from hcbench.benchmarks.scoring import best_trial, need, sample_columns, selection
from hcbench.data.formats.person_boxes import DETECTED
from hcbench.data.samples import Samples

LEARNING_RATES = (3e-3, 1e-2)
SEARCH_SHARE = 1 / 6
"""Length of the runs that choose the learning rate, as a share of the full one."""
PASSES = 12.0
BATCH_SIZE = 64
WEIGHT_DECAY = 1.0
WIDTH = 64
DECODER = "quarter"
DETECTED_NEEDS = frozenset({"images", "boxes", "box_scores", "image_id", "crop_center", "crop_size", "coco_truth"})
"""What a detector's boxes must come with; who stands in them is not known."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadTraining:
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
    def of(cls, train: Split) -> HeadTraining:
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

    def skip_reason(self, samples: Samples) -> str | None:
        """Why poses of such samples cannot be scored: a field is missing, the area where OKS is defined among them."""
        needs = self.card.needs | ({"area"} if samples.skeleton.sigmas else set())
        missing = sorted((DETECTED_NEEDS if is_detected(samples) else needs) - samples.known())
        return f"{samples.name} does not know {', '.join(missing)}" if missing else None

    def unscorable_reason(self, samples: Samples) -> str | None:
        """Whether a detector's boxes are asked for where there are none."""
        if self.config.boxes == DETECTED and not is_detected(samples):
            return f"{samples.name} has no boxes of a detector (evaluate.boxes={DETECTED})"
        return None

    def crossing_reason(self, source: Samples, target: Samples) -> str | None:
        """Joints must be the same ones."""
        mine, others = source.skeleton, target.skeleton
        if mine.joints == others.joints:
            return None
        shared = len(set(mine.joints) & set(others.joints))
        return (
            f"heads of {source.name} find the joints of {mine.name}, and {target.name} marks those of {others.name}: "
            f"{shared} of {len(others)} are the same"
        )

    @one_thread
    def fit(self, train: Split, val: Split) -> Mapping[str, Any]:
        """Choose the learning rate by validation (`measures.criterion`) after short runs, then train at full length."""
        training, chooses = HeadTraining.of(train), criterion(val.samples)
        probes = [self._train(training, lr, SEARCH_SHARE) for lr in LEARNING_RATES]
        trials = [
            {"readout": "grid", "lr": lr, **self._validate(probe, val)}
            for lr, probe in zip(LEARNING_RATES, probes, strict=True)
        ]
        best = best_trial(trials, chooses)
        self._probe = self._train(training, LEARNING_RATES[best], 1.0)
        chosen = selection(trials, chooses) | {"trial_length": SEARCH_SHARE}
        self._chosen = chosen | {"final": self._validate(self._probe, val)}
        return self._chosen

    @one_thread
    def predict(self, test: Inputs) -> Mapping[str, NDArray[Any]]:
        """`keypoints` float32 (N, K, 2) in pixels of the crops, `scores` float32 (N, K)."""
        return self._probe.predict(test.features)

    def score(self, predictions: Mapping[str, NDArray[Any]], truth: Samples) -> Scores:
        """OKS average precision, PCKh and PCK in original image pixels; persons are resampled whole."""
        found = measure(PoseTruth.of(truth), predictions)
        image_clusters = found.target.image_clusters(found.image_ids)
        weights = resample_weights(image_clusters, replicates=self.config.replicates, seed=CARD.resample_seed)
        return Scores(
            summary=found.summary(),
            per_sample=sample_columns(truth) | found.per_sample(),
            replicates=found.replicates(weights),
            record={
                **found.record(),
                **_boxes_record(found),
                "joints": truth.skeleton.name,
                "area": "as in the data (people: visible mask)" if found.oks else "not known",
                "decoder": f"{DECODER}, {STRIDE} px cells, cell centres aligned with the crop",
                "flip_test": False,
                "frame": "crop" if truth.crop_center is None else "original image",
                "ground_truth": "samples" if truth.coco_truth is None else "official file, images of the split",
                "hidden_joints": "count (v = 1 as v = 2)",
                "images": len(found.image_ids),
                "left_out": dict((truth.coco_truth or {}).get("left_out", {})),
                "clusters": len(np.unique(image_clusters)),
                "split": truth.name,
                **self._record,
            },
            chosen=self._chosen,
        )

    def oracle(self, truth: Samples) -> Mapping[str, NDArray[Any]] | None:
        """The labelled joints with score 1; of one that nobody labelled no place is known: score 0 at (0, 0).

        None for a detector's boxes, since nobody says who stands in them.
        """
        if is_detected(truth):
            return None
        keypoints = need(truth, "keypoints")
        labelled = keypoints[..., 2] > 0
        places = np.where(labelled[..., None], keypoints[..., :2], 0).astype(np.float32)
        return {"keypoints": places, "scores": labelled.astype(np.float32)}

    def _validate(self, probe: Probe, val: Split) -> dict[str, float]:
        """What validation tells of a head."""
        return measure(PoseTruth.of(val.samples), probe.predict(val.features)).validation()

    def _train(self, training: HeadTraining, lr: float, share: float) -> Probe:
        grid, seed = training.grid, self.config.head_seed
        head = HeatmapHead(
            grid.shape[1],
            training.xy.shape[1],
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
            loss = place_loss(head(grid[index]), training.xy[index], training.weight[index])
            optimiser.zero_grad()
            loss.backward()
            for group in optimiser.param_groups:
                group["lr"] = lr * cosine_factor(step, steps)
            optimiser.step()
        return Probe(head.eval(), training.standardise)


def _boxes_record(found: Measures) -> dict[str, Any]:
    """Whose boxes, and what they do to the results."""
    mean = "mean over joints of the heat-map maximum"
    if not is_detected(found.target.samples):
        return {"boxes": "ground truth", "score": mean, "persons": len(found.target.samples)}
    return {
        "boxes": "detected",
        "score": f"score of the box x {mean}",
        "suppression": f"OKS above {THRESHOLD} with a pose of higher score, by the areas of crop windows (HRNet)",
        "persons": int(found.oks.matches[0].persons.sum()) if found.oks else 0,
        "detections": len(found.target.samples),
        "results": len(found.results),
    }
