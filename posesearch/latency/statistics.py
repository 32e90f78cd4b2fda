"""From recorded calls to figures: percentiles, and an interval that resamples rounds, not calls.

Calls of one round share the state of the machine, so resampling single calls would claim a precision that is not
there. Array letters: R rounds, C calls recorded in a round.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from posesearch import rng

RESAMPLES = 400

QUIET = 0.03
"""Half-width of the interval, relative to the median, above which a measurement calls itself noisy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Figures of one network in one process, milliseconds."""

    p50_ms: float
    p90_ms: float
    ci_low_ms: float
    ci_high_ms: float
    rounds: int

    @property
    def half_width(self) -> float:
        """Half the interval over the median."""
        return (self.ci_high_ms - self.ci_low_ms) / 2.0 / self.p50_ms


def bootstrap_median(calls_ms_RC: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """Returns the 95 % percentile-bootstrap interval of the median over all calls, resampling rounds."""
    rounds = len(calls_ms_RC)
    picks = rng.generator(seed, "latency bootstrap", rounds).integers(rounds, size=(RESAMPLES, rounds))
    medians = np.median(calls_ms_RC[picks].reshape(RESAMPLES, -1), axis=1)
    low, high = np.percentile(medians, (2.5, 97.5))
    return float(low), float(high)


def summarise(calls_ms_RC: np.ndarray, *, seed: int = 0) -> Timing:
    """Returns median, 90th percentile and interval of the recorded calls."""
    low, high = bootstrap_median(calls_ms_RC, seed=seed)
    p50, p90 = np.percentile(calls_ms_RC, (50, 90))
    return Timing(
        p50_ms=float(p50), p90_ms=float(p90), ci_low_ms=low, ci_high_ms=high, rounds=len(calls_ms_RC)
    )
