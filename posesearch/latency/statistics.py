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
    """Figures of one network in one process, milliseconds.

    Attributes:
        p50_ms: Median over all recorded calls.
        p90_ms: 90th percentile over the same calls.
        ci_low_ms: Lower end of the interval of the median.
        ci_high_ms: Upper end of it.
        rounds: Rounds recorded.
        over_sentinel: See `relative_to`; 1 where there is no sentinel.
    """

    p50_ms: float
    p90_ms: float
    ci_low_ms: float
    ci_high_ms: float
    rounds: int
    over_sentinel: float = 1.0

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


def relative_to(calls_ms_RC: np.ndarray, sentinel_ms_RC: np.ndarray) -> float:
    """Returns how many times as long as the sentinel a network takes: the median over rounds of their ratio in a round.

    Both were called within the same quarter of a second, so that a neighbour who slows both down for some seconds cancels
    out; he does not in the ratio of two medians over a minute. 15 networks, 60 rounds, two CPU cores with noisy
    neighbours: two processes disagreed by 1.8 % (Kendall 0.97) instead of 2.9 % (0.89), with 20 rounds by 3.0 % (0.88)
    instead of 6.8 % (0.74).

    Args:
        calls_ms_RC: A network's calls by round.
        sentinel_ms_RC: The sentinel's calls in the same rounds; it may have more of them.
    """
    return float(np.median(np.median(calls_ms_RC, axis=1) / np.median(sentinel_ms_RC, axis=1)))


def summarise(calls_ms_RC: np.ndarray, *, sentinel_ms_RC: np.ndarray | None = None, seed: int = 0) -> Timing:
    """Returns median, 90th percentile and interval of the recorded calls, and their ratio to the sentinel's if given."""
    low, high = bootstrap_median(calls_ms_RC, seed=seed)
    p50, p90 = np.percentile(calls_ms_RC, (50, 90))
    return Timing(
        p50_ms=float(p50),
        p90_ms=float(p90),
        ci_low_ms=low,
        ci_high_ms=high,
        rounds=len(calls_ms_RC),
        over_sentinel=1.0 if sentinel_ms_RC is None else relative_to(calls_ms_RC, sentinel_ms_RC),
    )
