"""Fresh processes: what they give together, and what is said when one dies."""

from __future__ import annotations

import dataclasses
import subprocess

import pytest

from posesearch import child
from posesearch.errors import EnvironmentFault
from posesearch.latency import process
from posesearch.latency.types import Conditions, Measured


def test_fresh_processes(tiny_space):
    found = process.measure_fresh(
        [tiny_space.smallest(), tiny_space.smallest()], Conditions(), processes=2, effort="fast"
    )
    (latency,) = found.values()
    assert found.keys() == {tiny_space.smallest().id}
    assert latency.processes == 2
    assert latency.ci_low_ms <= latency.p50_ms <= latency.ci_high_ms
    assert latency.process_spread >= 0


def test_nothing_to_measure_starts_no_process():
    assert process.measure_fresh([], Conditions()) == {}


def test_a_dying_process_is_reported_with_its_last_words(tiny_space):
    with pytest.raises(EnvironmentFault, match=r"ended with status 5.*\n.*needs a CUDA GPU") as e:
        process.measure_fresh([tiny_space.smallest()], Conditions(runtime="cudagraph"), processes=1)
    assert e.value.exit_code == 5


def test_combined_interval_spans_all_processes():
    def one(p50_ms):
        return Measured(
            p50_ms=p50_ms, p90_ms=p50_ms + 1, ci_low_ms=p50_ms - 0.01, ci_high_ms=p50_ms + 0.01, runtime="eager",
            precision="fp32", device="d", threads=1, batch=1, rounds=20, processes=0, noise="quiet",
        )  # fmt: skip

    both = process.combine([one(2.0), one(2.4)])
    assert (both.p50_ms, both.ci_low_ms, both.ci_high_ms) == pytest.approx((2.2, 1.99, 2.41))
    assert (both.processes, both.rounds, both.noise) == (2, 40, "noisy")
    assert both.process_spread == pytest.approx(0.4 / 2.2)
    assert process.combine([one(2.0), one(2.01)]).noise == "quiet"


def test_combined_keeps_clocks_and_notes():
    def one(device_ms, note):
        return Measured(
            p50_ms=2.0, p90_ms=2.0, ci_low_ms=2.0, ci_high_ms=2.0, runtime="cudagraph", precision="fp16", device="d",
            threads=1, batch=1, rounds=20, processes=0, noise="quiet", memory_format="channels_last",
            device_ms=device_ms, first_call_ms=40.0, notes=("the same", note),
        )  # fmt: skip

    both = process.combine([one(1.0, "first"), one(1.5, "second")])
    assert (both.device_ms, both.first_call_ms, both.memory_format) == (1.25, 40.0, "channels_last")
    assert both.notes == ("the same", "first", "second")
    assert process.combine([dataclasses.replace(one(1.0, "a"), device_ms=None)]).device_ms is None


@pytest.mark.parametrize(("runtime", "at_least_s"), [("eager", 120.0), ("compile", 300.0)])
def test_building_gets_its_time(monkeypatch, tiny_space, runtime, at_least_s):
    asked = []

    def run(*_, timeout, **__):
        asked.append(timeout)
        raise subprocess.TimeoutExpired("x", timeout)

    monkeypatch.setattr(child.subprocess, "run", run)
    with pytest.raises(EnvironmentFault, match="too busy to measure"):
        process.measure_fresh([tiny_space.smallest()], Conditions(runtime=runtime))
    assert asked[0] >= at_least_s
