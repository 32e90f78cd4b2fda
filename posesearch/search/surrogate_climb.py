"""Local search on tables of effects: the best member by score within limits on figures that are themselves tables.

A move changes one gene or two at once: with a limit in force a change that pays must mostly be paid for by another. With
tables the gain of all single and double changes is a handful of T x T sums, so the best of some 3,000 is taken in about
half a millisecond, without building a network.

Shapes: S searches at once; G genes; T choices of all genes together; A figures under a limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from posesearch.search.surrogate_kernel import Effects, Floats, Indices, Tables

PENALTY = 1e4
"""Score lost for each 1 of excess in the logarithm of a figure: a search may start over a limit, leaves it first, and never
trades score for excess."""

STEPS = 25
LEAST_GAIN = 1e-9


class Climb:
    """Searches on the tables of one ask.

    Args:
        effects: The genes.
        score: The score, more is better.
        figures: Logarithms of the figures, in the order of the limits.
    """

    def __init__(self, effects: Effects, score: Tables, figures: Sequence[Tables]) -> None:
        self._effects, self._score, self._figures = effects, score, tuple(figures)
        gene = effects.gene_T
        self._within_gene = (gene[:, None] == gene[None, :]) & ~np.eye(len(gene), dtype=bool)

    def best(self, starts_SG: Indices, known_SA: Floats, limits_SA: Floats) -> Indices:
        """Returns where each search ends.

        Args:
            starts_SG: Where they start.
            known_SA: Logarithms of the figures of the starts.
            limits_SA: Logarithms of the limits of each search.
        """
        here, figures = starts_SG.copy(), known_SA.copy()
        for _ in range(STEPS):
            gains = self._gains(self._score, here)
            changes = [self._gains(figure, here) for figure in self._figures]
            worth = gains.copy()
            for axis, change in enumerate(changes):
                over = np.maximum(0.0, (figures[:, axis] - limits_SA[:, axis])[:, None, None] + change)
                worth -= PENALTY * (
                    over - np.maximum(0.0, figures[:, axis] - limits_SA[:, axis])[:, None, None]
                )
            worth[:, self._within_gene] = -np.inf
            moves = worth.reshape(len(here), -1).argmax(axis=1)
            moved = False
            for search, move in enumerate(moves):
                first, second = divmod(int(move), worth.shape[2])
                if worth[search, first, second] > LEAST_GAIN:
                    self._apply(here[search], first, second)
                    figures[search] += [change[search, first, second] for change in changes]
                    moved = True
            if not moved:
                break
        return here

    def around(self, member_G: Indices, slack_A: Floats) -> Iterator[tuple[float, Indices]]:
        """Yields the member and its changes with what they add to the score, best first.

        Args:
            member_G: Where.
            slack_A: How much each figure's logarithm may grow; by these tables, so not exactly.
        """
        gains = self._gains(self._score, member_G[None])[0]
        gains[self._within_gene] = -np.inf
        for figure, slack in zip(self._figures, slack_A, strict=True):
            gains[self._gains(figure, member_G[None])[0] > slack] = -np.inf
        # A double change stands in both halves; changing nothing is the single change to what it has.
        gains[np.tril_indices(len(gains), -1)] = -np.inf
        for move in np.argsort(-gains, axis=None, kind="stable"):
            first, second = divmod(int(move), gains.shape[1])
            if gains[first, second] == -np.inf:
                return
            changed = member_G.copy()
            self._apply(changed, first, second)
            yield float(gains[first, second]), changed

    def _apply(self, member_G: Indices, first: int, second: int) -> None:
        for choice in (first, second):
            gene = self._effects.gene_T[choice]
            member_G[gene] = choice - self._effects.offsets[gene]

    def _gains(self, tables: Tables, members_SG: Indices) -> Floats:
        """Returns what changing to two choices adds, of shape (S, T, T); the diagonal is the change to one."""
        gene, pair = self._effects.gene_T, tables.pair_TT
        here = members_SG + self._effects.offsets
        pull = tables.main_T + pair[:, here].sum(axis=2).T
        single = pull - np.take_along_axis(pull, here, axis=1)[:, gene]
        now = here[:, gene]
        # A double change: both single ones, with the pair they were priced with replaced by the new pair.
        with_old = pair[:, now].transpose(1, 0, 2)
        both_old = pair[now[:, :, None], now[:, None, :]]
        double = (
            single[:, :, None] + single[:, None, :] + pair - with_old - with_old.transpose(0, 2, 1) + both_old
        )
        diagonal = np.arange(len(gene))
        double[:, diagonal, diagonal] = single
        return np.asarray(double)
