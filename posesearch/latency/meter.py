"""Measuring one architecture at a time while a search runs, comparable from the first to the last.

Each candidate is timed in rounds shared with a sentinel network; the best figure ever seen of it is the yardstick. When
the sentinel is slower than that by more than 3 %, the candidate's figures are divided by the factor that makes them what
its rounds say beside the sentinel's, the factor is recorded (`Measured.drift`) and the measurement calls itself noisy. Without that, candidates that met a busy
minute would look over budget (beside seven other processes on two cores the factor was 0.97-1.39 within 15 s).

Neighbours only ever slow a network down, so a faster sentinel means that the yardstick was laid in a busy moment: it is
lowered, and no figure is ever multiplied. Figures given before that stay too long by the same factor; a search therefore
confirms in fresh processes (`process`), where nothing is divided, before it calls a budget impossible.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch

from posesearch.latency.call import Call
from posesearch.latency.deploy import deploy
from posesearch.latency.device import Fingerprint, device_name, fingerprint
from posesearch.latency.effort import FAST, FULL, Effort
from posesearch.latency.measure import SENTINEL, failed, pinned_threads, time_calls, to_measured
from posesearch.latency.runtimes import prepare
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

    def anchor(self, known: Mapping[Architecture, Measured]) -> None:
        """Puts the figures to come on the scale of known ones, e.g. those of a search that is resumed."""


class LatencyMeter:
    """Measures architectures in this process, on this device.

    Weights are random: latency does not depend on them.

    Args:
        conditions: Device, runtime, precision, threads, batch, memory format.
        sentinel: The network of the yardstick; a small one of the same space, of the same input size.
        effort: How long to measure each architecture.

    Raises:
        UsageError: Unknown runtime.
        EnvironmentFault: The runtime does not run on the device, or its package is missing.
    """

    def __init__(self, conditions: Conditions, sentinel: Architecture, *, effort: Effort = FAST) -> None:
        self.conditions = conditions
        self._fingerprint = fingerprint(conditions, sentinel.input_size)
        self._effort = effort
        self._known: dict[str, Measured] = {}
        self._sentinel = sentinel
        self._sentinel_call = self._prepared(sentinel)
        with pinned_threads(conditions.threads):
            # Everything after it is related to it, so it gets the long warm-up and the many rounds.
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

    def anchor(self, known: Mapping[Architecture, Measured]) -> None:
        """Lowers the yardstick to the best that `known` tells of the sentinel.

        Args:
            known: Figures with a yardstick of their own (of this meter or an earlier one with the same fingerprint and
                sentinel) give that; figures without one are read where they are the sentinel's own.
        """
        told_ms = [latency.yardstick_ms for latency in known.values() if latency.yardstick_ms > 0]
        own = known.get(self._sentinel)
        if own is not None and own.yardstick_ms == 0:
            told_ms.append(own.p50_ms)
        self._yardstick_ms = min([self._yardstick_ms, *told_ms])

    def _measure(self, arch: Architecture) -> Measured:
        calls = {"candidate": self._prepared(arch), SENTINEL: self._sentinel_call}
        with pinned_threads(self.conditions.threads):
            timings, disturbed = time_calls(calls, SENTINEL, self._effort, warm=frozenset({SENTINEL}))
        timing = timings["candidate"]
        self._yardstick_ms = min(self._yardstick_ms, timings[SENTINEL].p50_ms)
        steady = timings[SENTINEL].p50_ms <= self._yardstick_ms * (1.0 + self._effort.sentinel_band)
        # The candidate's own factor: round by round it was `over_sentinel` times as slow as the sentinel.
        drift = max(1.0, timing.p50_ms / (timing.over_sentinel * self._yardstick_ms))
        return to_measured(
            timing,
            self.conditions,
            device_name(torch.device(self.conditions.device)),
            noisy=not steady or failed(disturbed, timing),
            drift=1.0 if steady else drift,
            yardstick_ms=self._yardstick_ms,
        )

    def _prepared(self, arch: Architecture) -> Call:
        with pinned_threads(self.conditions.threads):
            return prepare(deploy(PoseModel(arch), self.conditions), arch.input_size, self.conditions)
