"""Draws: cheap scalar random draws on top of one numpy Generator.

`Generator.choice` and `Generator.uniform` cost several microseconds a call; a scene needs a few hundred
draws, so everything here comes from `Generator.random` (0.4 microseconds).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


class Draws:
    """Scalar draws from one generator, in call order."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.generator.random()

    def between(self, bounds: tuple[float, float]) -> float:
        """A number in [bounds[0], bounds[1])."""
        return self.uniform(bounds[0], bounds[1])

    def around(self, centre: float, spread: float) -> float:
        """A number near `centre`: triangular, at most `spread` away, so that no tail leaves the range."""
        return centre + spread * (self.generator.random() - self.generator.random())

    def integer(self, low: int, high: int) -> int:
        """A whole number in [low, high], both ends included."""
        return low + int(self.generator.random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.generator.random() < probability)

    def pick(self, items: Sequence[Item]) -> Item:
        """One of the items, each equally likely."""
        return items[int(self.generator.random() * len(items))]

    def weighted(self, items: Sequence[Item], weights: Sequence[float]) -> Item:
        """One of the items, with probability proportional to its weight."""
        level = self.generator.random() * sum(weights)
        for item, weight in zip(items, weights, strict=True):
            level -= weight
            if level < 0:
                return item
        return items[-1]
