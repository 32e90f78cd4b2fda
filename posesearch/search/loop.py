"""The search loop: what to ask next, and how an ask is answered.

What is counted comes before latency, and latency before accuracy: an ask over a counted budget is not even timed, one over
the latency budget, by measurement or by prediction (`judge`), is told at once, and neither is an evaluation. A known
architecture is answered from memory and is no evaluation either. All of this may happen only so often in a row.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
from optuna.samplers import RandomSampler

from posesearch.latency.types import Latency
from posesearch.search.aim import Aim, FreeFigures
from posesearch.search.axes import free_axes
from posesearch.search.candidate import Candidate, CostLike
from posesearch.search.judge import LatencyJudge
from posesearch.search.memo import AccuracyMemo
from posesearch.search.objectives import value_of
from posesearch.search.propose import keyed, nearby, spread_start, start_count, stratum_latency
from posesearch.search.question import Question
from posesearch.search.samplers import Genes, make_sampler
from posesearch.search.study import Ask, SearchStudy
from posesearch.search.surrogate import Surrogate, Task
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace

FRUITLESS = 60
"""Asks in a row without a new evaluation after which the search stops."""

BELIEVED_FROM = 3
"""Evaluated neighbours whose mean AP stands in for a proposal over budget."""


class SearchLoop:
    """One search on one study; all its state is the study.

    Args:
        space: The search space.
        study: Where trials are asked and told.
        memo: Where accuracy comes from.
        question: Objectives and budgets.
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
        question: Question,
        judge: LatencyJudge,
        cost: Callable[[Architecture], CostLike],
        genes: Genes,
        sampler: str,
        seed: int,
        evaluations: int,
        warm_starts: Sequence[tuple[Architecture, str]],
        patience_from: int = 0,
    ) -> None:
        self._space, self._study, self._memo, self._question = space, study, memo, question
        self._judge, self._cost, self._genes = judge, cost, genes
        self._sampler, self._seed, self._evaluations = sampler, seed, evaluations
        self._warm_starts, self._patience_from = tuple(warm_starts), patience_from
        self._figures = FreeFigures(question, cost)
        self._surrogate = Surrogate(genes, seed) if sampler == "surrogate" else None

    @property
    def evaluated(self) -> int:
        """Evaluations so far: distinct architectures within budget."""
        return sum(c.ap is not None and not c.repeated for c in self._study.candidates)

    def why_stop(self) -> str | None:
        """Returns why the search should end before all evaluations are done, or None."""
        candidates = self._study.candidates
        asked = self._asked()
        if self._study.running:  # their answers may change it
            return None
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

    def step(self) -> Candidate | None:
        """Asks once, answers, and returns the answer.

        Returns:
            None where other workers have in hand what is left, or this one's answer came too late.
        """
        with self._study.asking():
            self.hear()
            if self._in_hand():
                return None
            ask = self._next_ask()
            if ask.arch in self._study.running:
                self._study.drop(ask)
                beside = self._beside_running(ask.arch)
                if beside is None:
                    return None
                ask = self._study.ask(RandomSampler(), beside, "nearby")
        try:
            return self._answer(ask)
        except BaseException:
            self._study.release(ask)
            raise

    def hear(self) -> None:
        """Takes over what other workers have measured and evaluated."""
        news = self._study.take_news()
        if news:
            answered = [each.candidate for each in news]
            self._judge.hear({c.arch: c.latency for c in answered if c.latency is not None})
            self._memo.hear({n.candidate.arch.id: n.evaluation for n in news if n.evaluation is not None})

    def _in_hand(self) -> bool:
        """Says whether other workers have evaluated, or evaluate now, all that is left."""
        running = self._study.running
        if self.evaluated + len(running) >= self._evaluations:
            return True
        if not running or self._study.waiting:
            return False
        asked = self._asked()
        # Before the first answer there is nothing to propose from.
        first = self._study.candidates or any(arch not in asked for arch, _ in self._warm_starts)
        return not first or len(asked) >= self._space.cardinality

    def _beside_running(self, arch: Architecture) -> Architecture | None:
        """Returns a neighbour of what a sampler proposed and another worker evaluates already."""
        generator = keyed(self._seed, self._study.next_key)
        return nearby(self._space, arch, 1.0, self._aim().load(), self._asked(), generator)

    def _answer(self, ask: Ask) -> Candidate | None:
        asked = self._asked() - self._study.running
        cost = self._question.budgets.described(self._cost(ask.arch).to_plain())
        latency: Latency | None = None
        if self._question.budgets.allows_cost(cost) and (self._question.times_asks or self._judge.predicts):
            latency = self._judge.latency(ask.arch)
        feasible = self._question.allows(cost, latency)
        candidate = Candidate(
            trial=ask.trial.number,
            arch=ask.arch,
            cost=cost,
            latency=latency,
            feasible=feasible,
            ap=self._memo.ap(ask.arch) if feasible else None,
            origin=ask.origin,
            study=self._study.name,
            predicted=self._judge.prediction(ask.arch),
            repeated=ask.arch in asked,
            metrics=self._memo.metrics(ask.arch) if feasible else {},
        )
        told = self._study.tell(
            ask, candidate, self._believed(candidate), self._memo.evaluation(ask.arch) if feasible else None
        )
        return candidate if told else None

    def _asked(self) -> set[Architecture]:
        """Returns what need not be asked again: all candidates but those a later measurement put within the budget.

        Nor what other workers evaluate now.
        """
        answered = {
            c.arch
            for c in self._study.candidates
            if c.feasible or not self._question.allows(c.cost, c.latency and self._judge.latency(c.arch))
        }
        return answered | self._study.running

    def _believed(self, candidate: Candidate) -> dict[str, float]:
        """What stands in for the figures of a proposal of GP's over budget: the mean of its evaluated neighbours in genes.

        GP learns from complete trials only: with its over-budget proposals pruned it made the same one up to nine
        times in 23 asks. Its latency is a guess where it was not asked.
        """
        if self._sampler != "gp" or candidate.ap is not None or candidate.origin not in ("sampler", "nearby"):
            return {}
        evaluated = [c for c in self._study.candidates if _new(c)]
        evaluated.sort(key=lambda c: self._genes.distance(c.arch, candidate.arch))
        near = [{"AP": c.ap or 0.0, **c.metrics} for c in evaluated[:BELIEVED_FROM]]
        if not near:
            return {}
        believed = {name: sum(each[name] for each in near) / len(near) for name in self._question.metrics}
        guess = self._aim().guess
        return believed if guess is None else {**believed, "latency_ms": guess(candidate.arch)}

    def _next_ask(self) -> Ask:
        candidates = self._study.candidates
        asked = self._asked()
        aim = self._aim()
        sampler = make_sampler(
            self._sampler,
            seed=self._seed,
            answered=self._study.next_key,
            evaluations=self._evaluations,
            genes=self._genes,
            acceptable=lambda arch: arch not in asked and aim.acceptable(arch),
            propose=functools.partial(self._surrogate_ask, aim, asked),
        )
        if self._study.waiting:
            return self._study.ask(sampler)
        for arch, origin in self._warm_starts:
            if arch not in asked:
                return self._study.ask(sampler, arch, origin)
        last = candidates[-1]
        # The surrogate knows better what lies beside: the same question again, with what was learnt.
        if self._sampler != "surrogate" and last.origin in ("sampler", "nearby") and not _new(last):
            beside = self._beside(last, asked)
            if beside is not None:
                return self._study.ask(sampler, beside, "nearby")
        start = self._start(asked)
        if start is not None:
            return self._study.ask(sampler, start, "start")
        return self._study.ask(sampler)

    def _surrogate_ask(
        self, aim: Aim, asked: set[Architecture], generator: np.random.Generator
    ) -> Architecture:
        """Returns what the surrogate proposes, from distinct evaluated architectures, free figures, and what is new."""
        assert self._surrogate is not None
        candidates, goodness = self._study.candidates, self._question.goodness
        sign = 1.0 if goodness.maximise else -1.0
        evaluated = {c.arch: sign * value_of(goodness, c) for c in candidates if c.ap is not None}
        lost = 0
        for candidate in reversed(candidates):
            if candidate.origin != "sampler" or candidate.feasible:
                break
            lost += 1
        task = Task(
            archs=tuple(evaluated),
            scores=tuple(evaluated.values()),
            axes=free_axes(self._question, aim, self._cost, lost),
            new=lambda arch: arch not in asked,
        )
        return self._surrogate.propose(task, generator)

    def _aim(self) -> Aim:
        return Aim(self._question, self._judge, self._figures, self._study.candidates)

    def _beside(self, lost: Candidate, asked: set[Architecture]) -> Architecture | None:
        generator = keyed(self._seed, self._study.next_key)
        return nearby(self._space, lost.arch, 1.0, self._aim().load(lost), asked, generator)

    def _start(self, asked: set[Architecture]) -> Architecture | None:
        candidates = self._study.candidates
        starts = [c for c in candidates if c.origin == "start"]
        wanted = start_count(self._evaluations, self._sampler)
        # A noisy guess near the budget may lose some: twice as many asks as strata, then the sampler takes over.
        if sum(map(_new, starts)) >= wanted or len(starts) >= 2 * wanted:
            return None
        aim = self._aim()
        size = stratum_latency(len(starts), wanted, *aim.sizes())
        generator = keyed(self._seed, self._study.next_key)
        start = spread_start(self._space, size, aim.size, asked, generator)
        return start if start is not None and self._figures.fullest(start) <= 1.0 else None


def _new(candidate: Candidate) -> bool:
    return candidate.ap is not None and not candidate.repeated


def _proposed(candidate: Candidate) -> bool:
    return candidate.origin in ("sampler", "nearby", "start")
