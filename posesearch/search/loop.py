"""The search loop: what to ask next, and how an ask is answered.

Latency comes before accuracy: an ask over budget, by measurement or by prediction (`judge`), is told at once and is no
evaluation. A known architecture is answered from memory and is no evaluation either. Both may happen only so often in a
row.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from posesearch.latency.types import LatencyBudget, Measured
from posesearch.search.candidate import Candidate, CostLike
from posesearch.search.guess import Guess, LatencyGuess, TableGuess, cost_features
from posesearch.search.judge import LatencyJudge
from posesearch.search.limit import figure_ms, fits
from posesearch.search.memo import AccuracyMemo
from posesearch.search.propose import MARGIN, keyed, nearby, spread_start, start_count, stratum_latency
from posesearch.search.samplers import Genes, make_sampler
from posesearch.search.study import Ask, SearchStudy
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace

FRUITLESS = 60
"""Asks in a row without a new evaluation after which the search stops."""

BELIEVED_FROM = 3
"""Evaluated neighbours whose mean AP stands in for a proposal over budget."""

GUESS_SLACK = 1.03
"""NSGA-II children are refused when guessed this far over budget; closer ones are worth a measurement."""


class SearchLoop:
    """One search on one study; all its state is the study.

    Args:
        space: The search space.
        study: Where trials are asked and told.
        memo: Where accuracy comes from.
        budget: The latency budget.
        judge: Gives an architecture's latency.
        cost: Gives its cost.
        genes: The encoding of the study.
        sampler: A resolved sampler name.
        seed: Key of all proposals.
        evaluations: How many evaluations the search shall reach.
        warm_starts: (architecture, origin) pairs asked first.
        patience_from: Asks before this one do not count as fruitless: another sampler or seed made them.
    """

    def __init__(
        self,
        space: SearchSpace,
        study: SearchStudy,
        memo: AccuracyMemo,
        *,
        budget: LatencyBudget,
        judge: LatencyJudge,
        cost: Callable[[Architecture], CostLike],
        genes: Genes,
        sampler: str,
        seed: int,
        evaluations: int,
        warm_starts: Sequence[tuple[Architecture, str]],
        patience_from: int = 0,
    ) -> None:
        self._space, self._study, self._memo, self._budget = space, study, memo, budget
        self._judge, self._cost, self._genes = judge, cost, genes
        self._sampler, self._seed, self._evaluations = sampler, seed, evaluations
        self._warm_starts, self._patience_from = tuple(warm_starts), patience_from
        self._features = functools.cache(lambda arch: cost_features(cost(arch)))

    @property
    def evaluated(self) -> int:
        """Evaluations so far: distinct architectures within budget."""
        return sum(c.ap is not None and not c.repeated for c in self._study.candidates)

    def why_stop(self) -> str | None:
        """Returns why the search should end before all evaluations are done, or None."""
        candidates = self._study.candidates
        asked = self._asked()
        if len(asked) >= self._space.cardinality:
            return (
                f"all {self._space.cardinality} architectures of space '{self._space.name}' have been asked"
            )
        lost = 0
        for candidate in reversed(candidates[self._patience_from :]):
            if _new(candidate) or not _proposed(candidate):
                break
            lost += 1
        if lost >= FRUITLESS:
            over = sum(not c.feasible for c in candidates[-lost:])
            return (
                f"the last {lost} proposals brought nothing new ({over} over budget, {lost - over} known): "
                "within this budget little is left to try"
            )
        return None

    def step(self) -> Candidate:
        """Asks once, answers, and returns the answer."""
        ask = self._next_ask()
        asked = self._asked()
        latency = self._judge.latency(ask.arch)
        feasible = fits(latency, self._budget)
        candidate = Candidate(
            trial=ask.trial.number,
            arch=ask.arch,
            cost=self._cost(ask.arch).to_plain(),
            latency=latency,
            feasible=feasible,
            ap=self._memo.ap(ask.arch) if feasible else None,
            origin=ask.origin,
            study=self._study.name,
            predicted=self._judge.prediction(ask.arch),
            repeated=ask.arch in asked,
        )
        self._study.tell(ask, candidate, self._believed_ap(candidate))
        return candidate

    def _asked(self) -> set[Architecture]:
        """Returns what need not be asked again: all candidates but those a later measurement put within the budget."""
        return {
            c.arch
            for c in self._study.candidates
            if c.feasible or not fits(self._judge.latency(c.arch), self._budget)
        }

    def _believed_ap(self, candidate: Candidate) -> float | None:
        """Mean AP of the evaluated architectures nearest in genes, for what GP itself proposed over budget.

        GP learns from complete trials only: with its over-budget proposals pruned it made the same one up to nine
        times in 23 asks.
        """
        if self._sampler != "gp" or candidate.ap is not None or candidate.origin not in ("sampler", "nearby"):
            return None
        evaluated = [c for c in self._study.candidates if _new(c)]
        evaluated.sort(key=lambda c: self._genes.distance(c.arch, candidate.arch))
        near = [c.ap for c in evaluated[:BELIEVED_FROM] if c.ap is not None]
        return sum(near) / len(near) if near else None

    def _next_ask(self) -> Ask:
        candidates = self._study.candidates
        asked = self._asked()
        guess = self._guess() if candidates else None
        limit_ms = GUESS_SLACK * self._budget.latency_ms
        sampler = make_sampler(
            self._sampler,
            seed=self._seed,
            answered=len(candidates),
            evaluations=self._evaluations,
            genes=self._genes,
            acceptable=lambda arch: arch not in asked and (guess is None or guess(arch) <= limit_ms),
        )
        if self._study.waiting:
            return self._study.ask(sampler)
        for arch, origin in self._warm_starts:
            if arch not in asked:
                return self._study.ask(sampler, arch, origin)
        last = candidates[-1]
        if last.origin in ("sampler", "nearby") and not _new(last):
            beside = self._beside(last, asked)
            if beside is not None:
                return self._study.ask(sampler, beside, "nearby")
        start = self._start(asked)
        if start is not None:
            return self._study.ask(sampler, start, "start")
        return self._study.ask(sampler)

    def _guess(self) -> Guess:
        if self._judge.predicts:
            return TableGuess(self._judge.aim_ms)
        return LatencyGuess({c.arch: self._figure_ms(c) for c in self._study.candidates}, self._features)

    def _figure_ms(self, candidate: Candidate) -> float:
        return figure_ms(candidate.latency, self._budget.percentile)

    def _beside(self, lost: Candidate, asked: set[Architecture]) -> Architecture | None:
        aimed: Callable[[Architecture], float] = self._guess()
        if isinstance(lost.latency, Measured):
            # It knows better than the guess, here and nearby; a prediction is what a table's guess gives already.
            aimed = self._guess().through(lost.arch, self._figure_ms(lost))
        generator = keyed(self._seed, len(self._study.candidates))
        limit_ms = MARGIN * self._budget.latency_ms
        return nearby(self._space, lost.arch, limit_ms, aimed, asked, generator)

    def _start(self, asked: set[Architecture]) -> Architecture | None:
        candidates = self._study.candidates
        starts = [c for c in candidates if c.origin == "start"]
        wanted = start_count(self._evaluations)
        # A noisy guess near the budget may lose some: twice as many asks as strata, then the sampler takes over.
        if sum(map(_new, starts)) >= wanted or len(starts) >= 2 * wanted:
            return None
        known_ms = [self._figure_ms(c) for c in candidates]
        wanted_ms = stratum_latency(
            len(starts), wanted, min(known_ms), min(self._budget.latency_ms, max(known_ms))
        )
        generator = keyed(self._seed, len(candidates))
        return spread_start(self._space, wanted_ms, self._guess(), asked, generator)


def _new(candidate: Candidate) -> bool:
    return candidate.ap is not None and not candidate.repeated


def _proposed(candidate: Candidate) -> bool:
    return candidate.origin in ("sampler", "nearby", "start")
