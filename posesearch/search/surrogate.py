"""Our own sampler: a Bayesian linear model of single choices and pairs, asked for the best member within free limits.

Accuracy costs an evaluation, latency and size nothing. So each ask searches the surrogate, not the networks, under limits
on what is free to know. A share of the asks goes to the best network within the budgets; the others to the front, each at
the levels of the free objectives where the surrogate sees most volume to gain. Mostly the surrogate's mean is searched,
sometimes a draw from it, so that what it does not know is tried as well. Nothing that was asked, and nothing that is over
a limit by its figures, is proposed while there is anything else.

Figures are tables of effects too (fitted to a few hundred members, which is free), and what a search ends at is asked for
its figures exactly before it is proposed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

from posesearch.search.axes import Axis
from posesearch.search.surrogate_climb import LEAST_GAIN, Climb
from posesearch.search.surrogate_figures import FigureTables, sized_members
from posesearch.search.surrogate_kernel import Effects, Floats, Indices, Tables
from posesearch.search.surrogate_model import FIRST_FIT, Posterior
from posesearch.search.surrogate_volume import Levels
from posesearch.spaces.arch import Architecture

if TYPE_CHECKING:
    from posesearch.search.samplers import Genes

BEST_SHARE = 0.25
"""Share of the asks that look for the best network within the budgets."""

DRAWN_SHARE = 0.1
"""Share of the asks that search a draw instead of the mean. On the synthetic problem 0.1 or less gave more volume and a
better best network after 200 evaluations than 0.5 or 1."""

TARGETS = 6
"""Levels of the free objectives that are tried for an ask of the front."""

ROUNDS = 3
"""Searches in a row, each starting from the exact figures of where the last one ended."""

CLOSE = 0.004
"""Changes this far over a limit by the tables (logarithm) are still asked for their exact figures."""

ASKED_EXACTLY = 200
"""Exact figures asked at most around where a search ended."""

DRAWS = 200
"""Random members looked at where there is no surrogate yet, or it found nothing."""

ENDS = 2
"""Ends of searches around which a new member is looked for, the most promising first."""

LISTED = 1024
"""Members up to which a space is listed instead of searched."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What one ask knows.

    Attributes:
        archs: Evaluated architectures in the order of their answers.
        scores: Their scores, more is better.
        axes: Free figures.
        new: Says whether an architecture was not asked yet.
    """

    archs: Sequence[Architecture]
    scores: Sequence[float]
    axes: tuple[Axis, ...]
    new: Callable[[Architecture], bool]

    def excess(self, arch: Architecture) -> float:
        """Returns the fullest limit of an architecture as a share of it; 1 or less fits."""
        shares = [axis.figure(arch) / axis.limit for axis in self.axes if axis.limit is not None]
        return max(shares, default=0.0)


class Surrogate:
    """Proposes architectures; what it keeps between asks saves time and changes nothing.

    Args:
        genes: The encoding of the study, by index.
        seed: Key of the members that figures are learnt from.
    """

    def __init__(self, genes: Genes, seed: int) -> None:
        self._genes = genes
        choices = genes.choices
        self._effects = Effects(list(choices), [len(each) for each in choices.values()])
        self._names = tuple(choices)
        self._seed = seed
        self._figures: FigureTables | None = None
        self._places: dict[Architecture, Indices] = {}
        self._posterior: Posterior | None = None
        counts = self._effects.counts
        self._all = np.argwhere(np.ones(counts, bool)) if math.prod(counts) <= LISTED else None

    def arch(self, member_G: Indices) -> Architecture:
        """Returns the architecture with these places among the choices."""
        return self._genes.arch(dict(zip(self._names, member_G.tolist(), strict=True)))

    def places(self, archs: Sequence[Architecture]) -> Indices:
        """Returns the places among the choices of architectures, one row each."""
        for arch in archs:
            if arch not in self._places:
                params = self._genes.params(arch)
                self._places[arch] = np.array([params[name] for name in self._names])
        return np.stack([self._places[arch] for arch in archs])

    def values(self, tables: Tables, members_NG: Indices) -> Floats:
        """Returns the values of members."""
        return tables.of(self._effects.one_hot(members_NG))

    def posterior(self, archs: Sequence[Architecture], scores: Sequence[float]) -> Posterior:
        """Returns what is believed after these answers; at least `FIRST_FIT`."""
        members, values = self.places(archs), np.array(scores, np.float64)
        known = self._posterior
        if known is None or not known.follows(members, values):
            self._posterior = known = Posterior(self._effects, members, values)
        for member_G, score in zip(members[known.count :], values[known.count :], strict=True):
            known.add(member_G, float(score))
        return known

    def propose(self, task: Task, generator: np.random.Generator) -> Architecture:
        """Returns what to ask next; over a limit or asked before only where nothing else was found."""
        found: Architecture | None = None
        if len(task.archs) >= FIRST_FIT:
            found = self._searched(task, generator)
        return found if found is not None else self._random(task, generator)

    def _searched(self, task: Task, generator: np.random.Generator) -> Architecture | None:
        posterior = self.posterior(task.archs, task.scores)
        mean = posterior.mean()
        expected = mean.of(self._effects.one_hot(posterior.members_NG))
        seen = np.array([[axis.figure(arch) for axis in task.axes] for arch in task.archs]).reshape(
            len(task.archs), len(task.axes)
        )
        score = posterior.draw(generator) if generator.random() < DRAWN_SHARE else mean
        levels = Levels(task.axes, seen, expected, generator)
        best_only = generator.random() < BEST_SHARE or not levels.has_objective
        if self._all is not None:
            return self._listed(task, score, levels, best_only=best_only)
        # Where everything close to the best network has been asked, the front is next.
        for limits_KA in ([levels.top_A[None]] if best_only else []) + [levels.targets(TARGETS)]:
            starts, limits = self._starts(posterior.members_NG, expected, levels, limits_KA, generator)
            found = self._climbed(task, score, levels, starts, limits)
            if found is not None:
                return found
        return None

    def _starts(
        self,
        members_NG: Indices,
        expected_N: Floats,
        levels: Levels,
        limits_KA: Floats,
        generator: np.random.Generator,
    ) -> tuple[Indices, Floats]:
        """Returns where searches start and their limits: the best known members within, and one drawn from all."""
        starts: list[Indices] = []
        limits: list[Floats] = []
        for limit_A in limits_KA:
            fitting = np.where((levels.seen_NA <= limit_A).all(axis=1), expected_N, -np.inf)
            best = np.argsort(-fitting, kind="stable")[: 4 if len(limits_KA) == 1 else 1]
            starts += [*members_NG[best], members_NG[int(generator.integers(len(members_NG)))]]
            limits += [limit_A] * (len(best) + 1)
        return np.stack(starts), np.stack(limits)

    def _climbed(
        self, task: Task, score: Tables, levels: Levels, here: Indices, limits_SA: Floats
    ) -> Architecture | None:
        """Searches from all starts, and returns the best new member around the most promising end."""
        if self._figures is None:
            self._figures = FigureTables(self._effects, self.arch, self._seed)
        climb = Climb(
            self._effects, score, self._figures.tables(task.axes, self.places(task.archs), task.archs)
        )
        limits_SA = np.log(limits_SA)
        figures = self._logs(task, here)
        for _ in range(ROUNDS):
            here = climb.best(here, figures, limits_SA)
            figures = self._logs(task, here)
            if (figures <= limits_SA).all():
                break
        values = score.of(self._effects.one_hot(here))
        gain = levels.gains(values, np.exp(figures))
        gain[[not task.new(self.arch(member_G)) for member_G in here]] = 0.0
        # Where no volume is left to gain, and with a single limit, the best by score comes first.
        one_limit = bool((limits_SA == limits_SA[0]).all())
        order = np.lexsort((-values, np.zeros(len(here)) if one_limit else -gain))
        fits = np.all(figures <= limits_SA + 1e-12, axis=1)
        for end in [place for place in order if fits[place]][:ENDS]:
            found = self._settled(task, climb, here[end], figures[end], limits_SA[end])
            if found is not None:
                return found
        return None

    def _settled(
        self, task: Task, climb: Climb, here: Indices, figures_A: Floats, limits_A: Floats
    ) -> Architecture | None:
        """Goes on by exact figures to where no change of two genes helps; returns the best new member there."""
        left = ASKED_EXACTLY
        while True:
            better = None
            for gain, member_G in climb.around(here, np.maximum(0.0, limits_A - figures_A) + CLOSE):
                arch = self.arch(member_G)
                if gain <= LEAST_GAIN and not task.new(arch):
                    continue
                left -= 1
                if left < 0:
                    return None
                found_A = self._logs(task, member_G[None])[0]
                if (found_A > limits_A + 1e-12).any():
                    continue
                if gain <= LEAST_GAIN:
                    return arch
                better = member_G, found_A
                break
            if better is None:
                return None
            here, figures_A = better

    def _logs(self, task: Task, members_SG: Indices) -> Floats:
        archs = [self.arch(member_G) for member_G in members_SG]
        logs = [[np.log(axis.figure(arch)) for axis in task.axes] for arch in archs]
        return np.array(logs).reshape(len(archs), len(task.axes))

    def _listed(self, task: Task, score: Tables, levels: Levels, *, best_only: bool) -> Architecture | None:
        """Returns the best new member of a space that is small enough to look at all of it."""
        left = [(member_G, arch) for member_G, arch in self._left(task) if task.excess(arch) <= 1.0]
        if not left:
            return None
        members = np.stack([member_G for member_G, _ in left])
        values = score.of(self._effects.one_hot(members))
        gain = values if best_only else levels.gains(values, np.exp(self._logs(task, members)))
        # Where no volume is left to gain, the best by score is worth more than the first in the list.
        return left[max(range(len(left)), key=lambda place: (gain[place], values[place]))][1]

    def _left(self, task: Task) -> list[tuple[Indices, Architecture]]:
        assert self._all is not None
        pairs = ((member_G, self.arch(member_G)) for member_G in self._all)
        return [(member_G, arch) for member_G, arch in pairs if task.new(arch)]

    def _random(self, task: Task, generator: np.random.Generator) -> Architecture:
        """Returns a random new member within the limits; where none was drawn, the new one least over them."""
        if self._all is not None:
            drawn = [arch for _, arch in self._left(task)]
            drawn = [drawn[int(place)] for place in generator.permutation(len(drawn))]
        else:
            members = sized_members(self._effects.counts, DRAWS, generator)
            drawn = [arch for arch in map(self.arch, members) if task.new(arch)]
        if not drawn:
            return self.arch(generator.integers(self._effects.counts))
        fitting = next((arch for arch in drawn if task.excess(arch) <= 1.0), None)
        return fitting if fitting is not None else min(drawn, key=task.excess)


class SurrogateSampler(BaseSampler):
    """The surrogate as a sampler of Optuna's, for one ask.

    Args:
        genes: The encoding of the study.
        propose: Gives the architecture to ask.
    """

    def __init__(self, genes: Genes, propose: Callable[[], Architecture]) -> None:
        self._genes, self._propose = genes, propose

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Returns all genes that have a choice."""
        return {name: each for name, each in self._genes.distributions().items() if not each.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Returns the proposal, all genes at once."""
        params = self._genes.params(self._propose())
        return {name: params[name] for name in search_space}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draws a parameter that is no gene; a study of ours has none."""
        return RandomSampler(seed=0).sample_independent(study, trial, param_name, param_distribution)
