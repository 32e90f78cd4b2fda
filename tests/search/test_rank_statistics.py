"""Rank statistics: equal to scipy's, right by hand where there are ties, and intervals that can be repeated."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from posesearch.search.rank_statistics import (
    agreement,
    kendall_tau_b,
    regret,
    spearman_rho,
    tau_interval,
    tau_lead,
    tau_within_bins,
)

# Few different values, so that ties are common.
PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=30)


@given(PAIRS)
@settings(max_examples=200, deadline=None)
def test_equal_to_scipy_with_ties(pairs):
    first, second = np.array(pairs, dtype=float).T
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        assert math.isnan(kendall_tau_b(first, second)) and math.isnan(spearman_rho(first, second))
        return
    assert kendall_tau_b(first, second) == pytest.approx(stats.kendalltau(first, second)[0], abs=1e-12)
    assert spearman_rho(first, second) == pytest.approx(stats.spearmanr(first, second)[0], abs=1e-12)


def test_by_hand():
    assert kendall_tau_b([1, 2, 3, 4], [10, 20, 30, 40]) == 1.0
    assert kendall_tau_b([1, 2, 3, 4], [4, 3, 2, 1]) == -1.0
    # Six pairs, one tied in the first score: five concordant of sqrt(5 * 6).
    assert kendall_tau_b([1, 1, 2, 3], [1, 2, 3, 4]) == pytest.approx(5 / math.sqrt(5 * 6))
    assert spearman_rho([1, 2, 3, 4], [1, 4, 9, 16]) == pytest.approx(1.0)
    assert math.isnan(kendall_tau_b([1.0], [1.0]))


@given(PAIRS)
@settings(max_examples=50, deadline=None)
def test_a_resample_is_the_statistic_of_its_networks(pairs):
    # The counts of a resample stand for repeated networks: scipy on the repeated ones must agree.
    from posesearch.search.rank_statistics import _rho, _tau

    first, second = np.array(pairs, dtype=float).T
    rng = np.random.default_rng(0)
    counts = rng.multinomial(len(first), np.full(len(first), 1 / len(first)), size=3).astype(float)
    for row, tau, rho in zip(counts, _tau(first, second, counts), _rho(first, second, counts), strict=True):
        index = np.repeat(np.arange(len(first)), row.astype(int))
        x, y = first[index], second[index]
        if np.ptp(x) == 0 or np.ptp(y) == 0:
            assert math.isnan(tau) and math.isnan(rho)
        else:
            assert tau == pytest.approx(stats.kendalltau(x, y)[0], abs=1e-9)
            assert rho == pytest.approx(stats.spearmanr(x, y)[0], abs=1e-9)


def test_within_bins_is_the_mean_over_bins():
    first = [1, 2, 3, 10, 20, 30, 5]
    second = [1, 2, 3, 30, 20, 10, 7]
    bins = [0, 0, 0, 1, 1, 1, 2]
    assert tau_within_bins(first, second, bins) == 0.0  # +1 and -1; one network alone has no order
    assert tau_within_bins(first[:3], second[:3], bins[:3]) == 1.0
    assert math.isnan(tau_within_bins([1, 2], [1, 2], [0, 1]))


def noisy(seed, networks=24, noise=0.3):
    rng = np.random.default_rng(seed)
    true = rng.normal(size=networks)
    return true + noise * rng.normal(size=networks), true, np.arange(networks) % 4


def test_intervals_can_be_repeated_and_hold_the_value():
    score, ap, bins = noisy(1)
    one, two = (agreement("s", score, ap, bins, seed=3) for _ in range(2))
    assert one == two
    assert agreement("s", score, ap, bins, seed=4) != one
    for interval in (one.tau, one.spearman, one.within_bins):
        assert interval.low <= interval.value <= interval.high
        assert -1.0 <= interval.low < interval.high <= 1.0
    # Another seed moves the ends by little.
    other = agreement("s", score, ap, bins, seed=4)
    assert abs(other.tau.low - one.tau.low) < 0.04


def test_more_networks_narrow_the_interval():
    few, many = (tau_interval(*noisy(2, count)[:2], seed=0) for count in (12, 96))
    assert many.high - many.low < 0.6 * (few.high - few.low)


def test_the_interval_covers_the_true_tau_about_as_often_as_it_says():
    # tau of a bivariate normal is 2 / pi asin(rho) (Greiner); the percentile bootstrap is known to be a little narrow.
    truth = 2 / math.pi * math.asin(1 / math.sqrt(1 + 0.3**2))
    intervals = [tau_interval(*noisy(seed)[:2], seed=seed, resamples=300) for seed in range(150)]
    covered = np.mean([interval.low <= truth <= interval.high for interval in intervals])
    assert 0.85 <= covered <= 0.99


def test_perfect_and_reversed_scores_have_no_interval_to_speak_of():
    ap = np.linspace(0.2, 0.6, 24)
    perfect = tau_interval(ap, ap, seed=0)
    assert (perfect.value, perfect.low, perfect.high) == (1.0, 1.0, 1.0)
    back = tau_interval(-ap, ap, seed=0)
    assert (back.value, back.high) == (-1.0, -1.0)


def test_lead_is_paired():
    score, ap, _ = noisy(5)
    lead = tau_lead(score, score, ap, seed=0)
    assert (lead.value, lead.low, lead.high) == (0.0, 0.0, 0.0)
    assert tau_lead(ap, -ap, ap, seed=0).value == 2.0


def test_regret_by_hand():
    score, ap = [0.9, 0.8, 0.7, 0.1], [0.3, 0.5, 0.4, 0.6]
    assert regret(score, ap, 1) == pytest.approx(0.3)
    assert regret(score, ap, 3) == pytest.approx(0.1)
    assert regret(score, ap, 4) == 0.0
    assert regret([1.0, 1.0], [0.2, 0.3], 1) == pytest.approx(0.1)  # of equal ones the first


def test_undefined_is_null_in_json():
    told = agreement("macs", [1.0, 1.0, 1.0], [0.1, 0.2, 0.3], [0, 0, 1], seed=0).to_plain()
    assert told["tau"] == {"value": None, "low": None, "high": None}
