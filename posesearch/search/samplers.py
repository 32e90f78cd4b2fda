"""Which Optuna sampler proposes, made anew for every ask from a key.

A sampler object carries random state and fitted models; a fresh one, seeded by (seed, number of answers so far),
makes each proposal a function of the study alone. So a search that was killed proposes what it would have proposed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from posesearch import rng
from posesearch.errors import UsageError, did_you_mean
from posesearch.search.front import losses
from posesearch.search.surrogate import SurrogateSampler
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import Choice, SearchSpace

SAMPLERS = ("auto", "surrogate", "gp", "nsga2", "tpe", "random")

AUTO = "surrogate"
"""What "auto" means, by `posesearch bench sampler`; see docs/decisions.md."""

TRIES = 60
"""Children NSGA-II may draw until one is new and within the budget; the last one is taken as it is."""


def resolve_sampler(name: str, evaluations: int) -> str:
    """Returns the sampler that `name` means for a search of so many evaluations.

    Raises:
        UsageError: The name is not known, or there is nothing to evaluate.
    """
    if evaluations < 1:
        raise UsageError(f"--trials {evaluations}: expected at least 1 evaluation. Try --trials 200.")
    if name not in SAMPLERS:
        raise UsageError(
            f"--sampler '{name}' is not known.{did_you_mean(name, SAMPLERS)} Allowed: {', '.join(SAMPLERS)}."
        )
    if name != "auto":
        return name
    return AUTO


class Genes:
    """How genes become Optuna parameters: indices for every sampler but TPE, which does better on categories.

    Args:
        space: The search space.
        sampler: A resolved sampler name.

    Attributes:
        encoding: "index" or "choice".
        choices: The choices of each gene.
    """

    def __init__(self, space: SearchSpace, sampler: str) -> None:
        self._space = space
        self.choices = space.genes()
        self.encoding = "choice" if sampler == "tpe" else "index"

    def distributions(self) -> dict[str, BaseDistribution]:
        """Returns the parameters of a trial."""
        if self.encoding == "choice":
            return {name: CategoricalDistribution(choices) for name, choices in self.choices.items()}
        return {name: IntDistribution(0, len(choices) - 1) for name, choices in self.choices.items()}

    def params(self, arch: Architecture) -> dict[str, Any]:
        """Returns the parameter values of an architecture.

        Raises:
            UsageError: It is not a member of the space.
        """
        genes = self._space.encode(arch)
        if self.encoding == "choice":
            return dict(genes)
        return {name: self.choices[name].index(value) for name, value in genes.items()}

    def arch(self, params: dict[str, Any]) -> Architecture:
        """Returns the architecture of parameter values."""
        if self.encoding == "choice":
            genes: dict[str, Choice] = params
        else:
            genes = {name: self.choices[name][int(index)] for name, index in params.items()}
        return self._space.decode(genes)

    def distance(self, first: Architecture, second: Architecture) -> float:
        """Returns the sum over genes of the difference in place among the choices, each at most 1."""
        one, two = self._space.encode(first), self._space.encode(second)
        return sum(
            abs(choices.index(one[name]) - choices.index(two[name])) / (len(choices) - 1)
            for name, choices in self.choices.items()
            if len(choices) > 1
        )


def make_sampler(
    name: str,
    *,
    seed: int,
    answered: int,
    evaluations: int,
    genes: Genes,
    acceptable: Callable[[Architecture], bool],
    propose: Callable[[np.random.Generator], Architecture],
) -> BaseSampler:
    """Returns a fresh sampler for one ask.

    Args:
        name: "surrogate", "gp", "nsga2", "tpe" or "random".
        seed: The search's seed.
        answered: Trials answered so far; with the seed, the key of the proposal.
        evaluations: Evaluations planned, for the size of NSGA-II's population.
        genes: The encoding.
        acceptable: Says whether an architecture is new and, by guess, within the budget.
        propose: The surrogate's proposal.
    """
    key = int(rng.generator(seed, "propose", answered).integers(2**31))
    if name == "surrogate":
        return SurrogateSampler(genes, lambda: propose(np.random.default_rng(key)))
    if name == "gp":
        return GPSampler(seed=key, n_startup_trials=4, warn_independent_sampling=False)
    if name == "tpe":
        # Univariate TPE, the default for several objectives, repeated itself in 1,384 of 2,000 asks.
        return TPESampler(seed=key, multivariate=True)
    if name == "random":
        return RandomSampler(seed=key)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return NSGAIISampler(
            seed=key,
            population_size=20 if evaluations >= 100 else 10,
            child_generation_strategy=NewFeasibleChildren(genes, np.random.default_rng(key), acceptable),
        )


class NewFeasibleChildren:
    """NSGA-II children that are worth an evaluation: never asked before and, by guess, within the budget.

    Binary tournament on dominance for both parents, uniform crossover, one gene mutated on average.

    Args:
        genes: The encoding.
        generator: Randomness of this one ask.
        acceptable: Says whether an architecture is new and, by guess, within the budget.
    """

    def __init__(
        self,
        genes: Genes,
        generator: np.random.Generator,
        acceptable: Callable[[Architecture], bool],
    ) -> None:
        self._genes, self._rng, self._acceptable = genes, generator, acceptable

    def __call__(
        self,
        study: optuna.Study,
        search_space: dict[str, BaseDistribution],
        parent_population: list[FrozenTrial],
    ) -> dict[str, Any]:
        """Returns the parameters of one child; called by Optuna."""
        child: dict[str, Any] = {}
        distributions = self._genes.distributions()
        maximise = [direction is StudyDirection.MAXIMIZE for direction in study.directions]
        for _ in range(TRIES):
            one, two = (self._tournament(parent_population, maximise) for _ in range(2))
            child = {
                name: self._mutated(
                    distribution, (one if self._rng.random() < 0.5 else two).params[name], len(distributions)
                )
                for name, distribution in distributions.items()
            }
            if self._acceptable(self._genes.arch(child)):
                break
        # A gene with a single choice is no part of Optuna's relative search space.
        return {name: value for name, value in child.items() if name in search_space}

    def _tournament(self, population: Sequence[FrozenTrial], maximise: Sequence[bool]) -> FrozenTrial:
        first, second = (population[int(i)] for i in self._rng.integers(len(population), size=2))
        one, two = losses(first.values, maximise), losses(second.values, maximise)
        return second if all(b <= a for a, b in zip(one, two, strict=True)) else first

    def _mutated(self, distribution: BaseDistribution, value: Any, count: int) -> Any:
        if self._rng.random() >= 1.0 / count:
            return value
        if isinstance(distribution, IntDistribution):
            return int(self._rng.integers(distribution.high + 1))
        assert isinstance(distribution, CategoricalDistribution)
        return distribution.choices[int(self._rng.integers(len(distribution.choices)))]
