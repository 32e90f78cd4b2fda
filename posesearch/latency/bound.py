"""How far a prediction can be off: split-conformal quantiles of relative errors on networks it was not fitted on.

Vovk et al., "Algorithmic Learning in a Random World", 2005; Lei et al., JASA 2018: of n errors of exchangeable networks,
the ceil((n + 1) * level)-th smallest is exceeded by the next one with a probability of at most 1 - level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """Ends of the interval around a prediction, relative to it.

    Attributes:
        low: At most 0: the measured latency is rarely below prediction * (1 + low).
        high: At least 0: it is rarely above prediction * (1 + high).
        coverage: With what probability each end holds for networks like the held-out ones; below 0.95 where there were
            too few of them for more.
        nets: Networks it rests on.
    """

    low: float
    high: float
    coverage: float
    nets: int

    def widened(self, other: Bound) -> Bound:
        """Returns the bound that holds wherever both do: each end the further one.

        It is as wide as this one at least, so it covers what this one covers: the coverage stays, however few networks
        the other rests on.
        """
        return Bound(
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            coverage=self.coverage,
            nets=self.nets + other.nets,
        )

    def at_least(self, half_width: float) -> Bound:
        """Returns a bound that claims no more than `half_width`, relative: the noise of the labels it rests on."""
        return Bound(
            low=min(self.low, -half_width),
            high=max(self.high, half_width),
            coverage=self.coverage,
            nets=self.nets,
        )


def conformal_bound(errors: Sequence[float], *, level: float = LEVEL) -> Bound:
    """Returns the one-sided quantiles of `errors` in both directions.

    Args:
        errors: measured / predicted - 1 of networks that the predictor was not fitted on, one at least. Fewer than
            19 do not support 95 %: the largest of them is taken, and the coverage says what it is worth.
        level: Probability that each end is to hold.
    """
    ordered = sorted(errors)
    count = len(ordered)
    rank = math.ceil((count + 1) * level)
    coverage = level if rank <= count else count / (count + 1)
    rank = min(rank, count)
    return Bound(
        low=min(0.0, ordered[count - rank]), high=max(0.0, ordered[rank - 1]), coverage=coverage, nets=count
    )
