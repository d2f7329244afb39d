"""Which of several poses of one image say the same: non-maximum suppression by object keypoint similarity (OKS).

A detector finds some persons twice, and their poses are then nearly equal though their boxes are not. As HRNet does
(leoxiaobin/deep-high-resolution-net.pytorch, lib/nms/nms.py: oks_nms; mmpose's oks_nms is the same).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from hcbench.benchmarks.metrics.arrays import FloatArray, IntArray, coordinates
from hcbench.errors import TaskError

THRESHOLD = 0.9
"""Similarity above which the pose with the lower score goes, in HRNet and mmpose alike."""


def oks_nms(
    keypoints: ArrayLike, scores: ArrayLike, areas: ArrayLike, sigmas: Sequence[float], *, threshold: float = THRESHOLD
) -> IntArray:
    """Keep the best of poses that are alike.

    The similarity of two poses is OKS over all joints, with the mean of their areas.

    Args:
        keypoints: (N, K, 2) poses of one image, x, y in pixels; NaN = no prediction, as if at (0, 0).
        scores: (N,); ties keep the first.
        areas: (N,) in square pixels; HRNet takes those of the crop windows.
        sigmas: Width of each joint.
        threshold: Similarity above which the lower score goes.

    Returns:
        Positions of the poses that stay, in their own order.

    Raises:
        TaskError: Shapes differ, or a score is not finite.

    >>> twice = np.random.default_rng(0).uniform(0, 50, (1, 17, 2)).repeat(3, axis=0)
    >>> twice[2] += 30
    >>> oks_nms(twice, [0.4, 0.6, 0.5], [2500.0] * 3, [0.05] * 17).tolist()
    [1, 2]
    """
    widths = coordinates(sigmas, "sigmas", (None,))
    points = np.nan_to_num(coordinates(keypoints, "keypoints", (None, len(widths), 2)))
    values = coordinates(scores, "scores", (len(points),))
    sizes = coordinates(areas, "areas", (len(points),))
    if not np.isfinite(values).all():
        raise TaskError(f"{np.count_nonzero(~np.isfinite(values))} scores of poses are not finite.")
    kept: list[int] = []
    left = np.argsort(-values, kind="stable")
    while len(left):
        best, left = left[0], left[1:]
        kept.append(int(best))
        left = left[_similarity(points[left], points[best], (sizes[left] + sizes[best]) / 2, widths) <= threshold]
    return np.array(sorted(kept), dtype=np.int64)


def _similarity(points: FloatArray, one: FloatArray, areas: FloatArray, sigmas: FloatArray) -> FloatArray:
    """OKS (N,) of poses with one, all joints counting."""
    squared = np.square(points - one).sum(axis=2)
    error = squared / (2 * sigmas) ** 2 / (areas[:, None] + np.spacing(1)) / 2
    similarity: FloatArray = np.exp(-error).mean(axis=1)
    return similarity
