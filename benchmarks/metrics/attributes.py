"""Pedestrian attributes: label-based mA and instance-based accuracy, precision, recall and F1.

Ground truth is 1, 0 or -1 (unspecified); a prediction is a probability *strictly above* the threshold. A ratio with
an empty denominator counts 0, as in the public evaluators; attributes for which that happens to mA are named.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hcbench.benchmarks.metrics.arrays import (
    AnyArray,
    BoolArray,
    FloatArray,
    IntArray,
    ratio,
    rounded_as,
    score_matrix,
    to_numpy,
)
from hcbench.benchmarks.metrics.bootstrap import weighted_means, weighted_sums
from hcbench.errors import TaskError


@dataclass(frozen=True, slots=True, eq=False)
class AttributeMetrics:
    """Scores of attribute predictions for N persons and A attributes; fractions 0..1.

    Attributes:
        mA: Mean over attributes of (positive recall + negative recall) / 2.
        ma_defined: The same over attributes with both positives and negatives; NaN when there is none.
        undefined: Indices of the other attributes; each adds at most 0.5 to the mean inside mA.
        accuracy: Mean over persons of |g and p| / |g or p|.
        precision: Mean over persons of |g and p| / |p|.
        recall: Mean over persons of |g and p| / |g|.
        f1: Harmonic mean of the two averages (the headline).
        f1_mean_of_instances: Mean over persons of their own F1 (the alternative; never the same column).
        label_ma: (A,) (positive recall + negative recall) / 2.
        label_positive_recall: (A,) TP / (TP + FN).
        label_negative_recall: (A,) TN / (TN + FP).
        label_precision: (A,) TP / (TP + FP).
        label_accuracy: (A,) TP / (TP + FP + FN).
        label_f1: (A,) harmonic mean of label precision and positive recall.
        label_fp: (A,) false positives.
        label_fn: (A,) false negatives.
        instance_accuracy: (N,) per person, as are the next three.
        instance_precision: (N,).
        instance_recall: (N,).
        instance_f1: (N,).
        gt: (N, A) int8 ground truth.
        predicted: (N, A) thresholded predictions.
        protocol: The rules behind the numbers.
    """

    mA: float
    ma_defined: float
    undefined: tuple[int, ...]
    accuracy: float
    precision: float
    recall: float
    f1: float
    f1_mean_of_instances: float
    label_ma: FloatArray
    label_positive_recall: FloatArray
    label_negative_recall: FloatArray
    label_precision: FloatArray
    label_accuracy: FloatArray
    label_f1: FloatArray
    label_fp: IntArray
    label_fn: IntArray
    instance_accuracy: FloatArray
    instance_precision: FloatArray
    instance_recall: FloatArray
    instance_f1: FloatArray
    gt: AnyArray
    predicted: BoolArray
    protocol: dict[str, str | float | bool]

    def summary(self) -> dict[str, float]:
        """Give the point values under the names that `replicates` uses."""
        names = ("mA", "ma_defined", "accuracy", "precision", "recall", "f1", "f1_mean_of_instances")
        return {name: getattr(self, name) for name in names}

    def per_sample(self) -> dict[str, FloatArray]:
        """Give one value per person and name."""
        return {
            "accuracy": self.instance_accuracy,
            "precision": self.instance_precision,
            "recall": self.instance_recall,
            "f1": self.instance_f1,
        }

    def replicates(self, weights: ArrayLike) -> dict[str, FloatArray]:
        """Evaluate again with each person weighted.

        Args:
            weights: (B, N) how often each person counts in each resample.

        Returns:
            (B,) values under the names of `summary`.
        """
        positive, negative = self.gt == 1, self.gt == 0
        columns = (self.predicted & positive, positive, ~self.predicted & negative, negative)
        found, positives, rejected, negatives = np.split(weighted_sums(weights, np.hstack(columns)), 4, axis=1)
        label_ma = (ratio(found, positives, empty=0.0) + ratio(rejected, negatives, empty=0.0)) / 2
        defined = (positives > 0) & (negatives > 0)
        per_person = np.stack(list(self.per_sample().values()), axis=1)
        accuracy, precision, recall, own_f1 = weighted_means(weights, per_person).T
        return {
            "mA": label_ma.mean(axis=1),
            "ma_defined": ratio((label_ma * defined).sum(axis=1), defined.sum(axis=1), empty=np.nan),
            "accuracy": accuracy,
            "precision": precision,
            "recall": recall,
            "f1": _harmonic(precision, recall),
            "f1_mean_of_instances": own_f1,
        }


def attribute_metrics(
    gt: ArrayLike, prob: ArrayLike, *, threshold: float = 0.5, mask_unspecified: bool = False
) -> AttributeMetrics:
    """Score attribute probabilities.

    Args:
        gt: (N, A) 1, 0 or -1 = unspecified. Label metrics skip unspecified entries.
        prob: (N, A) probabilities 0..1, compared in their own precision, to which the threshold is rounded.
        threshold: A prediction is positive strictly above it.
        mask_unspecified: By default a positive prediction on an unspecified entry still enlarges |p| and the union of
            the instance metrics, as in the public evaluators; True leaves it out.

    Raises:
        TaskError: Shapes differ, there are no persons, a label is not -1, 0 or 1, or a probability lies outside 0..1.

    >>> result = attribute_metrics([[1, 0], [1, 1], [0, 0]], [[0.9, 0.2], [0.4, 0.8], [0.1, 0.5]])
    >>> round(result.recall, 4), result.label_ma.tolist()
    (0.5, [0.75, 1.0])
    """
    probability = score_matrix(prob, "prob", "(persons, attributes)")
    truth = to_numpy(gt)
    if truth.shape != probability.shape:
        raise TaskError(f"gt has shape {truth.shape} and prob {probability.shape}, expected the same (N, A).")
    odd = np.setdiff1d(truth, (-1, 0, 1))
    if odd.size:
        raise TaskError(f"gt holds the labels {odd[:5].tolist()}, expected 1, 0 or -1 (unspecified).")
    if probability.min() < 0 or probability.max() > 1:
        raise TaskError(
            f"prob spans {probability.min():g} to {probability.max():g}, expected probabilities in 0..1.",
            "Pass logits through a sigmoid first.",
        )
    # The threshold is taken in the precision of the scores: a float32 score of 0.45 is not above 0.45.
    predicted = probability > probability.dtype.type(rounded_as(threshold, prob))
    return _evaluate(truth.astype(np.int8), predicted, threshold, mask_unspecified)


def _evaluate(gt: AnyArray, predicted: BoolArray, threshold: float, mask_unspecified: bool) -> AttributeMetrics:
    positive, negative = gt == 1, gt == 0
    hit, false_alarm = positive & predicted, negative & predicted
    tp, fp = hit.sum(axis=0), false_alarm.sum(axis=0)
    positives, negatives = positive.sum(axis=0), negative.sum(axis=0)
    positive_recall = ratio(tp, positives, empty=0.0)
    negative_recall = ratio(negatives - fp, negatives, empty=0.0)
    label_precision = ratio(tp, tp + fp, empty=0.0)
    label_ma = (positive_recall + negative_recall) / 2
    defined = (positives > 0) & (negatives > 0)

    marked = predicted & (gt != -1) if mask_unspecified else predicted
    shared = hit.sum(axis=1)
    instance_accuracy = ratio(shared, (positive | marked).sum(axis=1), empty=0.0)
    instance_precision = ratio(shared, marked.sum(axis=1), empty=0.0)
    instance_recall = ratio(shared, positive.sum(axis=1), empty=0.0)
    instance_f1 = _harmonic(instance_precision, instance_recall)
    precision, recall = instance_precision.mean(), instance_recall.mean()
    return AttributeMetrics(
        mA=float(label_ma.mean()),
        ma_defined=float(label_ma[defined].mean()) if defined.any() else float("nan"),
        undefined=tuple(np.flatnonzero(~defined).tolist()),
        accuracy=float(instance_accuracy.mean()),
        precision=float(precision),
        recall=float(recall),
        f1=float(_harmonic(precision, recall)),
        f1_mean_of_instances=float(instance_f1.mean()),
        label_ma=label_ma,
        label_positive_recall=positive_recall,
        label_negative_recall=negative_recall,
        label_precision=label_precision,
        label_accuracy=ratio(tp, positives + fp, empty=0.0),
        label_f1=_harmonic(label_precision, positive_recall),
        label_fp=fp,
        label_fn=positives - tp,
        instance_accuracy=instance_accuracy,
        instance_precision=instance_precision,
        instance_recall=instance_recall,
        instance_f1=instance_f1,
        gt=gt,
        predicted=predicted,
        protocol={"threshold": threshold, "boundary": ">", "mask_unspecified": mask_unspecified, "empty_ratio": 0.0},
    )


def _harmonic(first: ArrayLike, second: ArrayLike) -> FloatArray:
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    return ratio(2 * one * two, one + two, empty=0.0)
