"""What is measured of predicted poses: OKS, PCKh and PCK, each where the data define it, NaN where they do not.

OKS takes areas and the widths of the joints, which MPII lacks; PCKh takes heads, which MPII alone marks. PCK takes the
boxes of known persons, so that a detector's boxes have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench.benchmarks.metrics.keypoints import (
    OksMetrics,
    PckhMetrics,
    PckMetrics,
    coco_oks,
    coco_results,
    oks_nms,
    pck,
    pckh,
)
from hcbench.benchmarks.metrics.oks import NAMES
from hcbench.benchmarks.metrics.oks_nms import THRESHOLD
from hcbench.benchmarks.pose.truth import PoseTruth, original
from hcbench.benchmarks.scoring import need
from hcbench.data.samples import Samples
from hcbench.data.skeletons import COCO

PCK = {"PCK20": 0.2, "PCK10": 0.1, "PCK05": 0.05}
PCKH = {"PCKh": 0.5, "PCKh10": 0.1}

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Measures:
    """Everything that is measured of the predictions of a split.

    Attributes:
        target: What they are compared with.
        results: Positions (R,) of the samples that were handed in as COCO results; duplicates in detected boxes go.
        oks: None where OKS is not defined.
        near: PCK; None where persons have no boxes of their own.
        heads: PCKh by the names of `PCKH`; empty where there are no heads to measure by.
    """

    target: PoseTruth
    results: NDArray[np.int64]
    oks: OksMetrics | None
    near: PckMetrics | None
    heads: Mapping[str, PckhMetrics]

    @property
    def image_ids(self) -> tuple[Any, ...]:
        """The images that a resample draws: those of the official file where there is one."""
        return tuple(np.unique(self.target.image_id).tolist()) if self.oks is None else self.oks.image_ids

    @property
    def own_oks(self) -> NDArray[np.float64]:
        """OKS of each prediction with the best person of its image, (N,); NaN where no person of the image counts."""
        values = np.full(len(self.target.samples), np.nan)
        for image in self.oks.images if self.oks else ():
            if image.counted.any():
                values[self.results[image.result_index]] = image.oks[:, image.counted].max(axis=1)
        return values

    def summary(self) -> dict[str, float]:
        """All metrics of the card, and more where they are defined."""
        values = dict.fromkeys((*NAMES, *PCK, *PCKH), np.nan)
        if self.oks:
            values |= self.oks.summary()
        if self.near:
            values |= _renamed(self.near.summary())
        for name, found in self.heads.items():
            values |= _joined(name, found.summary())
        return values

    def per_sample(self) -> Columns:
        """Columns (N,) of what is defined."""
        columns: Columns = {"oks": self.own_oks} if self.oks else {}
        if self.near:
            columns |= _renamed(self.near.per_sample())
        return columns | {name: found.per_sample()["pckh"] for name, found in self.heads.items()}

    def replicates(self, weights: NDArray[np.integer[Any]]) -> dict[str, NDArray[np.float64]]:
        """The metrics of `summary` on resamples, (B,) each.

        Args:
            weights: (B, M) how often each of `image_ids` counts.
        """
        own = weights[:, np.searchsorted(np.asarray(self.image_ids), self.target.image_id)]
        values = {name: np.full(len(weights), np.nan) for name in (*NAMES, *PCK, *PCKH)}
        if self.oks:
            values |= self.oks.replicates(weights)
        if self.near:
            values |= _renamed(self.near.replicates(own))
        for name, found in self.heads.items():
            values |= _joined(name, found.replicates(own))
        return values

    def validation(self) -> dict[str, float]:
        """Validation scores of a trial, the criterion first.

        Mean OKS chooses: AP50 of 900 images is noisy near its floor, and PCK .20 is high for the mean pose already.
        """
        values = {"OKS": float(np.nanmean(self.own_oks)), "AP50": self.oks.ap50} if self.oks else {}
        values |= {name: found.mean for name, found in self.heads.items()}
        return values | ({} if self.near is None else _renamed(self.near.summary()))

    def record(self) -> dict[str, Any]:
        """The rules behind the numbers."""
        facts: dict[str, Any] = {"sigmas": self.target.samples.skeleton.name} if self.oks else {}
        facts |= {f"oks_{key}": value for key, value in (self.oks.protocol if self.oks else {}).items()}
        facts |= {f"pck_{key}": value for key, value in (self.near.protocol if self.near else {}).items()}
        for name, found in self.heads.items():
            facts |= {f"{name}_{key}": value for key, value in found.protocol.items()}
        return facts


def criterion(samples: Samples) -> str:
    """What chooses on a validation split: mean OKS where it is defined, else PCKh where heads are known, else PCK .05.

    MPII's heads are those of its official validation split, which is scored; of a part of its training split PCK .05
    chooses, whose squares, as high as a person, make it nearly as strict as PCKh.
    """
    if samples.skeleton.sigmas:
        return "OKS"
    return "PCK05" if samples.head_boxes is None else "PCKh"


def measure(target: PoseTruth, predictions: Mapping[str, NDArray[Any]]) -> Measures:
    """Score predictions in crop pixels in the frame of the images.

    Args:
        target: The truth.
        predictions: `keypoints` (N, K, 2) and `scores` (N, K).
    """
    points = original(predictions["keypoints"], target.samples)
    # A map without any mass has no maximum; the joint then counts as missed, with score 0.
    scores = np.nan_to_num(predictions["scores"].astype(np.float64))
    results, oks = _oks(target, points, scores)
    near, heads = None, {}
    if target.keypoints is not None:
        truth, visible = target.keypoints[..., :2], target.keypoints[..., 2] > 0
        near = pck(points, truth, visible, target.boxes, thresholds=tuple(PCK.values()))
        if target.heads is not None:  # MPII counts pixels from 1, everything here from 0
            heads = {
                name: pckh(points, truth + 1.0, ~visible, target.heads, threshold=threshold)
                for name, threshold in PCKH.items()
            }
    return Measures(target, results, oks, near, heads)


def _oks(
    target: PoseTruth, points: NDArray[np.float64], scores: NDArray[np.float64]
) -> tuple[NDArray[np.int64], OksMetrics | None]:
    """Which samples are results, and their OKS."""
    everyone = np.arange(len(points))
    if target.official is None:
        return everyone, None
    kept, sigmas, persons = everyone, target.samples.skeleton.sigmas, scores.mean(axis=1)
    # DEVIATION (leoxiaobin/deep-high-resolution-net.pytorch lib/dataset/coco.py, evaluate; mmpose): there poses in
    # ground-truth boxes go through the suppression, too. Such boxes hold a person each, so that a pose like another one
    # is an error to be counted, not a person found twice.
    if target.keypoints is None:
        # HRNet (leoxiaobin/deep-high-resolution-net.pytorch lib/dataset/coco.py, evaluate), and mmpose alike.
        # DEVIATION (the same): every joint counts in the mean, not those above .2 alone, as our maps are
        # probabilities, whose peaks are far below 1.
        persons = persons * need(target.samples, "box_scores")
        kept = _distinct(target, points, persons)
    results = coco_results(target.image_id[kept], points[kept], persons[kept], scores[kept])
    # pycocotools' own widths of COCO's joints differ from the written ones in the last bit.
    return kept, coco_oks(target.official, results, sigmas=None if sigmas == COCO.sigmas else sigmas)


def _distinct(target: PoseTruth, points: NDArray[np.float64], persons: NDArray[np.float64]) -> NDArray[np.int64]:
    """Positions of the detections that are left of each image without those that say the same, in order."""
    samples = target.samples
    areas = need(samples, "crop_size").astype(np.float64).prod(axis=1)
    order = np.argsort(target.image_id, kind="stable")
    _, starts = np.unique(target.image_id[order], return_index=True)
    kept = [
        rows[oks_nms(points[rows], persons[rows], areas[rows], samples.skeleton.sigmas, threshold=THRESHOLD)]
        for rows in np.split(order, starts[1:])
    ]
    return np.sort(np.concatenate(kept))


def _renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """PCK values under the names of the card."""
    return {name: values[f"pck_{threshold:g}"] for name, threshold in PCK.items()}


def _joined(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """PCKh values: the mean under the name of the card, groups of joints behind it (`PCKh_Elbow`)."""
    return {name if key == "mean" else f"{name}_{key}": value for key, value in values.items()}
