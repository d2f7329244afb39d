from __future__ import annotations

import numpy as np
import pytest

from hcbench.harness.training.sampler import Sampler, plan_stages


@pytest.mark.parametrize("images", [1, 7, 99, 100, 101, 360, 1234])
@pytest.mark.parametrize("per_unit", [1, 5])
def test_images_seen_are_whole_groups_for_all_and_batches_of_equal_size(images, per_unit):
    plans = plan_stages([("a", 0.3), ("b", 0.7)], images, group=5, per_unit=per_unit, units_per_batch=20 // per_unit)
    assert sum(sum(plan.batches) for plan in plans) * per_unit == images // 5 * 5
    for plan in plans:
        assert sum(plan.batches) * per_unit % 5 == 0
        assert not plan.batches or (max(plan.batches) <= 20 // per_unit and max(plan.batches) - min(plan.batches) <= 1)
    assert abs(sum(plans[0].batches) * per_unit - 0.3 * images) <= 5


def draw_all(sampler, batches, units, allowed):
    taken = []
    for step in range(batches):
        while sampler.short_of(units):
            sampler.begin_pass(allowed)
        taken.append(sampler.take(units, step))
    return taken


def test_a_pass_holds_every_group_once_and_a_batch_no_group_twice():
    units = np.repeat(np.arange(11), 3)
    sampler = Sampler(units, per_unit=2, seed=0)
    batches = draw_all(sampler, 22, 5, np.arange(33))
    stream = np.concatenate([units[batch] for batch in batches]).reshape(-1, 2)
    assert (stream[:, 0] == stream[:, 1]).all(), "images of a group stand side by side"
    assert all((np.bincount(stream[:, 0][i * 11 : (i + 1) * 11], minlength=11) == 1).all() for i in range(10))
    assert all(len(np.unique(units[batch])) == 5 for batch in batches)
    assert all(len(np.unique(batch)) == 10 for batch in batches), "without replacement inside a group"


def test_small_groups_repeat_and_large_ones_vary():
    units = np.array([0, 1, 1, 1, 1])
    sampler = Sampler(units, per_unit=2, seed=0)
    batches = draw_all(sampler, 12, 2, np.arange(5))
    assert all((batch == 0).sum() == 2 for batch in batches)
    assert {i for batch in batches for i in batch.tolist()} == {0, 1, 2, 3, 4}


def test_the_stream_depends_on_the_seed_alone_and_goes_on_after_a_state():
    units = np.repeat(np.arange(7), 2)
    first, again, other = (Sampler(units, per_unit=2, seed=seed) for seed in (0, 0, 1))
    expected = draw_all(first, 9, 3, np.arange(14))
    half = draw_all(again, 4, 3, np.arange(14))
    resumed = Sampler(units, per_unit=2, seed=0)
    resumed.load_state_dict(again.state_dict())
    rest = []
    for step in range(4, 9):
        while resumed.short_of(3):
            resumed.begin_pass(np.arange(14))
        rest.append(resumed.take(3, step))
    assert np.array_equal(np.concatenate([*half, *rest]), np.concatenate(expected))
    assert not np.array_equal(np.concatenate(draw_all(other, 9, 3, np.arange(14))), np.concatenate(expected))


def test_a_selection_leaves_images_and_groups_out():
    units = np.repeat(np.arange(6), 2)
    sampler = Sampler(units, per_unit=2, seed=0)
    sampler.begin_pass(np.arange(12))
    sampler.take(4, 0)
    sampler.begin_pass(np.arange(4))  # groups 0 and 1: what waits of the others goes too
    left = sampler.take(2, 1)
    assert set(left.tolist()) <= {0, 1, 2, 3}
