from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hcbench.benchmarks.few_shot import few
from hcbench.errors import TaskError


def test_so_many_of_each_person_and_no_distractor(told):
    samples = told["test"].samples
    kept = few(samples, 2, "identity", 0)
    assert (samples.identity[kept] >= 0).all()
    assert np.unique(samples.identity[kept], return_counts=True)[1].tolist() == [2] * 30
    assert kept.tolist() == sorted(kept.tolist())
    assert not np.array_equal(kept, few(samples, 2, "identity", 1))
    np.testing.assert_array_equal(kept, few(samples, 2, "identity", 0))


@pytest.mark.parametrize("per", ["identity", "attribute", "image"])
def test_few_are_part_of_more(told, per):
    samples = told["train"].samples
    one, four = (set(few(samples, shots, per, 0).tolist()) for shots in (1, 4))
    assert one < four


def test_every_attribute_is_shown_and_missing(told):
    samples = told["train"].samples
    labels = samples.attributes[few(samples, 3, "attribute", 0)]
    assert ((labels == 1).sum(axis=0) >= 3).all()
    assert ((labels == 0).sum(axis=0) >= 3).all()


def test_images_in_all_and_no_more_than_there_are(told):
    samples = told["train"].samples
    assert len(few(samples, 7, "image", 0)) == 7
    assert len(few(samples, 10_000, "image", 0)) == len(samples)
    assert len(few(samples, 10_000, "identity", 0)) == len(samples)


def test_what_is_not_known_is_told_of(told):
    with pytest.raises(TaskError, match="identity"):
        few(dataclasses.replace(told["train"].samples, identity=None), 1, "identity", 0)
    with pytest.raises(TaskError, match="per 'camera'"):
        few(told["train"].samples, 1, "camera", 0)
