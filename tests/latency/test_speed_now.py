"""How fast the machine is now: predictions follow where that is clear, and nothing moves where it may be noise."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from latency_world import World, as_stored, build_table, measured, quiet, small_space

from posesearch.latency.live import live_check
from posesearch.latency.noise import run_noise
from posesearch.latency.predictor import LatencyPredictor, load_predictor, read_predictor
from posesearch.latency.table import write_table
from posesearch.latency.types import Conditions, latency_from_plain

SPACE = small_space()
SLOWER = 1.022


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return build_table(SPACE, World(noise=0.003), tmp_path_factory.mktemp("table"), nets=12, held_out=6)


def checked(table, *factors, busy=quiet, width=0.0):
    """Checks a machine that is slower by these factors, one an attempt, and measured as precisely as said."""
    attempts = itertools.chain(factors)
    asked = []

    def time_nets(archs, conditions):
        factor = next(attempts)
        asked.append(factor)
        found = as_stored(table, factor=lambda _code: factor)(archs, conditions)
        return {
            key: dataclasses.replace(
                net, ci_low_ms=net.p50_ms * (1 - width), ci_high_ms=net.p50_ms * (1 + width)
            )
            for key, net in found.items()
        }

    check = live_check(table, Conditions(), time_nets=time_nets, busy=busy)
    return check, len(asked)


@pytest.mark.parametrize("factor", [SLOWER, 1 / SLOWER])
def test_a_clear_common_factor_is_timed_twice_and_taken(table, factor):
    check, attempts = checked(table, factor, factor)
    assert check.passed and attempts == 2
    assert check.factor == pytest.approx(factor, abs=2e-3)


def test_an_unchanged_machine_is_timed_once(table):
    check, attempts = checked(table, 1.0)
    assert (check.factor, attempts) == (1.0, 1)


@pytest.mark.parametrize("second", [1.0, 1 / SLOWER, 1.2])
def test_one_slow_moment_scales_nothing_and_refuses_nothing(table, second):
    check, attempts = checked(table, SLOWER, second)
    assert check.passed and attempts == 2
    assert check.factor == 1.0


def test_what_the_live_figures_cannot_resolve_scales_nothing(table):
    assert checked(table, SLOWER, SLOWER, width=0.03)[0].factor == 1.0


def test_a_disturbed_machine_scales_nothing(table):
    check, attempts = checked(table, SLOWER, busy=lambda _conditions: ("load 3.5",))
    assert check.passed and (check.factor, attempts) == (1.0, 1)


def test_what_the_runs_of_the_table_differed_by_is_no_news(tmp_path, table):
    noisy = build_table(SPACE, World(noise=0.03), tmp_path, nets=12, held_out=6)
    assert noisy.noise.p95 > 0.04
    assert checked(noisy, 1.04)[0].factor == 1.0
    runs = [(net.runs_ms[0], 1.04 * net.runs_ms[1]) for net in table.nets]
    nets = tuple(dataclasses.replace(net, runs_ms=ms) for net, ms in zip(table.nets, runs, strict=True))
    slower_run = dataclasses.replace(table, nets=nets, noise=run_noise(*np.array(runs).T))
    assert slower_run.noise.p95 < 0.01
    assert checked(slower_run, 1.03)[0].factor == 1.0


@pytest.mark.parametrize(("noise", "slower"), [(0.003, 1.025), (0.005, 1.025), (0.02, 1.07)])
def test_noise_is_rarely_taken_for_speed_and_speed_is_found(tmp_path, noise, slower):
    made = build_table(SPACE, World(), tmp_path, nets=40, held_out=20)
    true_ms = {net.code: net.runs_ms[0] for net in made.nets} | {made.sentinel: made.sentinel_ms}
    found = {1.0: [], slower: []}
    for trial in range(200):
        generator = np.random.default_rng(trial)
        blur = np.exp(noise * generator.standard_normal((len(made.nets), 2)))
        nets = tuple(
            dataclasses.replace(net, runs_ms=tuple((true_ms[net.code] * row_2).tolist()))
            for net, row_2 in zip(made.nets, blur, strict=True)
        )
        blurred = dataclasses.replace(
            made, nets=nets, noise=run_noise(*np.array([n.runs_ms for n in nets]).T)
        )
        for factor, factors in found.items():

            def now(archs, _conditions, factor=factor, generator=generator):
                blurs = np.exp(noise * generator.standard_normal(len(archs)))
                times_ms = [
                    factor * true_ms[arch.code] * float(b) for arch, b in zip(archs, blurs, strict=True)
                ]
                return {
                    arch.id: measured(ms, ci_low_ms=ms * (1 - noise), ci_high_ms=ms * (1 + noise))
                    for arch, ms in zip(archs, times_ms, strict=True)
                }

            check = live_check(blurred, Conditions(), time_nets=now, busy=quiet)
            if check.passed:
                factors.append(check.factor)
    assert np.mean(np.array(found[1.0]) == 1.0) >= 0.99
    errors, without = np.abs(np.array(found[slower]) / slower - 1.0), 1.0 - 1.0 / slower
    assert len(errors) > 100
    assert errors.max() <= without + 1e-9 and errors.mean() < 0.9 * without
    # Of a noisy table the bound already holds most of what the check allows.
    assert noise > 0.01 or np.median(errors) < 0.25 * without


def test_predictions_are_scaled_labelled_and_read_again(table, tmp_path):
    path = tmp_path / "t.json"
    write_table(path, table)
    slow = as_stored(table, factor=lambda _code: SLOWER)
    now = load_predictor(path, space=SPACE, conditions=Conditions(), time_nets=slow, busy=quiet)
    then = read_predictor(path, space=SPACE)
    assert now.factor == pytest.approx(SLOWER, abs=2e-3) and then.factor == 1.0
    for arch in (SPACE.smallest(), SPACE.largest()):
        scaled, plain = now.predict(arch), then.predict(arch)
        for end in ("latency_ms", "low_ms", "high_ms"):
            assert getattr(scaled, end) == pytest.approx(now.factor * getattr(plain, end), rel=1e-12)
        assert (scaled.factor, scaled.source) == (now.factor, table.id)
        assert latency_from_plain(scaled.to_plain(), "x") == scaled
        older = {key: value for key, value in plain.to_plain().items() if key != "factor"}
        assert latency_from_plain(older, "written before") == plain


@given(exponent=st.integers(-2, 2), errors=st.lists(st.floats(0.8, 1.3), min_size=1, max_size=8))
@settings(max_examples=10, deadline=None)
def test_a_slower_machine_teaches_what_the_same_machine_would(table, exponent, errors):
    factor, plain = 2.0**exponent, LatencyPredictor(table)
    known = {net.code for net in table.nets}
    members = (SPACE.sample(np.random.default_rng(seed)) for seed in itertools.count())
    archs = itertools.islice(
        dict.fromkeys(a for a in itertools.islice(members, 200) if a.code not in known), 8
    )
    seen_ms = {
        arch: error * plain.predict(arch).latency_ms for arch, error in zip(archs, errors, strict=False)
    }
    as_then = plain.refit({arch: measured(ms) for arch, ms in seen_ms.items()})
    slower = LatencyPredictor(table, factor=factor)
    as_now = slower.refit({arch: measured(factor * ms) for arch, ms in seen_ms.items()})
    assert as_now.table == as_then.table and as_now.factor == factor
    doubtful = {arch: measured(factor * ms, noise="noisy") for arch, ms in seen_ms.items()}
    plainly = {arch: measured(ms, noise="noisy") for arch, ms in seen_ms.items()}
    for arch in seen_ms:
        high_ms = slower.refit(doubtful).predict(arch).high_ms
        assert high_ms == pytest.approx(factor * plain.refit(plainly).predict(arch).high_ms, rel=1e-12)
