"""Human parsing: IoU, pixel accuracy and mean class accuracy from one confusion matrix over all images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hcbench.benchmarks.metrics.arrays import AnyArray, FloatArray, IntArray, ratio, to_numpy
from hcbench.benchmarks.metrics.bootstrap import weighted_sums
from hcbench.errors import TaskError


@dataclass(frozen=True, slots=True, eq=False)
class ParsingMetrics:
    """Scores of label maps; fractions 0..1.

    Attributes:
        miou: Mean IoU over *all* classes; a class absent from ground truth and prediction counts 0 (the headline).
        miou_present: Mean IoU over classes that occur in either (the other common convention).
        pixel_accuracy: Share of counted pixels with the right class.
        mean_accuracy: Mean over all classes of their pixel recall; a class absent from the ground truth counts 0.
        mean_accuracy_present: The same over classes that the ground truth holds.
        iou: (C,) IoU per class; NaN for a class that occurs nowhere.
        confusion: (C, C) pixel counts, [ground truth, prediction].
        image_confusion: (N, C, C) the same per image.
        protocol: The rules behind the numbers.
    """

    miou: float
    miou_present: float
    pixel_accuracy: float
    mean_accuracy: float
    mean_accuracy_present: float
    iou: FloatArray
    confusion: IntArray
    image_confusion: IntArray
    protocol: dict[str, str | int]

    def summary(self) -> dict[str, float]:
        """Give the point values under the names that `replicates` uses."""
        names = ("miou", "miou_present", "pixel_accuracy", "mean_accuracy", "mean_accuracy_present")
        return {name: getattr(self, name) for name in names}

    def per_sample(self) -> dict[str, FloatArray]:
        """Give one value per image and name; NaN where an image has no counted pixel."""
        scores = _scores(*_counts(self.image_confusion))
        return {name: scores[name] for name in ("miou_present", "pixel_accuracy")}

    def replicates(self, weights: ArrayLike) -> dict[str, FloatArray]:
        """Evaluate again with each image weighted.

        Args:
            weights: (B, N) how often each image counts in each resample.

        Returns:
            (B,) values under the names of `summary`.
        """
        columns = np.hstack(_counts(self.image_confusion))
        return _scores(*np.split(weighted_sums(weights, columns), 3, axis=1))


def parsing_metrics(
    gt: ArrayLike | Sequence[ArrayLike], pred: ArrayLike | Sequence[ArrayLike], num_classes: int, *, ignore: int = 255
) -> ParsingMetrics:
    """Score predicted label maps.

    Args:
        gt: (H, W) or (N, H, W) integer labels, or a list of N maps of any sizes.
        pred: The same shapes; may hold anything where `gt` is ignored.
        num_classes: Number of classes C; labels run from 0 to C - 1.
        ignore: Ground-truth value of pixels that do not count.

    Raises:
        TaskError: Shapes differ, a label is out of range or no pixel counts.

    >>> result = parsing_metrics([[0, 0, 1, 255]], [[0, 1, 1, 0]], 3)
    >>> result.miou_present, round(result.miou, 4), round(result.pixel_accuracy, 4)
    (0.5, 0.3333, 0.6667)
    """
    truths, predictions = _maps(gt), _maps(pred)
    if [m.shape for m in truths] != [m.shape for m in predictions]:
        raise TaskError("gt and pred have different numbers or shapes of label maps; expected the same.")
    per_image = np.stack(
        [
            _confusion(truth, predicted, num_classes, ignore)
            for truth, predicted in zip(truths, predictions, strict=True)
        ]
    )
    confusion = per_image.sum(axis=0)
    if not confusion.any():
        raise TaskError(f"Every pixel of the ground truth has the ignored label {ignore}; nothing can be scored.")
    hits, truth_count, predicted_count = _counts(confusion[None])
    scores = {name: float(value[0]) for name, value in _scores(hits, truth_count, predicted_count).items()}
    return ParsingMetrics(
        miou=scores["miou"],
        miou_present=scores["miou_present"],
        pixel_accuracy=scores["pixel_accuracy"],
        mean_accuracy=scores["mean_accuracy"],
        mean_accuracy_present=scores["mean_accuracy_present"],
        iou=ratio(hits, truth_count + predicted_count - hits, empty=np.nan)[0],
        confusion=confusion,
        image_confusion=per_image,
        protocol={"num_classes": num_classes, "ignore": ignore, "absent_class": "0 in miou, left out of miou_present"},
    )


def _maps(value: ArrayLike | Sequence[ArrayLike]) -> list[AnyArray]:
    if isinstance(value, list | tuple) and len(value) and to_numpy(value[0]).ndim == 2:
        maps = [to_numpy(item) for item in value]
    else:
        array = to_numpy(value)  # type: ignore[arg-type]
        maps = [array] if array.ndim == 2 else list(array) if array.ndim == 3 else []
    if not maps:
        raise TaskError("Label maps must be (H, W), (N, H, W) or a list of (H, W) arrays, and at least one.")
    if any(not np.issubdtype(item.dtype, np.integer) for item in maps):
        raise TaskError("Label maps must hold integers; take the argmax of scores first.")
    return maps


def _confusion(truth: AnyArray, predicted: AnyArray, num_classes: int, ignore: int) -> IntArray:
    counted = truth != ignore
    rows, columns = truth[counted].astype(np.int64), predicted[counted].astype(np.int64)
    for name, labels in (("gt", rows), ("pred", columns)):
        if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
            raise TaskError(
                f"{name} holds labels from {labels.min()} to {labels.max()}, expected 0..{num_classes - 1}.",
                "Read label images as palette indices, not as colours.",
            )
    flat = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes).astype(np.int64)


def _counts(confusion: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Hits, ground-truth pixels and predicted pixels (N, C) of confusion matrices (N, C, C)."""
    return confusion.diagonal(axis1=1, axis2=2), confusion.sum(axis=2), confusion.sum(axis=1)


def _scores(
    hits: FloatArray | IntArray, truth: FloatArray | IntArray, predicted: FloatArray | IntArray
) -> dict[str, FloatArray]:
    """All summary values of rows of class counts (B, C)."""
    union = truth + predicted - hits
    iou, accuracy = ratio(hits, union, empty=0.0), ratio(hits, truth, empty=0.0)
    empty = np.where(truth.sum(axis=1) > 0, 0.0, np.nan)  # no counted pixel at all: undefined, not zero
    return {
        "miou": iou.mean(axis=1) + empty,
        "miou_present": ratio(iou.sum(axis=1), (union > 0).sum(axis=1), empty=np.nan),
        "pixel_accuracy": ratio(hits.sum(axis=1), truth.sum(axis=1), empty=np.nan),
        "mean_accuracy": accuracy.mean(axis=1) + empty,
        "mean_accuracy_present": ratio(accuracy.sum(axis=1), (truth > 0).sum(axis=1), empty=np.nan),
    }
