"""A rough guess of latency, used to aim proposals and never shown: from cost, or from a latency table.

Latency is nearly additive in what a network does, so a non-negative least-squares fit on operators, MACs, bytes written
and parameters, refitted as candidates are measured, is enough to say which of a hundred random architectures lies
near a wanted latency. Whatever is proposed is then measured; no guess ever decides whether a budget is met.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from scipy.optimize import nnls

from posesearch.search.candidate import CostLike
from posesearch.spaces.arch import Architecture

Features = tuple[float, ...]


def cost_features(cost: CostLike) -> Features:
    """Returns what the guess is made from: a constant, operators, MACs, bytes written, parameters."""
    return (1.0, cost.operators, cost.macs, cost.activation_bytes, cost.params)


class Guess(Protocol):
    """Gives a guessed latency, milliseconds."""

    def __call__(self, arch: Architecture) -> float:
        """Returns the guessed latency of `arch`."""

    def through(self, arch: Architecture, latency_ms: float) -> Callable[[Architecture], float]:
        """Returns the same guess scaled so that it gives `latency_ms` for `arch`."""


class LatencyGuess:
    """A fit on what has been measured so far.

    Args:
        measured_ms: Latency by architecture, milliseconds; at least one.
        features: Gives an architecture's features.
    """

    def __init__(
        self, measured_ms: Mapping[Architecture, float], features: Callable[[Architecture], Features]
    ) -> None:
        self._features = features
        table = np.array([features(arch) for arch in measured_ms])
        latency_ms = np.array(list(measured_ms.values()))
        self._scale = table.max(axis=0).clip(min=1e-12)
        # Divided by the latency: the fit minimises relative errors, as a small network counts as much as a large one.
        self._weights, _ = nnls(table / self._scale / latency_ms[:, None], np.ones(len(latency_ms)))

    def __call__(self, arch: Architecture) -> float:
        """Returns the guessed latency of `arch`, milliseconds."""
        return float(np.array(self._features(arch)) / self._scale @ self._weights)

    def through(self, arch: Architecture, latency_ms: float) -> Callable[[Architecture], float]:
        """Returns the same guess scaled so that it gives `latency_ms` for `arch`; better in its neighbourhood."""
        return _scaled(self, arch, latency_ms)


class TableGuess:
    """What a latency table says, asked like a fit.

    Args:
        aim_ms: Gives the predicted latency a proposal is aimed by.
    """

    def __init__(self, aim_ms: Callable[[Architecture], float]) -> None:
        self._aim_ms = aim_ms

    def __call__(self, arch: Architecture) -> float:
        """Returns the predicted latency of `arch`, milliseconds."""
        return self._aim_ms(arch)

    def through(self, arch: Architecture, latency_ms: float) -> Callable[[Architecture], float]:
        """Returns the same guess scaled so that it gives `latency_ms` for `arch`."""
        return _scaled(self, arch, latency_ms)


def _scaled(
    guess: Callable[[Architecture], float], arch: Architecture, latency_ms: float
) -> Callable[[Architecture], float]:
    guessed_ms = guess(arch)
    factor = latency_ms / guessed_ms if guessed_ms > 0 else 1.0
    return lambda other: factor * guess(other)
