"""The surrogate after the answers: its mean, draws from it, and how it takes one more answer without starting again.

Sizes of effects are fitted again whenever the answers have grown by `GROWTH`; between two fits each answer adds one row to
the Cholesky factor. What comes out is a function of the answers and their order alone: a process that starts anew makes
the same fit on the same first answers and adds the same rows, so it computes the same numbers to the last bit.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from posesearch.search.surrogate_fit import fit_shrinkage
from posesearch.search.surrogate_kernel import Effects, Floats, Indices, Tables

FIRST_FIT = 8
"""Answers before which there is no surrogate."""

GROWTH = 1.15


def fit_at(count: int) -> int:
    """Returns after how many answers the last fit was made when there are `count`, at least `FIRST_FIT`."""
    last = FIRST_FIT
    while (following := int(GROWTH * last) + 1) <= count:
        last = following
    return last


class Posterior:
    """What is believed after some answers.

    Args:
        effects: The covariance.
        members_NG: Evaluated members, in the order of their answers; at least `FIRST_FIT`.
        scores_N: Their scores, more is better.

    Attributes:
        count: Answers taken.
        scale: Standard deviation of the scores at the last fit; all that is asked below is in this unit, from `middle`.
        middle: Their mean.
    """

    def __init__(self, effects: Effects, members_NG: Indices, scores_N: Floats) -> None:
        fitted = fit_at(len(scores_N))
        self._effects, self.count = effects, fitted
        first = scores_N[:fitted]
        self.middle, self.scale = float(first.mean()), float(first.std()) or 1.0
        self.shrinkage = fit_shrinkage(effects, members_NG[:fitted], (first - self.middle) / self.scale)
        # The factor has room up to the next fit; the identity stands where no answer is yet.
        self._room = int(GROWTH * fitted) + 1
        self._members = np.zeros((self._room, len(effects.counts)), np.int64)
        self._members[:fitted] = members_NG[:fitted]
        self._scores = np.zeros(self._room)
        self._scores[:fitted] = (first - self.middle) / self.scale
        covariance = effects.covariance(members_NG[:fitted], members_NG[:fitted], self.shrinkage)
        covariance[np.diag_indices(fitted)] += self.shrinkage.noise
        self._root = np.asfortranarray(np.eye(self._room))
        self._root[:fitted, :fitted] = np.linalg.cholesky(covariance)
        for member_G, score in zip(members_NG[fitted:], scores_N[fitted:], strict=True):
            self.add(member_G, float(score))

    def follows(self, members_NG: Indices, scores_N: Floats) -> bool:
        """Says whether these answers are the ones taken, or those and more up to the next fit."""
        return (
            self.count <= len(scores_N) < self._room
            and bool((members_NG[: self.count] == self._members[: self.count]).all())
            and bool(
                ((scores_N[: self.count] - self.middle) / self.scale == self._scores[: self.count]).all()
            )
        )

    def add(self, member_G: Indices, score: float) -> None:
        """Takes one more answer."""
        count = self.count
        cross = np.zeros(self._room)
        cross[:count] = self._effects.covariance(member_G[None], self._members[:count], self.shrinkage)[0]
        row = self._forward(cross)
        own = float(self._effects.variance(member_G[None], self.shrinkage)[0]) + self.shrinkage.noise
        self._root[count, :count] = row[:count]
        # A member that was evaluated before, with almost no noise, adds next to nothing of its own.
        self._root[count, count] = np.sqrt(max(own - float(row @ row), 0.1 * self.shrinkage.noise))
        self._members[count], self._scores[count] = member_G, (score - self.middle) / self.scale
        self.count += 1

    @property
    def members_NG(self) -> Indices:
        """The members that were evaluated."""
        return self._members[: self.count]

    def mean(self) -> Tables:
        """Returns the expected scores of all members."""
        return self._tables(self._scores)

    def draw(self, generator: np.random.Generator) -> Tables:
        """Returns scores of all members drawn from what is believed (Thompson sampling).

        A draw from before the answers is corrected by what it gets wrong about them (Matheron's rule; Wilson et al.,
        "Efficiently sampling functions from Gaussian process posteriors", 2020).
        """
        before = self._effects.drawn(generator, self.shrinkage)
        seen = before.of(self._effects.one_hot(self.members_NG))
        seen += np.sqrt(self.shrinkage.noise) * generator.standard_normal(self.count)
        left = self._scores.copy()
        left[: self.count] -= seen
        after = self._tables(left)
        return Tables(
            constant=before.constant + after.constant,
            main_T=before.main_T + after.main_T,
            pair_TT=before.pair_TT + after.pair_TT,
        )

    def deviation(self, members_NG: Indices) -> Floats:
        """Returns the standard deviation of the scores of members, without the noise of an evaluation."""
        cross = np.zeros((self._room, len(members_NG)))
        cross[: self.count] = self._effects.covariance(self.members_NG, members_NG, self.shrinkage)
        explained = (self._forward(cross) ** 2).sum(axis=0)
        return np.asarray(
            np.sqrt((self._effects.variance(members_NG, self.shrinkage) - explained).clip(min=0.0))
        )

    def _tables(self, scores_R: Floats) -> Tables:
        weights = scipy.linalg.solve_triangular(
            self._root, self._forward(scores_R), lower=True, trans="T", check_finite=False
        )
        return self._effects.tables(self.members_NG, weights[: self.count], self.shrinkage)

    def _forward(self, values_R: Floats) -> Floats:
        return np.asarray(scipy.linalg.solve_triangular(self._root, values_R, lower=True, check_finite=False))
