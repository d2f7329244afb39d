"""Attributes by question, held against the rules of the code of the labels' authors, person by person."""

from __future__ import annotations

import numpy as np
import pytest

from hcbench.benchmarks.metrics.attributes import attribute_metrics
from hcbench.benchmarks.metrics.questions import question_metrics
from hcbench.data.formats.identity_attributes.files import MARKET
from hcbench.errors import TaskError


def test_twelve_questions_as_the_authors_count_them() -> None:
    """Labels 1 and 2, a colour's place: a loop over persons and questions with equality alone, as theirs is."""
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, (200, len(MARKET.names))).astype(np.int8)  # none, one or several colours
    prob = rng.random(truth.shape)
    names = list(MARKET.names)
    by_hand = []
    for name in MARKET.plain:
        column = names.index(name)
        by_hand.append(
            np.mean([1 + (p > 0.5) == 1 + t for t, p in zip(truth[:, column], prob[:, column], strict=True)])
        )
    for answers in (*MARKET.colours.values(), tuple(f"age{step}" for step in MARKET.steps["age"])):
        columns = [names.index(name) for name in answers]
        right = 0
        for person in range(len(truth)):
            taken = max(columns, key=lambda column: prob[person, column])
            right += any(taken == column and 1 + truth[person, column] == 2 for column in columns)
        by_hand.append(right / len(truth))
    assert len(by_hand) == 12
    found = question_metrics(attribute_metrics(truth, prob), prob, MARKET.groups)
    np.testing.assert_allclose(found.right.mean(axis=0), by_hand)
    assert found.summary() == pytest.approx({"question_accuracy": np.mean(by_hand)})
    weights = np.ones((2, 200), np.int64)
    weights[1, :100] = 0
    (replicated,) = found.replicates(weights).values()
    assert replicated == pytest.approx([found.right.mean(), found.right[100:].mean()])


def test_a_label_that_is_not_given_is_no_right_answer() -> None:
    truth, prob = [[-1, 1], [1, 1], [0, 1]], [[0.1, 0.9], [0.9, 0.9], [0.5, 0.2]]
    found = question_metrics(attribute_metrics(truth, prob), prob, ("top", "hat"))
    assert found.right.tolist() == [[False, True], [True, True], [True, False]]
    assert found.unanswerable == (1, 0)


def test_groups_of_other_attributes_are_refused() -> None:
    with pytest.raises(TaskError, match="3 attribute groups for 2 attributes"):
        question_metrics(attribute_metrics([[1, 0]], [[0.9, 0.1]]), [[0.9, 0.1]], ("a", "b", "c"))
