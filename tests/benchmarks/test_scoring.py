import dataclasses

import numpy as np
import pytest

from hcbench.benchmarks.scoring import best_trial, clusters, need, sample_columns, selection
from hcbench.errors import TaskError


def test_the_first_of_equal_trials_wins_and_nan_never():
    trials = [{"m": float("nan")}, {"m": 0.4}, {"m": 0.7}, {"m": 0.7}]
    assert best_trial(trials, "m") == 2
    with pytest.raises(TaskError, match="undefined"):
        best_trial(trials[:1], "m")


def test_a_selection_keeps_the_whole_table():
    trials = [{"readout": "cls", "lr": 0.1, "mA": 0.6}, {"readout": "mean", "lr": 0.2, "mA": 0.5}]
    chosen = selection(trials, "mA")
    assert chosen == {"readout": "cls", "lr": 0.1, "criterion": "val mA", "value": 0.6, "trials": trials}


def test_distractors_are_clusters_of_their_own(told):
    samples = told["test"].samples
    groups = clusters(samples)
    person = samples.identity >= 0
    np.testing.assert_array_equal(groups[person], samples.identity[person])
    assert len(np.unique(groups[~person])) == (~person).sum()
    assert (groups[~person] < 0).all()
    unknown = clusters(dataclasses.replace(samples, identity=None))
    assert len(np.unique(unknown)) == len(samples)


def test_columns_follow_the_rows(told):
    samples = told["test"].samples
    rows = np.array([5, 2])
    columns = sample_columns(samples, rows)
    assert columns.keys() == {"sample", "identity", "camera", "slice_half"}
    assert columns["sample"].tolist() == [samples.ids[5], samples.ids[2]]
    assert columns["slice_half"].tolist() == [1, 0]


def test_need_names_what_is_missing(told):
    samples = dataclasses.replace(told["test"].samples, camera=None)
    with pytest.raises(TaskError, match="camera"):
        need(samples, "camera")
