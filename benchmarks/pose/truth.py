"""The frame in which poses are scored: the original image where the crop knows it, else the crop itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcbench.benchmarks.metrics.keypoints import coco_ground_truth
from hcbench.benchmarks.scoring import clusters, need
from hcbench.data.samples import Samples
from hcbench.data.skeletons import MPII
from hcbench.data.windows import to_original

Double = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PoseTruth:
    """Persons of a split in the frame of their images, N samples in M images.

    Attributes:
        samples: Where everything comes from.
        keypoints: float64 (N, K, 3), x, y and visibility; None in a detector's boxes, where nobody says who stands.
        boxes: float64 (N, 4), x1, y1, x2, y2.
        image_id: int64 (N,), the image of each sample, from 1 where samples are images of their own.
        official: COCO ground truth of these images: the file of the data where it has one, else made from `samples`;
            None where the joints have no widths, and so OKS is not defined.
    """

    samples: Samples
    keypoints: Double | None
    boxes: Double
    image_id: NDArray[np.int64]
    official: dict[str, Any] | None

    @classmethod
    def of(cls, samples: Samples) -> PoseTruth:
        """Collect what scoring needs.

        Raises:
            TaskError: The samples do not know keypoints, boxes or areas; or, of a detector's boxes, the official file.
        """
        boxes = need(samples, "boxes").astype(np.float64)
        boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        if is_detected(samples):
            # Persons whom the detector missed count too: the truth is the whole file.
            return cls(samples, None, boxes, need(samples, "image_id"), dict(need(samples, "coco_truth")))
        keypoints = need(samples, "keypoints").astype(np.float64)
        keypoints[..., :2] = original(keypoints[..., :2], samples)
        image_id = np.arange(1, len(samples) + 1) if samples.image_id is None else samples.image_id
        if not samples.skeleton.sigmas:
            official = None
        elif samples.coco_truth is None:
            official = coco_ground_truth(image_id, keypoints, boxes, areas=need(samples, "area"))
        else:
            official = _restricted(samples.coco_truth, set(image_id.tolist()))
        return cls(samples, keypoints, boxes, image_id, official)

    @property
    def heads(self) -> Double | None:
        """Corners of the heads, (N, 2, 2), where errors can be measured by them: MPII's joints with head boxes."""
        heads = self.samples.head_boxes
        if heads is None or self.samples.skeleton.joints != MPII.joints:
            return None
        low = heads[:, :2].astype(np.float64)
        return np.stack([low, low + heads[:, 2:]], axis=1)

    def image_clusters(self, image_ids: tuple[int, ...]) -> NDArray[np.int64]:
        """Bootstrap cluster (M,) of each image: its person where samples are images of their own, else the image."""
        if self.samples.image_id is not None:
            return np.asarray(image_ids, np.int64)
        return clusters(self.samples)[np.asarray(image_ids, np.int64) - 1]


def is_detected(samples: Samples) -> bool:
    """Whether the boxes are a detector's."""
    return samples.box_scores is not None


def original(xy: NDArray[np.floating[Any]], samples: Samples) -> Double:
    """Crop pixels (N, J, 2) to pixels of the original images, pixel centres at integers in both; float64."""
    points = xy.astype(np.float64)
    if samples.crop_center is None or samples.crop_size is None:
        return points
    height, width = input_size(samples)
    return to_original(points, samples.crop_center[:, None], samples.crop_size[:, None], height, width)


def input_size(samples: Samples) -> tuple[int, int]:
    """Height and width of the images of a split, pixels."""
    height, width = samples.images[0:1].shape[2:]
    return height, width


def _restricted(truth: Mapping[str, Any], images: set[int]) -> dict[str, Any]:
    """The part of a COCO file about some images; images without a sample hold no person that counts."""
    return {
        **truth,
        "images": [image for image in truth["images"] if image["id"] in images],
        "annotations": [a for a in truth["annotations"] if a["image_id"] in images],
    }
