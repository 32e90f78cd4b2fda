"""Turns on a device: one times alone, several compute together, and whoever waits to time is not passed over."""

from __future__ import annotations

import threading
import time

import torch

from posesearch.latency.turns import DeviceTurns, MeterInTurn
from posesearch.lock import turn


def test_timing_is_alone_and_computing_is_not(tmp_path):
    turns = DeviceTurns(torch.device("cpu"), tmp_path)
    lock = tmp_path / "cpu.lock"
    other = DeviceTurns(torch.device("cpu"), tmp_path)
    with turns.computing(), other.computing(), turn(lock, wait=False) as alone:
        assert not alone, "nobody times while anybody computes"
    with turns.timing():
        for alone in (True, False):
            with turn(lock, alone=alone, wait=False) as taken:
                assert not taken, "nobody times or computes while somebody times"
    with turn(lock, wait=False) as alone:
        assert alone


def test_whoever_waits_to_time_comes_before_those_who_compute_next(tmp_path):
    turns = DeviceTurns(torch.device("cpu"), tmp_path)
    order, first_is_in, done = [], threading.Event(), threading.Event()

    def compute_first():
        with turns.computing():
            first_is_in.set()
            done.wait(10)

    def time_it():
        with turns.timing():
            order.append("timed")

    def compute_next():
        with turns.computing():
            order.append("computed")

    threads = [threading.Thread(target=compute_first)]
    threads[0].start()
    first_is_in.wait(10)
    for target in (time_it, compute_next):
        threads.append(threading.Thread(target=target))
        threads[-1].start()
        queued(tmp_path / "cpu.queue")
    done.set()
    for thread in threads:
        thread.join(10)
    assert order == ["timed", "computed"]


def queued(path):
    """Waits until somebody holds the queue, which whoever waits to time does."""
    for _ in range(500):
        with turn(path, wait=False) as free:
            if not free:
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits")


def test_a_meter_times_in_its_turn(tmp_path):
    turns = DeviceTurns(torch.device("cpu"), tmp_path)

    class Meter:
        fingerprint = "what it holds for"

        def measure(self, arch):
            with turn(tmp_path / "cpu.lock", wait=False) as free:
                return arch, free

        def anchor(self, known):
            self.anchored = known

    meter = MeterInTurn(Meter(), turns)
    assert meter.measure("a net") == ("a net", False)
    assert meter.fingerprint == "what it holds for"
    meter.anchor({"a net": 1})
