"""The protocol on clocks of our own, and real measurements checked for structure, never for time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from fake_machine import Clock

from posesearch.latency import measure
from posesearch.latency.call import Call
from posesearch.latency.deploy import deploy
from posesearch.latency.effort import BRIEF, FAST, FULL
from posesearch.latency.measure import (
    SENTINEL_EVERY,
    measure_many,
    pinned_threads,
    round_order,
    time_calls,
    warm_up,
)
from posesearch.latency.statistics import bootstrap_median, relative_to, summarise
from posesearch.latency.types import Conditions, Measured
from posesearch.models.pose import PoseModel


def test_steady_calls_give_their_time(monkeypatch):
    clock = Clock(monkeypatch)
    timings, redone = time_calls({"a": clock.call("a", 2.0), "b": clock.call("b", 3.0)}, "a", BRIEF)
    assert (timings["a"].p50_ms, timings["b"].p50_ms) == (2.0, 3.0)
    assert timings["a"].half_width == 0.0
    assert redone == 0
    assert timings["a"].rounds >= BRIEF.min_rounds


def test_rounds_are_interleaved_and_shuffled(monkeypatch):
    clock = Clock(monkeypatch)
    calls = {name: clock.call(name, 1.0) for name in "abcd"}
    time_calls(calls, "a", BRIEF, warm=frozenset("abcd"))
    visit = BRIEF.unrecorded + BRIEF.recorded
    visits = clock.order[::visit]
    rounds = [tuple(visits[i : i + 4]) for i in range(0, len(visits), 4)]
    assert all(sorted(order) == list("abcd") for order in rounds)
    assert len(set(rounds)) > 1


def test_a_disturbed_round_is_done_again(monkeypatch):
    clock = Clock(monkeypatch)
    visit = FAST.unrecorded + FAST.recorded
    # In the fifth round everything takes three times as long; both networks are measured in it.
    slow = range(4 * visit, 5 * visit)
    counts = {"a": 0, "sentinel": 0}

    def cost(name, usual_ms):
        def now():
            counts[name] += 1
            return usual_ms * (3.0 if counts[name] - 1 in slow else 1.0)

        return now

    calls = {name: clock.call(name, cost(name, ms)) for name, ms in (("a", 2.0), ("sentinel", 1.0))}
    timings, redone = time_calls(calls, "sentinel", FAST, warm=frozenset(calls))
    assert redone == 1
    assert timings["a"].p50_ms == timings["a"].p90_ms == 2.0


@pytest.mark.parametrize("factor", [1.06, 0.9])
def test_a_new_state_of_the_machine_is_what_is_reported(monkeypatch, factor):
    # After the third round everything is 6 % slower (or 10 % faster) for good; eight calls a round, of two networks.
    clock, count = Clock(monkeypatch), [0]

    def cost():
        count[0] += 1
        return 2.0 * (factor if count[0] > 3 * 2 * (BRIEF.unrecorded + BRIEF.recorded) else 1.0)

    calls = {name: clock.call(name, cost) for name in ("a", "sentinel")}
    timings, redone = time_calls(calls, "sentinel", BRIEF, warm=frozenset(calls))
    assert timings["a"].p50_ms == pytest.approx(2.0 * factor)
    assert timings["a"].half_width == 0.0
    assert BRIEF.min_rounds <= timings["a"].rounds <= BRIEF.max_rounds
    assert redone == measure.NEW_STATE_ROUNDS - 1 + 3


def test_restless_machines_still_get_the_least_number_of_rounds(monkeypatch):
    # Two states that take turns every fourth round: most rounds are disturbed, and it must end with enough of them.
    clock, count = Clock(monkeypatch), [0]
    effort = dataclasses.replace(BRIEF, max_rounds=BRIEF.min_rounds, max_s=1e9)

    def cost():
        count[0] += 1
        return 1.0 if (count[0] // (effort.unrecorded + effort.recorded)) % 8 == 0 else 1.0 + (count[0] % 97)

    timings, _ = time_calls({"a": clock.call("a", cost)}, "a", effort, warm=frozenset("a"))
    assert timings["a"].rounds == effort.min_rounds


def test_late_rounds_are_kept_and_their_sentinel_still_counts(monkeypatch):
    # Time is up after the first round; every fourth round is 12 % slower, too short for a change of state.
    clock, count = Clock(monkeypatch), [0]
    effort = dataclasses.replace(BRIEF, min_rounds=20, max_s=0.0)

    def cost():
        count[0] += 1
        return 1.12 if (count[0] - 1) // (effort.unrecorded + effort.recorded) % 4 == 3 else 1.0

    timings, disturbed = time_calls({"a": clock.call("a", cost)}, "a", effort, warm=frozenset("a"))
    assert (timings["a"].rounds, disturbed) == (20, 5)
    assert timings["a"].half_width == 0.0  # the interval alone would call it quiet
    assert measure.failed(disturbed, timings["a"])


def test_fast_takes_35_calls_of_a_slow_network(monkeypatch):
    clock = Clock(monkeypatch)
    calls = {"a": clock.call("a", 200.0), "sentinel": clock.call("sentinel", 20.0)}
    time_calls(calls, "sentinel", FAST, warm=frozenset({"sentinel"}))
    assert clock.order.count("a") == 35


def test_warm_up_is_left_out(monkeypatch):
    clock, count = Clock(monkeypatch), [0]

    def falling():
        count[0] += 1
        return 10.0 if count[0] <= 15 else 1.0

    timings, _ = time_calls({"a": clock.call("a", falling)}, "a", BRIEF)
    assert timings["a"].p90_ms == 1.0


def test_bootstrap_resamples_rounds_not_calls():
    generator = np.random.default_rng(0)
    weather = generator.normal(0, 0.2, size=(30, 1))
    calls = 3.0 + weather + generator.normal(0, 0.001, size=(30, 20))
    low, high = bootstrap_median(calls)
    # 30 rounds of sd 0.2 have a median with a standard error of about 1.25 * 0.2 / sqrt(30) = 0.046.
    assert 0.08 < high - low < 0.35
    assert low <= summarise(calls).p50_ms <= high


def test_threads_are_pinned_and_restored():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), pinned_threads(1):
        assert torch.get_num_threads() == 1
        raise RuntimeError
    assert torch.get_num_threads() == before


def test_two_networks_measured_for_real(tiny_space):
    archs = {"large": tiny_space.largest(), "small": tiny_space.smallest()}
    found = measure_many(
        {name: deploy(PoseModel(arch), Conditions()) for name, arch in archs.items()},
        input_size=(64, 48),
        conditions=Conditions(),
        effort=FAST,
    )
    assert found.keys() == archs.keys()
    for latency in found.values():
        assert isinstance(latency, Measured)
        assert 0 < latency.ci_low_ms <= latency.p50_ms <= latency.p90_ms
        assert latency.p50_ms <= latency.ci_high_ms
        assert latency.rounds >= FAST.min_rounds
        assert (latency.runtime, latency.threads, latency.processes) == ("eager", 1, 0)


def test_a_long_round_visits_the_sentinel_after_every_tenth_network():
    keys = [f"net {number}" for number in range(34)] + ["sentinel"]
    orders = [round_order(keys, "sentinel", number, 0) for number in range(3)]
    assert len({tuple(order) for order in orders}) == 3
    for order in orders:
        assert sorted(order) == sorted([*keys, *["sentinel"] * 3])
        places = [place for place, key in enumerate(order) if key == "sentinel"]
        assert max(np.diff([-1, *places])) <= SENTINEL_EVERY + 1
    assert sorted(round_order(keys[-9:], "sentinel", 0, 0)) == sorted(keys[-9:])


def test_one_slow_visit_of_the_sentinel_is_enough_to_redo_a_long_round(monkeypatch):
    clock, count = Clock(monkeypatch), [0]
    calls = {f"net {number}": clock.call("net", 1.0) for number in range(12)}
    visit = FAST.unrecorded + FAST.recorded

    def cost():
        count[0] += 1
        # Two visits a round; the second one of the fifth round is slow.
        return 5.0 if 9 * visit < count[0] <= 10 * visit else 1.0

    calls["sentinel"] = clock.call("sentinel", cost)
    timings, redone = time_calls(calls, "sentinel", FAST, warm=frozenset(calls))
    assert redone == 1
    assert timings["sentinel"].p90_ms == 1.0


def test_the_full_warm_up_takes_50_calls_and_half_a_second(monkeypatch):
    for cost_ms, calls in ((40.0, 60), (1.0, 500)):
        clock = Clock(monkeypatch)
        warm_up(clock.call("a", cost_ms), FULL)
        assert clock.order.count("a") == calls


def measured_with(monkeypatch, tiny_space, *, busy=(), gpu=((), False), redone=0):
    timing = summarise(np.full((20, 5), 2.0))
    monkeypatch.setattr(measure, "busy_reasons", lambda _conditions: busy)
    monkeypatch.setattr(measure, "gpu_notes", lambda _conditions: gpu)
    monkeypatch.setattr(measure, "time_calls", lambda calls, *_, **__: (dict.fromkeys(calls, timing), redone))
    model = deploy(PoseModel(tiny_space.smallest()), Conditions())
    return measure_many({"a": model}, input_size=(64, 48), conditions=Conditions())["a"]


def test_a_busy_machine_is_measured_and_marked(monkeypatch, tiny_space):
    assert measured_with(monkeypatch, tiny_space).noise == "quiet"
    busy = measured_with(monkeypatch, tiny_space, busy=("busy: load 7.0 over the last minute on 2 cores",))
    assert (busy.p50_ms, busy.noise) == (2.0, "noisy")
    assert busy.notes == ("busy: load 7.0 over the last minute on 2 cores",)


def test_a_throttling_gpu_and_many_redone_rounds_make_figures_noisy(monkeypatch, tiny_space):
    cool = measured_with(monkeypatch, tiny_space, gpu=(("GPU: 1980 SM MHz, throttling: none",), False))
    hot = measured_with(monkeypatch, tiny_space, gpu=(("GPU: throttling: thermal slowdown",), True))
    assert (cool.noise, hot.noise) == ("quiet", "noisy")
    assert len(hot.notes) == 2
    assert measured_with(monkeypatch, tiny_space, redone=2).noise == "quiet"
    assert measured_with(monkeypatch, tiny_space, redone=3).noise == "noisy"


def test_the_first_call_is_reported_apart(monkeypatch, tiny_space):
    found = measured_with(monkeypatch, tiny_space)
    assert found.first_call_ms > 0
    assert found.device_ms is None


def test_the_device_clock_is_the_median_of_calls_of_their_own(monkeypatch):
    times_ms = iter([9.0] + [2.0] * 19)
    monkeypatch.setattr(Call, "device_ms", lambda _call: next(times_ms))
    launched = []
    call = Call(launch=lambda: launched.append(1), device=torch.device("cpu"), stream="a stream")
    assert measure.device_clock_ms(call) == 2.0
    assert len(launched) == 1
    assert measure.device_clock_ms(dataclasses.replace(call, stream=None)) is None


def test_a_neighbour_who_slows_both_down_leaves_the_ratio_to_the_sentinel(monkeypatch):
    clock, count = Clock(monkeypatch), [0]
    calls_a_round = 2 * (BRIEF.unrecorded + BRIEF.recorded)

    def slow_for_some_seconds(usual_ms):
        def cost_ms():
            count[0] += 1
            return usual_ms * (1.0 if count[0] // calls_a_round % 7 < 4 else 1.9)

        return cost_ms

    calls = {
        "a": clock.call("a", slow_for_some_seconds(3.0)),
        "s": clock.call("s", slow_for_some_seconds(2.0)),
    }
    timings, _ = time_calls(calls, "s", dataclasses.replace(BRIEF, sentinel_band=2.0), warm=frozenset("as"))
    assert timings["a"].over_sentinel == pytest.approx(1.5)
    assert timings["s"].over_sentinel == 1.0
    assert timings["a"].half_width > 0.1  # the figure itself stays as uncertain as the machine made it


def test_the_ratio_to_the_sentinel_takes_more_visits_of_the_sentinel():
    network, sentinel = np.full((8, 5), 3.0), np.full((8, 15), 2.0)
    assert relative_to(network, sentinel) == 1.5
    assert summarise(network).over_sentinel == 1.0
