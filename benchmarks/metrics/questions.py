"""Pedestrian attributes as questions: how often the one right answer is given, averaged over the questions.

So the authors of the attributes of Market-1501 and DukeMTMC-reID score (Lin et al., Pattern Recognition 2019;
`evaluate_market_attribute.m` of vana77/Market-1501_Attribute @9832cdd): of eight upper colours, nine lower ones and
four ages one answer is taken, of all else yes or no. An image whose person has no right answer, as those without a
colour have none, counts as wrong, and one with two has both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hcbench.benchmarks.metrics.arrays import BoolArray, FloatArray, to_numpy
from hcbench.benchmarks.metrics.attributes import AttributeMetrics
from hcbench.benchmarks.metrics.bootstrap import weighted_means
from hcbench.errors import TaskError

QUESTION_ACCURACY = "question_accuracy"


@dataclass(frozen=True, slots=True, eq=False)
class QuestionMetrics:
    """Accuracy of the answers to Q questions for N persons; fractions 0..1. Without questions all it gives is empty.

    Attributes:
        questions: Their names, in the order of their first attribute.
        right: (N, Q) whether the right answer was given.
        unanswerable: (Q,) how many persons have no right answer, and so lower what can be reached.
    """

    questions: tuple[str, ...]
    right: BoolArray
    unanswerable: tuple[int, ...]

    def summary(self) -> dict[str, float]:
        """The mean over questions of the share of right answers, under its name."""
        return {QUESTION_ACCURACY: float(self.right.mean())} if self.questions else {}

    def replicates(self, weights: ArrayLike) -> dict[str, FloatArray]:
        """The same with each person weighted, (B,) for weights (B, N)."""
        if not self.questions:
            return {}
        return {QUESTION_ACCURACY: weighted_means(weights, self.right.mean(axis=1, keepdims=True))[:, 0]}

    def record(self) -> dict[str, object]:
        """Accuracy by question, and how many images have no right answer."""
        if not self.questions:
            return {}
        shares = dict(zip(self.questions, self.right.mean(axis=0).tolist(), strict=True))
        open_ones = {name: count for name, count in zip(self.questions, self.unanswerable, strict=True) if count}
        return {"accuracy_by_question": shares, "without_right_answer": open_ones}


def question_metrics(metrics: AttributeMetrics, prob: ArrayLike, groups: Sequence[str]) -> QuestionMetrics:
    """Score attribute probabilities by question.

    Args:
        metrics: What `attribute_metrics` gives of the same probabilities: truth and thresholded predictions.
        prob: (N, A) probabilities; of several answers to a question the most probable is taken, the first of equals.
        groups: (A,) the question that each attribute is an answer to, alone or as one of several; empty = not known.

    Raises:
        TaskError: The number of groups is not that of the attributes.

    >>> from hcbench.benchmarks.metrics.attributes import attribute_metrics
    >>> truth, prob = [[1, 1, 0], [0, 0, 1]], [[0.9, 0.2, 0.1], [0.8, 0.4, 0.3]]
    >>> found = question_metrics(attribute_metrics(truth, prob), prob, ("hat", "colour", "colour"))
    >>> found.questions, found.right.tolist(), found.summary()
    (('hat', 'colour'), [[True, True], [False, False]], {'question_accuracy': 0.5})
    """
    probability = to_numpy(prob)
    names = tuple(dict.fromkeys(groups))
    if groups and len(groups) != metrics.gt.shape[1]:
        raise TaskError(
            f"{len(groups)} attribute groups for {metrics.gt.shape[1]} attributes.", "Name one for each attribute."
        )
    right = np.zeros((len(metrics.gt), len(names)), np.bool_)
    unanswerable = []
    for place, name in enumerate(names):
        columns = [column for column, group in enumerate(groups) if group == name]
        truth = metrics.gt[:, columns]
        if len(columns) == 1:
            right[:, place] = metrics.predicted[:, columns[0]] == (truth[:, 0] == 1)
            lacking = truth[:, 0] < 0
        else:
            taken = probability[:, columns].argmax(axis=1)
            right[:, place] = truth[np.arange(len(truth)), taken] == 1
            lacking = ~(truth == 1).any(axis=1)
        right[lacking, place] = False
        unanswerable.append(int(lacking.sum()))
    return QuestionMetrics(names, right, tuple(unanswerable))
