"""The meter on a clock of our own: measured once, drift divided out, one scale from first to last."""

from __future__ import annotations

import dataclasses

from fake_machine import Clock

from posesearch.latency.device import fingerprint
from posesearch.latency.meter import LatencyMeter
from posesearch.latency.types import Conditions


def test_meter_measures_an_architecture_once(tiny_space):
    meter = LatencyMeter(Conditions(), tiny_space.smallest())
    first = meter.measure(tiny_space.largest())
    assert meter.measure(tiny_space.largest()) is first
    assert first.drift == 1.0 or first.noise == "noisy"
    assert meter.fingerprint.id == fingerprint(Conditions(), (64, 48)).id


def test_meter_divides_a_drifting_sentinel_out(tiny_space, monkeypatch):
    # Every call takes 2 ms while the yardstick is laid and 3 ms ever after: the machine became half as slow again.
    clock, cost = Clock(monkeypatch), [2.0]
    monkeypatch.setattr("posesearch.latency.meter.prepare", lambda *_: clock.call("x", lambda: cost[0]))
    meter = LatencyMeter(Conditions(), tiny_space.smallest())
    steady = meter.measure(tiny_space.smallest())
    cost[0] = 3.0
    drifted = meter.measure(tiny_space.largest())
    assert (steady.p50_ms, steady.drift, steady.noise) == (2.0, 1.0, "quiet")
    assert (drifted.p50_ms, drifted.drift, drifted.noise) == (2.0, 1.5, "noisy")


def faked(tiny_space, monkeypatch, cost):
    """A meter whose every call takes `cost[0]` milliseconds."""
    clock = Clock(monkeypatch)
    monkeypatch.setattr("posesearch.latency.meter.prepare", lambda *_: clock.call("x", lambda: cost[0]))
    return LatencyMeter(Conditions(), tiny_space.smallest())


def test_meter_started_in_a_busy_moment_does_not_inflate(tiny_space, monkeypatch):
    cost = [4.0]
    meter = faked(tiny_space, monkeypatch, cost)
    cost[0] = 2.0
    quiet = meter.measure(tiny_space.smallest())
    cost[0] = 3.0
    busy = meter.measure(tiny_space.largest())
    assert (quiet.p50_ms, quiet.drift, quiet.noise, quiet.yardstick_ms) == (2.0, 1.0, "quiet", 2.0)
    assert (busy.p50_ms, busy.drift, busy.yardstick_ms) == (2.0, 1.5, 2.0)


def test_meter_resumed_in_a_busy_moment_keeps_the_scale(tiny_space, monkeypatch):
    cost = [2.0]
    stored = {tiny_space.largest(): faked(tiny_space, monkeypatch, cost).measure(tiny_space.largest())}
    cost[0] = 3.0
    resumed = faked(tiny_space, monkeypatch, cost)
    resumed.anchor(stored)
    assert resumed.measure(tiny_space.largest()).p50_ms == 2.0
    without = faked(tiny_space, monkeypatch, cost)
    without.anchor({})
    assert without.measure(tiny_space.largest()).p50_ms == 3.0


def test_meter_is_anchored_by_a_confirmed_sentinel_only_downwards(tiny_space, monkeypatch):
    cost = [4.0]
    meter = faked(tiny_space, monkeypatch, cost)
    plain = dataclasses.replace(meter.measure(tiny_space.largest()), yardstick_ms=0.0, p50_ms=2.0)
    meter.anchor({tiny_space.largest(): plain})
    assert meter.measure(tiny_space.smallest()).p50_ms == 4.0
    again = faked(tiny_space, monkeypatch, cost)
    again.anchor({tiny_space.smallest(): plain})
    again.anchor({tiny_space.smallest(): dataclasses.replace(plain, p50_ms=9.0)})
    assert again.measure(tiny_space.smallest()).p50_ms == 2.0
