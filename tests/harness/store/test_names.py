from __future__ import annotations

import random

import pytest
from mlflow.utils.validation import path_not_unique, validate_param_and_metric_name

from hcbench.harness.store.names import (
    LONGEST,
    clashing_names,
    name_trouble,
    real_name,
    shortened_names,
    stored_names,
)


def test_sound_names_stay_as_they_are():
    sound = ["train.main.loss", "reid.mAP", "ledger.wall s", "a/b-c", "gan_invariance.lr", "f:1"]
    assert stored_names(sound) == {name: name for name in sound}
    assert not any(map(name_trouble, sound))


@pytest.mark.parametrize(
    "name", ["variance@1", "k=5", "Δloss", "50%", "a//b", "../up", "/top", ".", "", "_x40_", "tab\t", "\udcff", "💥"]
)
def test_any_name_can_be_stored_and_comes_back(name):
    (stored,) = stored_names([name]).values()
    assert validate_param_and_metric_name(stored)
    assert stored
    assert not path_not_unique(stored)
    assert real_name(stored) == name


def test_no_two_names_are_stored_alike_where_case_and_folders_do_not_count():
    random.seed(3)
    for _ in range(300):
        names = ["".join(random.choices("aAxX_4/.@ é", k=random.randint(0, 7))) for _ in range(6)]
        stored = stored_names(names)
        low = [one.lower() for one in stored.values()]
        assert len(set(low)) == len(low), stored
        assert not any(one.startswith(f"{other}/") for one in low for other in low), stored
        assert [real_name(one) for one in stored.values()] == list(stored)


def test_long_names_are_told_apart_and_known_again_by_the_facts():
    names = ["n" * 400 + end for end in "ab"]
    stored = stored_names(names)
    assert max(map(len, stored.values())) <= LONGEST
    assert len(set(stored.values())) == 2
    facts = shortened_names(stored)
    assert [real_name(stored[name], facts) for name in names] == names


def test_names_that_a_check_complains_of():
    assert "'@'" in name_trouble("p@1")
    assert "251 characters" in name_trouble("n" * 251)
    assert name_trouble("a//b")
    assert clashing_names(["Acc", "loss", "acc"]) == [("Acc", "acc")]
    assert clashing_names(["a/b", "a"]) == [("a", "a/b")]
    assert clashing_names(["a", "ab", "b/a"]) == []
