"""Calibration, scores, bound and noise on numbers whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from posesearch.latency.bound import Bound, conformal_bound
from posesearch.latency.calibrate import calibrate, fit_line, fit_residual
from posesearch.latency.noise import Steadiness, finest_claim, is_busy, run_noise
from posesearch.latency.prices import FACTORS, price_factors
from posesearch.latency.scores import baseline_errors, rank_correlations, score

POSITIVE = st.floats(0.1, 100.0)


@given(constant=st.floats(0.0, 5.0), slope=st.floats(0.1, 3.0), seed=st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_a_line_is_found_exactly(constant, slope, seed):
    x_N = np.random.default_rng(seed).uniform(1.0, 20.0, 12)
    assert fit_line(x_N, constant + slope * x_N) == pytest.approx((constant, slope), abs=1e-8)


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=3, max_size=30))
@settings(max_examples=100, deadline=None)
def test_whatever_is_measured_the_line_is_positive_and_does_not_fall(rows):
    x_N, latency_ms_N = map(np.array, zip(*rows, strict=True))
    constant, slope = fit_line(x_N, latency_ms_N)
    assert slope >= 0
    assert np.all(constant + slope * x_N > 0)


def test_a_line_in_nothing_is_the_best_constant():
    latency_ms_N = np.array([1.0, 2.0, 4.0])
    constant, slope = fit_line(np.zeros(3), latency_ms_N)
    assert slope == 0.0
    grid = np.linspace(0.5, 4.0, 20001)
    errors = ((grid[:, None] / latency_ms_N - 1.0) ** 2).sum(axis=1)
    assert constant == pytest.approx(grid[errors.argmin()], abs=1e-3)


def bent(seed, *, bend, noise, nets=60):
    generator = np.random.default_rng(seed)
    x_N, features_NF = generator.uniform(1, 10, nets), generator.standard_normal((nets, 4))
    latency_ms_N = (0.5 + 1.2 * x_N) * np.exp(
        bend * features_NF[:, 1] + noise * generator.standard_normal(nets)
    )
    return x_N, features_NF, latency_ms_N


def test_the_correction_is_used_only_where_it_helps():
    helped = [calibrate(*bent(seed, bend=0.1, noise=0.01)).residual for seed in range(5)]
    assert all(helped)
    # Of pure noise it learns nothing, and cross-validation sees that.
    assert not any(calibrate(*bent(seed, bend=0.0, noise=0.03)).residual for seed in range(5))
    assert not any(calibrate(*bent(seed, bend=0.1, noise=0.01, nets=19)).residual for seed in range(5))


@given(seed=st.integers(0, 100), far=st.floats(-1e3, 1e3))
@settings(max_examples=30, deadline=None)
def test_no_correction_is_larger_than_any_seen(seed, far):
    x_N, features_NF, latency_ms_N = bent(seed, bend=0.1, noise=0.01)
    constant, slope = fit_line(x_N, latency_ms_N)
    line_ms_N = constant + slope * x_N
    residual = fit_residual(line_ms_N, features_NF, latency_ms_N)
    largest = np.abs(np.log(latency_ms_N / line_ms_N)).max()
    assert abs(np.log(residual.factor([far, far, far, far]))) <= largest + 1e-9


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=3, max_size=40))
@settings(max_examples=60, deadline=None)
def test_scores_agree_with_their_definitions(rows):
    predicted, measured = map(np.array, zip(*rows, strict=True))
    found = score(predicted, measured)
    errors = (predicted - measured) / measured
    assert found.mape == pytest.approx(np.abs(errors).mean())
    assert found.bias == pytest.approx(errors.mean())
    assert found.max == pytest.approx(np.abs(errors).max())
    assert found.hits_5 <= found.hits_10 <= 1.0
    assert found.p95 <= found.max + 1e-12
    if np.ptp(predicted) > 0 and np.ptp(measured) > 0:
        assert found.kendall == pytest.approx(stats.kendalltau(predicted, measured).statistic)


def test_a_common_factor_is_all_that_scores_after_scale_forgive():
    measured = np.array([1.0, 2.0, 5.0])
    found = score(1.2 * measured, measured)
    assert (found.mape, found.bias) == pytest.approx((0.2, 0.2))
    assert found.mape_after_scale == pytest.approx(0.0, abs=1e-12)
    assert (found.hits_5, found.hits_10, found.kendall) == (0.0, 0.0, pytest.approx(1.0))


def test_ranks_of_equal_figures_are_zero_not_undefined():
    assert rank_correlations(np.ones(4), np.arange(4.0)) == (0.0, 0.0)
    assert rank_correlations(np.ones(1), np.ones(1)) == (0.0, 0.0)


def test_baselines_are_perfect_where_the_world_is_theirs():
    depths, macs = np.array([3.0, 4, 5, 9]), np.array([7e8, 1e8, 5e8, 2e8])
    found, after_scale = baseline_errors(
        (depths, macs, 1 + 2 * depths), (depths[:2], macs[:2], 1 + 2 * depths[:2])
    )
    assert found.depth == pytest.approx(0.0, abs=1e-9)
    assert found.macs > 0.05
    assert found.constant > 0.05
    # A second run that is a fifth slower throughout costs the raw error alone, as it does for the table.
    slower = (depths[:2], macs[:2], 1.2 * (1 + 2 * depths[:2]))
    raw, scaled = baseline_errors((depths, macs, 1 + 2 * depths), slower)
    assert (raw.depth, scaled.depth) == (pytest.approx(1 - 1 / 1.2), pytest.approx(0.0, abs=1e-9))
    assert scaled.constant == pytest.approx(after_scale.constant)


def test_the_bound_covers_networks_it_has_not_seen():
    generator = np.random.default_rng(0)
    inside = [
        (lambda bound, error: bound.low <= error <= bound.high)(
            conformal_bound((0.02 + 0.05 * generator.standard_t(3, 40)).tolist()),
            0.02 + 0.05 * generator.standard_t(3),
        )
        for _ in range(3000)
    ]
    # Each end holds for 95 %, both for 90 % at least; 3000 trials scatter by half a point.
    assert 0.89 <= np.mean(inside) <= 0.96


@given(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=60))
@settings(max_examples=80, deadline=None)
def test_a_bound_holds_its_prediction_and_says_what_it_is_worth(errors):
    bound = conformal_bound(errors)
    assert bound.low <= 0.0 <= bound.high
    if len(errors) < 19:
        assert bound.high == max(0.0, *errors)
        assert bound.coverage == pytest.approx(len(errors) / (len(errors) + 1))
    else:
        assert bound.coverage == 0.95
    wider = bound.widened(Bound(low=-0.1, high=0.2, coverage=0.5, nets=3)).at_least(0.15)
    assert wider.low <= min(bound.low, -0.15)
    assert wider.high >= max(bound.high, 0.2)
    assert wider.coverage == bound.coverage


def test_noise_is_what_is_left_after_one_factor():
    first = np.linspace(1.0, 5.0, 50)
    assert run_noise(first, 1.3 * first).mape == pytest.approx(0.0, abs=1e-12)
    assert run_noise(first, 1.3 * first).scale == pytest.approx(1.3)
    assert run_noise(first, 1.3 * first).verdict == "quiet"
    wobbly = first * np.where(np.arange(50) % 2, 1.05, 0.95)
    assert run_noise(first, wobbly).mape == pytest.approx(0.05, rel=0.02)
    assert run_noise(first, wobbly).verdict == "noisy"


def steady(here=(5.0,) * 6, fresh=(5.0, 5.0), half_width=0.004, load=0.2, cores=2):
    return Steadiness(here_ms=here, fresh_ms=fresh, half_width=half_width, load=load, cores=cores)


@pytest.mark.parametrize(
    ("found", "claim"),
    [
        (steady(), 0.01),
        (steady(half_width=0.02), 0.03),
        (steady(fresh=(5.0, 5.3)), 0.10),
        (steady(here=(5.0, 5.0, 5.1, 5.1, 5.2, 5.2)), 0.10),
        (steady(fresh=(5.0, 7.0)), None),
    ],
)
def test_the_claim_is_as_fine_as_the_worst_of_drift_spread_and_interval(found, claim):
    assert found.claim == claim


def test_claims_and_load():
    assert finest_claim(0.01) == 0.01
    assert finest_claim(0.0101) == 0.03
    assert finest_claim(0.2) is None
    assert is_busy(3.0, 2)
    # The measurement itself is one process.
    assert not is_busy(1.5, 2)


def world_of_prices(seed, *, price_error, noise, nets=68, blocks=60):
    """Networks of 8 kinds of block each; the prices that were measured are off by `price_error`."""
    generator = np.random.default_rng(seed)
    measured_ms_B = generator.uniform(0.05, 0.4, blocks)
    true_ms_B = measured_ms_B * (1.0 + price_error * generator.standard_normal(blocks))
    counts_NB = np.zeros((nets, blocks))
    for row in counts_NB:
        row[generator.choice(blocks, 8, replace=False)] = generator.integers(1, 5, 8)
    latency_ms_N = (0.3 + counts_NB @ true_ms_B) * (1.0 + noise * generator.standard_normal(nets))
    return counts_NB * measured_ms_B, latency_ms_N, true_ms_B / measured_ms_B


@pytest.mark.parametrize("seed", range(4))
def test_networks_correct_the_prices_they_contain(seed):
    spent_NB, latency_N, truth_B = world_of_prices(seed, price_error=0.1, noise=0.01)
    unseen_NB = np.pad(spent_NB, ((0, 0), (0, 1)))
    factor_B = price_factors(unseen_NB, latency_N)
    assert factor_B[-1] == 1.0, "a block that no network contains keeps its price"
    found_B = factor_B[:-1] / factor_B[:-1].mean() * truth_B.mean()
    assert np.abs(found_B / truth_B - 1.0).mean() < 0.7 * np.abs(truth_B.mean() / truth_B - 1.0).mean()


@pytest.mark.parametrize("seed", range(4))
def test_prices_that_are_right_are_left_alone(seed):
    spent_NB, latency_N, _ = world_of_prices(seed, price_error=0.0, noise=0.03)
    assert price_factors(spent_NB, latency_N) is None
    few = world_of_prices(seed, price_error=0.1, noise=0.0, nets=19)
    assert price_factors(*few[:2]) is None


@given(seed=st.integers(0, 50), wild=st.floats(0.01, 100.0))
@settings(max_examples=20, deadline=None)
def test_no_price_is_moved_out_of_reason(seed, wild):
    spent_NB, latency_N, _ = world_of_prices(seed, price_error=0.1, noise=0.0)
    latency_N[0] *= wild
    factor_B = price_factors(spent_NB, latency_N)
    assert factor_B is None or np.all((factor_B >= FACTORS[0]) & (factor_B <= FACTORS[1]))
