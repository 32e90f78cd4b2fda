"""Where the front has most to gain: levels of the free objectives, and the volume a new member would add below them.

Volume is a mean over levels: at each level it counts by how much a member beats the best that is known within the level.
That is the hypervolume between front and limits up to a factor, for any number of free objectives.

Shapes: N evaluated members; A axes; R levels; S new members.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from posesearch.search.axes import Axis
from posesearch.search.surrogate_kernel import Floats

LEVELS = 256


class Levels:
    """The state of the front at one ask.

    Args:
        axes: Free figures.
        seen_NA: Figures of the evaluated members.
        expected_N: What the surrogate expects of them, more is better; noise must not make heights.
        generator: Randomness of the ask.

    Attributes:
        seen_NA: Figures of the evaluated members.
        top_A: The limits; without one, the largest value seen.
        has_objective: Whether there is a front at all.
    """

    def __init__(
        self, axes: Sequence[Axis], seen_NA: Floats, expected_N: Floats, generator: np.random.Generator
    ) -> None:
        self.seen_NA, self._generator = seen_NA, generator
        self.has_objective = any(axis.objective for axis in axes)
        self._objective_A = np.array([axis.objective for axis in axes], bool)
        most = [
            seen_NA[:, place].max() if axis.limit is None else axis.limit for place, axis in enumerate(axes)
        ]
        self.top_A = np.array(most, np.float64)
        self._bottom_A = np.minimum(seen_NA.min(axis=0), self.top_A)
        self._levels_RA = self.targets(LEVELS)
        within_RN = (seen_NA[None] <= self._levels_RA[:, None]).all(axis=2)
        self._heights_R = np.where(within_RN, expected_N[None], expected_N.min()).max(axis=1)

    def targets(self, count: int) -> Floats:
        """Returns levels spread between the smallest value seen and the limits; limits where nothing is to be lowered."""
        shares = np.ones((count, len(self.top_A)))
        for axis in np.flatnonzero(self._objective_A):
            strata = (np.arange(count) + self._generator.random(count)) / count
            shares[:, axis] = (
                strata if axis == np.argmax(self._objective_A) else self._generator.permutation(strata)
            )
        return np.asarray(self._bottom_A + shares * (self.top_A - self._bottom_A))

    def gains(self, values_S: Floats, figures_SA: Floats) -> Floats:
        """Returns the volume each new member would add by itself."""
        within_SR = (figures_SA[:, None] <= self._levels_RA[None]).all(axis=2)
        higher_SR = np.maximum(0.0, values_S[:, None] - self._heights_R[None])
        return np.asarray((within_SR * higher_SR).mean(axis=1))
