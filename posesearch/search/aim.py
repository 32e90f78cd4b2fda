"""Which architectures are worth an ask, by what is free to know: counted figures exactly, latency by a guess.

Nothing here decides: the counted figures are held to their budgets again when an ask is answered, and latency is measured
or predicted then.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

from posesearch.latency.types import Measured
from posesearch.search.candidate import Candidate, CostLike
from posesearch.search.guess import Features, Guess, LatencyGuess, TableGuess, cost_features
from posesearch.search.judge import LatencyJudge
from posesearch.search.limit import figure_ms
from posesearch.search.propose import MARGIN
from posesearch.search.question import Question
from posesearch.spaces.arch import Architecture

GUESS_SLACK = 1.03
"""Proposals are refused when guessed this far over the latency budget; closer ones are worth a measurement."""


class FreeFigures:
    """What an architecture's cost says of it, kept once it was counted.

    Args:
        question: Objectives and budgets.
        cost: Gives costs.

    Attributes:
        features: What latency is guessed from.
        macs: Multiply-accumulates.
        fullest: The largest share of a counted budget that is used; 1 or less fits, 0 without such a budget.
    """

    def __init__(self, question: Question, cost: Callable[[Architecture], CostLike]) -> None:
        budgets = question.budgets
        self.features: Callable[[Architecture], Features] = functools.cache(
            lambda arch: cost_features(cost(arch))
        )
        self.macs: Callable[[Architecture], float] = lambda arch: float(cost(arch).macs)
        self.fullest: Callable[[Architecture], float] = functools.cache(
            lambda arch: max(budgets.shares(cost(arch).to_plain()).values()) if budgets.counted else 0.0
        )


class Aim:
    """How proposals are aimed after what has been answered so far.

    Args:
        question: Objectives and budgets.
        judge: Predicts latencies, where there is a table.
        figures: What is counted.
        candidates: What has been answered.

    Attributes:
        guess: Guesses latencies, milliseconds; None where latency does not matter to an ask or none is known yet.
    """

    def __init__(
        self, question: Question, judge: LatencyJudge, figures: FreeFigures, candidates: Sequence[Candidate]
    ) -> None:
        self._question, self._figures, self._candidates = question, figures, candidates
        self._limit_ms = question.latency.latency_ms if question.latency is not None else None
        self._timed_ms = {
            c.arch: figure_ms(c.latency, question.percentile) for c in candidates if c.latency is not None
        }
        self.guess: Guess | None = None
        if question.times_asks and judge.predicts:
            self.guess = TableGuess(judge.aim_ms)
        elif question.times_asks and self._timed_ms:
            self.guess = LatencyGuess(self._timed_ms, figures.features)

    def acceptable(self, arch: Architecture) -> bool:
        """Says whether an architecture is within the counted budgets and, by guess, about within that of latency."""
        if self._figures.fullest(arch) > 1.0:
            return False
        return (
            self.guess is None or self._limit_ms is None or self.guess(arch) <= GUESS_SLACK * self._limit_ms
        )

    def load(self, lost: Candidate | None = None) -> Callable[[Architecture], float]:
        """Returns what gives the fullest budget of an architecture as a share of what to aim at; 1 or less is aimed well.

        Args:
            lost: Near which it shall be right: its measurement knows better than the guess, there and nearby. A
                prediction is what a table's guess gives already.
        """
        fullest, guess, limit_ms = self._figures.fullest, self.guess, self._limit_ms
        if guess is None or limit_ms is None:
            return fullest
        aimed: Callable[[Architecture], float] = guess
        if lost is not None and isinstance(lost.latency, Measured):
            aimed = guess.through(lost.arch, self._timed_ms[lost.arch])
        return lambda arch: max(fullest(arch), aimed(arch) / (MARGIN * limit_ms))

    def size(self, arch: Architecture) -> float:
        """Returns what a start is spread over: the guessed latency, or MACs where latency does not matter to an ask.

        It is infinite for what is over a counted budget.
        """
        if self._figures.fullest(arch) > 1.0:
            return math.inf
        return self.guess(arch) if self.guess is not None else self._figures.macs(arch)

    def sizes(self) -> tuple[float, float]:
        """Returns the ends of the range a start is spread over, by what has been answered."""
        if self.guess is None:
            macs = [
                self._figures.macs(c.arch) for c in self._candidates if self._figures.fullest(c.arch) <= 1.0
            ]
            return min(macs), max(macs)
        known_ms = list(self._timed_ms.values())
        high_ms = max(known_ms)
        return min(known_ms), high_ms if self._limit_ms is None else min(self._limit_ms, high_ms)
