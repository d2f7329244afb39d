"""Intervals, p-values and corrections against closed forms and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hcbench.reports.statistics import (
    BOTH,
    NO_INTERVAL,
    SEEDS_ONLY,
    TEST_ONLY,
    Sample,
    estimate,
    half_width,
    holm,
    p_values,
    paired,
)


def sample(values, replicates=None, seeds=None, fixed=False) -> Sample:
    values = np.asarray(values, dtype=np.float64)
    seeds = tuple(range(len(values))) if seeds is None else seeds
    return Sample(
        seeds=seeds, values=values, replicates=None if replicates is None else np.asarray(replicates), fixed=fixed
    )


def test_one_seed_is_the_percentile_bootstrap() -> None:
    replicates = np.random.default_rng(0).gamma(2.0, 0.1, (1, 1000))
    found = estimate(sample([0.2], replicates))
    assert found.kind == TEST_ONLY
    # 1 - .95 is not .05 to the last bit, hence the tolerance.
    np.testing.assert_allclose((found.low, found.high), np.percentile(replicates, (2.5, 97.5)), rtol=1e-12)


def test_without_replicates_it_is_the_students_interval() -> None:
    values = np.array([0.31, 0.35, 0.30, 0.33])
    found = estimate(sample(values))
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    assert found.kind == SEEDS_ONLY
    np.testing.assert_allclose((found.mean, found.low, found.high), (values.mean(), low, high), rtol=1e-12)
    expected = stats.ttest_1samp(values, 0.0).pvalue
    np.testing.assert_allclose(p_values([found]), [expected], rtol=1e-6)


def test_equal_seeds_leave_the_normal_interval_of_test_sampling() -> None:
    replicates = np.tile(np.random.default_rng(0).normal(0.4, 0.02, 500), (3, 1))
    found = estimate(sample([0.4, 0.4, 0.4], replicates))
    deviation = replicates[0].std(ddof=1)
    assert found.kind == BOTH
    np.testing.assert_allclose(found.half_width, stats.norm.ppf(0.975) * deviation, rtol=1e-12)
    np.testing.assert_allclose(p_values([found]), [max(2 * stats.norm.sf(0.4 / deviation), 2e-13)], rtol=1e-6)


def test_both_parts_are_squared_and_added() -> None:
    replicates = np.random.default_rng(0).normal(0.4, 0.02, (3, 500))
    values = np.array([0.38, 0.41, 0.42])
    found = estimate(sample(values, replicates))
    test = stats.norm.ppf(0.975) ** 2 * replicates.mean(0).var(ddof=1)
    seeds = stats.t.ppf(0.975, 2) ** 2 * values.var(ddof=1) / 3
    np.testing.assert_allclose(found.half_width, np.sqrt(test + seeds), rtol=1e-12)


def test_a_single_number_has_no_interval_and_no_p_value() -> None:
    found = estimate(sample([0.4]))
    assert found.kind == NO_INTERVAL
    assert np.isnan(found.low)
    assert np.isnan(p_values([found])[0])


def test_resamples_without_a_value_are_left_out() -> None:
    replicates = np.random.default_rng(0).normal(0.4, 0.02, (2, 100))
    holed = replicates.copy()
    holed[0, :10] = np.nan
    expected = estimate(sample([0.4, 0.41], replicates[:, 10:]))
    assert estimate(sample([0.4, 0.41], holed)).half_width == expected.half_width


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0, 4.0])
def test_coverage_is_at_least_95_percent(seeds: int, ratio: float) -> None:
    """Normal people and seeds; `ratio` = seed part over test part. Exact at both ends, conservative in between."""
    rng = np.random.default_rng(seeds)
    runs = 40_000
    test, seed = rng.normal(0, 1, runs), rng.normal(0, ratio * np.sqrt(seeds), (runs, seeds))
    mean = test + seed.mean(1)
    width = half_width(np.ones(runs), seed.var(1, ddof=1) / seeds, seeds, 0.05)
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


@pytest.mark.parametrize("seeds", [1, 3])
def test_coverage_with_a_real_bootstrap(seeds: int) -> None:
    """Scores of 80 people, their own difficulty and a seed effect; 300 experiments, 200 resamples."""
    rng = np.random.default_rng(0)
    people, runs, spread = 80, 300, 0.05 if seeds > 1 else 0.0
    indices = rng.integers(0, people, (200, people))
    hits = 0
    for _ in range(runs):
        scores = 0.5 + rng.normal(0, 1, people) + rng.normal(0, spread, (seeds, 1))
        scores = scores + rng.normal(0, 0.2, (seeds, people))
        found = estimate(sample(scores.mean(1), scores[:, indices].mean(2)))
        hits += found.low <= 0.5 <= found.high
    error = np.sqrt(0.05 * 0.95 / runs)
    assert 0.95 - 4 * error <= hits / runs <= (0.95 if seeds == 1 else 0.98) + 3 * error


def test_p_values_are_the_level_at_which_the_interval_touches_zero() -> None:
    rng = np.random.default_rng(0)
    for seeds in (2, 3, 6):
        found = estimate(sample(rng.normal(0.05, 0.02, seeds), rng.normal(0.05, 0.02, (seeds, 300))))
        p = p_values([found])[0]
        width = half_width(found.test_variance, found.seed_variance, seeds, p)
        np.testing.assert_allclose(width, abs(found.mean), rtol=1e-9)
        assert (p < 0.05) == (found.low > 0 or found.high < 0)


def test_p_values_do_not_reject_too_often_in_the_tail() -> None:
    """Holm works at levels of 1e-3 and below: there the rate of false alarms must still hold."""
    rng = np.random.default_rng(1)
    runs, seeds = 1_000_000, 3
    for ratio in (0.3, 1.0, 3.0):
        spread = ratio**2 * rng.chisquare(seeds - 1, runs) / (seeds - 1)
        mean = rng.normal(0, 1, runs) + ratio * rng.normal(0, 1, runs)
        rejected = np.mean(np.abs(mean) > half_width(np.ones(runs), spread, seeds, 1e-3))
        assert rejected <= 1e-3 + 4 * np.sqrt(1e-3 / runs)


def test_zero_difference_has_p_one() -> None:
    assert p_values([estimate(sample([0.0, 0.0, 0.0], np.zeros((3, 50))))])[0] == 1.0
    assert p_values([estimate(sample([0.1, 0.1, 0.1], np.full((3, 50), 0.1)))])[0] < 1e-12


def test_holm_by_hand_and_by_definition() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.02, np.nan, 0.5])), [0.04, np.nan, 0.5])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]
    p = np.random.default_rng(0).uniform(0, 0.2, 25)
    # Definition: reject the k smallest as long as each p_(i) <= alpha / (n - i + 1).
    for alpha in (0.01, 0.05, 0.3):
        order, rejected = np.argsort(p), set()
        for step, index in enumerate(order):
            if p[index] > alpha / (len(p) - step):
                break
            rejected.add(int(index))
        assert set(np.flatnonzero(holm(p) <= alpha).tolist()) == rejected


def test_pairs_subtract_columns_and_seeds() -> None:
    a = sample([0.5, 0.6, 0.7], [[0.5, 0.4], [0.6, 0.5], [0.7, 0.6]], seeds=(0, 1, 2))
    b = sample([0.1, 0.3], [[0.2, 0.1], [0.3, 0.3]], seeds=(2, 1))
    found = paired(a, b)
    assert found is not None
    assert found.seeds == (1, 2)
    np.testing.assert_allclose(found.values, [0.3, 0.6])
    np.testing.assert_allclose(found.replicates, [[0.3, 0.2], [0.5, 0.5]])
    assert paired(sample([0.1], seeds=(0,)), sample([0.1], seeds=(1,))) is None


def test_shared_resamples_make_pairs_sharper() -> None:
    people = np.random.default_rng(0).normal(0, 0.05, (1, 400))
    a, b = sample([0.5] * 3, np.tile(people + 0.5, (3, 1))), sample([0.49] * 3, np.tile(people + 0.49, (3, 1)))
    difference = paired(a, b)
    assert difference is not None
    assert estimate(difference).half_width < 1e-9 < 0.05 < estimate(a).half_width


def test_a_fixed_control_is_paired_with_every_seed() -> None:
    method = sample([0.5, 0.6, 0.7], np.full((3, 4), 0.6), seeds=(0, 1, 2))
    control = sample([0.2], np.full((1, 4), 0.2), seeds=(7,), fixed=True)
    forward, backward = paired(method, control), paired(control, method)
    assert forward is not None
    assert backward is not None
    np.testing.assert_allclose(forward.values, [0.3, 0.4, 0.5])
    np.testing.assert_allclose(backward.values, -forward.values)
    np.testing.assert_allclose(forward.replicates, np.full((3, 4), 0.4))


def test_replicates_of_unequal_length_are_not_subtracted() -> None:
    found = paired(sample([0.5, 0.6], np.ones((2, 4))), sample([0.5, 0.6], np.ones((2, 5))))
    assert found is not None
    assert found.replicates is None
