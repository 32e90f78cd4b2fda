"""How much each effect is shrunk: the maximum of the marginal likelihood, under a prior on the sizes of effects.

Sizes have levels: one for single genes, one for pairs of genes of the same stage, one for the same gene of two stages,
one for all other pairs; and each gene and each pair may deviate from its level by a factor of exp(+-SPREAD). The noise
of an evaluation is fitted along with them.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.optimize import minimize

from posesearch.search.surrogate_kernel import CONSTANT, Effects, Floats, Indices, Shrinkage

SPREAD_MAIN, SPREAD_PAIR = 1.5, 1.5
"""Standard deviation of the logarithm of a variance around its level. Of 0.5, 1.5 and 3 for pairs, 1.5 predicted unseen
members of the synthetic problem best (root mean square error 0.60, 1.05 and 0.67 AP at 200 evaluations)."""

SAME_STAGE, SAME_KIND, OTHER = range(3)
LEVELS = (0.004, 0.002, 0.0002)
NOISE, LEAST_NOISE = 0.05, 1e-5
"""Share of the variance of the scores, expected and at least."""

LEVEL_SPREAD = (1.0, 1.5, 1.5, 1.5, 2.0)
STEPS = 40
AT_MOST = 500
"""Answers a fit looks at: half of them the newest, half spread over the others. 0.9 s at 400."""


def fit_shrinkage(effects: Effects, members_NG: Indices, scores_N: Floats) -> Shrinkage:
    """Returns the sizes of effects that explain the scores best.

    Args:
        effects: The covariance.
        members_NG: Evaluated members.
        scores_N: Their scores, mean 0 and variance 1.
    """
    kept = _kept(len(scores_N))
    fit = _Fit(effects, members_NG[kept], scores_N[kept])
    found = minimize(
        fit.loss, fit.start(), jac=True, method="L-BFGS-B", bounds=fit.bounds(), options={"maxiter": STEPS}
    )
    return fit.shrinkage(found.x)


def pair_levels(names: tuple[str, ...]) -> NDArray[np.int64]:
    """Returns which level each pair of genes belongs to, by names such as "stage0.width"."""
    split = [name.split(".") if "." in name else ["", name] for name in names]
    levels = np.full((len(names), len(names)), OTHER)
    for i, (stage, kind) in enumerate(split):
        for j, (other_stage, other_kind) in enumerate(split):
            if stage and stage == other_stage:
                levels[i, j] = SAME_STAGE
            elif stage and kind == other_kind:
                levels[i, j] = SAME_KIND
    return levels


class _Fit:
    """The negative logarithm of likelihood times prior, with its gradient.

    Parameters: deviations of the G genes and the P pairs in standard deviations, then logarithms of the level of genes, the
    three levels of pairs, and the noise.
    """

    def __init__(self, effects: Effects, members_NG: Indices, scores_N: Floats) -> None:
        self._count, self._scores = len(scores_N), scores_N
        self._genes = len(effects.counts)
        self._first, self._second = np.triu_indices(self._genes, 1)
        self._level = pair_levels(effects.names)[self._first, self._second]
        self._effects = effects
        self._rows, self._columns = np.tril_indices(self._count)
        self._flat = effects.by_gene(members_NG, members_NG)[:, self._rows, self._columns]
        self._times = np.where(self._rows == self._columns, 1.0, 2.0)
        trends = effects.trends(members_NG)
        self._fixed = CONSTANT + (trends @ trends.T)[self._rows, self._columns]
        self._expected = np.log([1.0 / self._genes, *LEVELS, NOISE])

    def start(self) -> Floats:
        """Returns what is expected before anything is seen."""
        return np.concatenate([np.zeros(self._genes + len(self._first)), self._expected])

    def bounds(self) -> list[tuple[float, float]]:
        """Returns what a parameter may be: a line search that tries e^1000 would end the search."""
        levels = [(float(value) - 12.0, float(value) + 6.0) for value in self._expected]
        return [(-4.0, 4.0)] * (self._genes + len(self._first)) + levels

    def shrinkage(self, values: Floats) -> Shrinkage:
        """Returns the sizes that parameters stand for."""
        main, pair, levels = self._split(values)
        pairs = np.zeros((self._genes, self._genes))
        pairs[self._first, self._second] = np.exp(levels[1:4][self._level] + SPREAD_PAIR * pair)
        return Shrinkage(
            main_G=np.exp(levels[0] + SPREAD_MAIN * main),
            pair_GG=pairs + pairs.T,
            noise=float(np.exp(levels[4])) + LEAST_NOISE,
        )

    def loss(self, values: Floats) -> tuple[float, Floats]:
        """Returns the value and its gradient."""
        shrinkage = self.shrinkage(values)
        covariance = np.zeros((self._count, self._count))
        covariance[self._rows, self._columns] = self._fixed + self._effects.combine(self._flat, shrinkage)
        covariance[np.diag_indices(self._count)] += shrinkage.noise
        try:
            root = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(values)
        weights = scipy.linalg.cho_solve((root, True), self._scores)
        inverse = scipy.linalg.cho_solve((root, True), np.eye(self._count))
        towards = np.outer(weights, weights) - inverse
        likelihood = 0.5 * float(self._scores @ weights) + float(np.log(root.diagonal()).sum())
        weighted = self._flat * (towards[self._rows, self._columns] * self._times)
        by_main = 0.5 * weighted.sum(axis=1) * shrinkage.main_G
        by_pair = 0.5 * (weighted @ self._flat.T)[self._first, self._second]
        by_pair = by_pair * shrinkage.pair_GG[self._first, self._second]
        by_level = [by_main.sum(), *(by_pair[self._level == level].sum() for level in range(3))]
        by_noise = 0.5 * np.trace(towards) * (shrinkage.noise - LEAST_NOISE)
        main, pair, levels = self._split(values)
        off = (levels - self._expected) / LEVEL_SPREAD
        prior = 0.5 * float(main @ main + pair @ pair + off @ off)
        gradient = np.concatenate([
            main - SPREAD_MAIN * by_main,
            pair - SPREAD_PAIR * by_pair,
            off / LEVEL_SPREAD - np.array([*by_level, by_noise]),
        ])  # fmt: skip
        return likelihood + prior, gradient

    def _split(self, values: Floats) -> tuple[Floats, Floats, Floats]:
        return values[: self._genes], values[self._genes : -5], values[-5:]


def _kept(count: int) -> Indices:
    if count <= AT_MOST:
        return np.arange(count)
    older = count - AT_MOST // 2
    spread = np.unique(np.linspace(0, older - 1, AT_MOST - AT_MOST // 2).astype(np.int64))
    return np.concatenate([spread, np.arange(older, count)])
