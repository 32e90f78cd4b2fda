"""Measuring one architecture at a time while a search runs, comparable from the first to the last.

Each candidate is timed in rounds shared with a sentinel network, whose first figure is the yardstick. When the
sentinel is later found slower or faster by more than 3 %, the candidate's figures are divided by the sentinel's
factor, the factor is recorded (`Measured.drift`) and the measurement calls itself noisy. Without that, candidates
that met a busy minute would look over budget (beside seven other processes on two cores the factor was 0.97-1.39
within 15 s). Figures that a claim rests on are measured again in fresh processes (`process`), where nothing is divided.
"""

from __future__ import annotations

from typing import Protocol

import torch

from posesearch.latency.deploy import deploy
from posesearch.latency.device import Fingerprint, device_name, fingerprint
from posesearch.latency.measure import FAST, FULL, SENTINEL, Effort, pinned_threads, time_calls, to_measured
from posesearch.latency.runtimes import Call, prepare
from posesearch.latency.types import Conditions, Measured
from posesearch.models.pose import PoseModel
from posesearch.spaces.arch import Architecture


class Meter(Protocol):
    """What a search asks for latency."""

    @property
    def fingerprint(self) -> Fingerprint:
        """The circumstances all its figures share."""

    def measure(self, arch: Architecture) -> Measured:
        """Returns the latency of an architecture; the same architecture is measured once."""


class LatencyMeter:
    """Measures architectures in this process, on this device.

    Weights are random: latency does not depend on them.

    Args:
        conditions: Device, runtime, precision, threads, batch.
        sentinel: The network of the yardstick; a small one of the same space.
        effort: How long to measure each architecture.

    Raises:
        UsageError: Unknown runtime.
        EnvironmentFault: The runtime does not run on the device.
    """

    def __init__(self, conditions: Conditions, sentinel: Architecture, *, effort: Effort = FAST) -> None:
        self.conditions = conditions
        self._fingerprint = fingerprint(conditions)
        self._effort = effort
        self._known: dict[str, Measured] = {}
        self._sentinel_call = self._prepared(sentinel)
        with pinned_threads(conditions.threads):
            # Measured once and dividing everything after it, so it gets the long warm-up and the many rounds.
            timings, _ = time_calls({SENTINEL: self._sentinel_call}, SENTINEL, FULL)
        self._yardstick_ms = timings[SENTINEL].p50_ms

    @property
    def fingerprint(self) -> Fingerprint:
        """The circumstances all its figures share."""
        return self._fingerprint

    def measure(self, arch: Architecture) -> Measured:
        """Returns the latency of `arch`, measured on the first request.

        Raises:
            EnvironmentFault: The device is out of memory.
        """
        if arch.id not in self._known:
            self._known[arch.id] = self._measure(arch)
        return self._known[arch.id]

    def _measure(self, arch: Architecture) -> Measured:
        calls = {"candidate": self._prepared(arch), SENTINEL: self._sentinel_call}
        with pinned_threads(self.conditions.threads):
            timings, redone = time_calls(calls, SENTINEL, self._effort, warm=frozenset({SENTINEL}))
        timing = timings["candidate"]
        drift = timings[SENTINEL].p50_ms / self._yardstick_ms
        steady = abs(drift - 1.0) <= self._effort.sentinel_band
        return to_measured(
            timing,
            self.conditions,
            device_name(torch.device(self.conditions.device)),
            noisy=not steady or redone > 0.1 * timing.rounds,
            drift=1.0 if steady else drift,
        )

    def _prepared(self, arch: Architecture) -> Call:
        with pinned_threads(self.conditions.threads):
            return prepare(deploy(PoseModel(arch)), arch.input_size, self.conditions)
