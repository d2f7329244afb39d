"""Intervals, p-values, corrections and paired samples against closed forms and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hcbench.reports.statistics.intervals import Sample, half_width, holm, p_values, paired


def sample(values, replicates=None, seeds=None) -> Sample:
    values = np.asarray(values, dtype=np.float64)
    seeds = tuple(range(len(values))) if seeds is None else seeds
    return Sample(seeds=seeds, values=values, replicates=None if replicates is None else np.asarray(replicates))


def test_both_parts_are_squared_and_added() -> None:
    expected = np.sqrt(stats.norm.ppf(0.975) ** 2 * 0.04 + stats.t.ppf(0.975, 4) ** 2 * 0.01)
    np.testing.assert_allclose(half_width(0.04, 0.01, 4, 0.05), expected, rtol=1e-12)


def test_without_a_seed_part_it_is_the_normal_interval_whatever_the_freedom() -> None:
    for freedom in (0.0, 2.0, np.inf):
        np.testing.assert_allclose(half_width(0.04, 0.0, freedom, 0.05), stats.norm.ppf(0.975) * 0.2, rtol=1e-12)


def test_without_a_test_part_the_p_value_is_the_t_tests() -> None:
    values = np.array([0.31, 0.35, 0.30, 0.33])
    found = p_values(values.mean(), 0.0, values.var(ddof=1) / 4, 3.0)
    np.testing.assert_allclose(found, stats.ttest_1samp(values, 0.0).pvalue, rtol=1e-6)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0, 4.0])
def test_square_and_add_covers_95_percent_or_a_little_more(seeds: int, ratio: float) -> None:
    """Normal people and seeds; `ratio` = seed part over test part. Exact at both ends, conservative in between."""
    rng = np.random.default_rng(seeds)
    runs = 40_000
    test, seed = rng.normal(0, 1, runs), rng.normal(0, ratio * np.sqrt(seeds), (runs, seeds))
    mean = test + seed.mean(1)
    width = half_width(np.ones(runs), seed.var(1, ddof=1) / seeds, seeds - 1.0, 0.05)
    coverage = np.mean(np.abs(mean) <= width)
    tolerance = 4 * np.sqrt(0.05 * 0.95 / runs)  # four standard errors of a share
    assert coverage >= 0.95 - tolerance
    if ratio == 0:
        assert coverage <= 0.95 + tolerance
    # Welch-Satterthwaite fails this where seeds dominate, the reason for not using it.
    variance = 1 + seed.var(1, ddof=1) / seeds
    if seeds == 2 and ratio == 4:
        freedom = variance**2 / ((variance - 1) ** 2 / (seeds - 1))
        assert np.mean(np.abs(mean) <= stats.t.ppf(0.975, freedom) * np.sqrt(variance)) < 0.90


def test_p_values_are_the_level_at_which_the_interval_touches_zero() -> None:
    rng = np.random.default_rng(0)
    difference, test, spread = rng.normal(0, 0.1, 50), rng.uniform(1e-5, 1e-2, 50), rng.uniform(0, 1e-2, 50)
    freedom = rng.uniform(1, 9, 50)
    p = p_values(difference, test, spread, freedom)
    np.testing.assert_allclose(half_width(test, spread, freedom, p), np.abs(difference), rtol=1e-9)


def test_p_values_do_not_reject_too_often_in_the_tail() -> None:
    """Corrections work at levels of 1e-3 and below: there the rate of false alarms must still hold."""
    rng = np.random.default_rng(1)
    runs, seeds = 1_000_000, 3
    for ratio in (0.3, 1.0, 3.0):
        spread = ratio**2 * rng.chisquare(seeds - 1, runs) / (seeds - 1)
        mean = rng.normal(0, 1, runs) + ratio * rng.normal(0, 1, runs)
        rejected = np.mean(np.abs(mean) > half_width(np.ones(runs), spread, seeds - 1.0, 1e-3))
        assert rejected <= 1e-3 + 4 * np.sqrt(1e-3 / runs)


def test_no_difference_has_p_one_and_what_is_unknown_has_none() -> None:
    found = p_values(np.array([0.0, 0.1, 0.1, np.nan]), 0.0, np.array([0.0, 0.0, np.nan, 1.0]), 2.0)
    assert found[0] == 1.0
    assert found[1] < 1e-12
    assert np.isnan(found[2:]).all()


def test_holm_by_hand_and_by_definition() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.02, np.nan, 0.5])), [0.04, np.nan, 0.5])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]
    assert holm(np.array([])).tolist() == []
    p = np.random.default_rng(0).uniform(0, 0.2, 25)
    # Definition: reject the k smallest as long as each p_(i) <= alpha / (n - i + 1).
    for alpha in (0.01, 0.05, 0.3):
        order, rejected = np.argsort(p), set()
        for step, index in enumerate(order):
            if p[index] > alpha / (len(p) - step):
                break
            rejected.add(int(index))
        assert set(np.flatnonzero(holm(p) <= alpha).tolist()) == rejected


def test_holm_of_many_families_is_that_of_each() -> None:
    p = np.random.default_rng(0).uniform(0, 0.2, (4, 3, 6))
    p[1, 2, 3] = np.nan
    flat = np.array([holm(family) for family in p.reshape(-1, 6)]).reshape(p.shape)
    np.testing.assert_array_equal(holm(p), flat)


def test_pairs_of_one_checkpoint_subtract_columns_and_seeds() -> None:
    a = sample([0.5, 0.6, 0.7], [[0.5, 0.4], [0.6, 0.5], [0.7, 0.6]], seeds=(0, 1, 2))
    b = sample([0.1, 0.3], [[0.2, 0.1], [0.3, 0.3]], seeds=(2, 1))
    found = paired(a, b)
    assert found is not None
    assert found.seeds == (1, 2)
    np.testing.assert_allclose(found.values, [0.3, 0.6])
    np.testing.assert_allclose(found.replicates, [[0.3, 0.2], [0.5, 0.5]])
    assert paired(sample([0.1], seeds=(0,)), sample([0.1], seeds=(1,))) is None


def test_replicates_of_unequal_length_are_not_subtracted() -> None:
    found = paired(sample([0.5, 0.6], np.ones((2, 4))), sample([0.5, 0.6], np.ones((2, 5))))
    assert found is not None
    assert found.replicates is None
