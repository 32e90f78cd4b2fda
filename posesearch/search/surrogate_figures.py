"""Free figures as tables of effects, learnt from some hundred members that are asked for them.

The logarithm of a latency or of a count is smooth in the choices, but no sum of effects of pairs: tables learnt from random
members of all sizes are 3 % off on such members and 6 % on the front. So what was evaluated lately, which lies near the
front, is learnt from as well. Near a member whose figure is known exactly the differences are better still, and that is
what a search uses; where it ends, exact figures are asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy.linalg

from posesearch import rng
from posesearch.search.axes import Axis
from posesearch.search.surrogate_fit import SAME_STAGE, pair_levels
from posesearch.search.surrogate_kernel import Effects, Indices, Shrinkage, Tables
from posesearch.spaces.arch import Architecture

LEARNT_FROM = 300
LATELY = 300
"""Evaluated members that are learnt from, the newest."""

EVERY = 25
"""Answers after which the newest are taken anew: it takes about 50 ms."""


class FigureTables:
    """Tables of figures.

    Args:
        effects: The genes.
        arch: Gives the architecture of places among the choices.
        seed: Key of the members that are asked.
    """

    def __init__(self, effects: Effects, arch: Callable[[Indices], Architecture], seed: int) -> None:
        self._effects = effects
        self._sized = sized_members(
            effects.counts, LEARNT_FROM, rng.generator(seed, "members figures are learnt from")
        )
        self._sized_archs = [arch(member_G) for member_G in self._sized]
        genes = len(effects.counts)
        pairs = np.where(pair_levels(effects.names) == SAME_STAGE, 0.05, 0.005) * (1.0 - np.eye(genes))
        # Sizes are given, not fitted: a fit would depend on which guess of latency it was made with.
        self._shrinkage = Shrinkage(main_G=np.ones(genes), pair_GG=pairs, noise=1e-4)
        self._taken = -1
        self._take(np.zeros((0, genes), np.int64), [])

    def tables(
        self, axes: Sequence[Axis], members_NG: Indices, archs: Sequence[Architecture]
    ) -> list[Tables]:
        """Returns the logarithm of each figure.

        Args:
            axes: The figures.
            members_NG: Evaluated members, in the order of their answers.
            archs: The same as architectures.
        """
        count = len(archs) - len(archs) % EVERY
        if count != self._taken:
            self._taken = count
            self._take(members_NG[:count][-LATELY:], archs[:count][-LATELY:])
        return [self._table(axis) for axis in axes]

    def _take(self, lately_LG: Indices, archs: Sequence[Architecture]) -> None:
        self._members = np.concatenate([self._sized, lately_LG])
        self._archs = [*self._sized_archs, *archs]
        covariance = self._effects.covariance(self._members, self._members, self._shrinkage)
        covariance[np.diag_indices(len(covariance))] += self._shrinkage.noise
        self._root = np.linalg.cholesky(covariance)
        self._counted: dict[str, Tables] = {}

    def _table(self, axis: Axis) -> Tables:
        if axis.name in self._counted:
            return self._counted[axis.name]
        logs = np.log([axis.figure(arch) for arch in self._archs])
        middle = float(logs.mean())
        weights = scipy.linalg.cho_solve((self._root, True), logs - middle)
        found = self._effects.tables(self._members, weights, self._shrinkage)
        table = Tables(constant=found.constant + middle, main_T=found.main_T, pair_TT=found.pair_TT)
        if axis.counted:
            self._counted[axis.name] = table
        return table


def sized_members(counts: Sequence[int], number: int, generator: np.random.Generator) -> Indices:
    """Returns random members of all sizes: independent choices would average out to middle ones."""
    size = generator.random((number, 1))
    places = size + 0.35 * generator.standard_normal((number, len(counts)))
    most = np.array(counts) - 1
    return np.clip(np.floor(places * (most + 1)), 0, most).astype(np.int64)
