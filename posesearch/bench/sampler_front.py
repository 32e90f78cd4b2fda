"""The exact optimum and the exact Pareto front of a `Problem`, by dynamic programming along its chain.

A partial chain matters to the rest by its last width alone. So for each last width the Pareto set of (latency, capacity)
over all partial chains is kept, and extended link by link; nothing that is dropped can be part of an optimum, as the rest
of the chain adds the same to both. Crop and accuracy are monotone in the sums and are applied at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posesearch import rng
from posesearch.bench.sampler_problem import BUDGET_MS, Floats, Indices, Problem, accuracy

STARTS = 24
"""Points of the front without interactions from which the search for the best known front starts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExactFront:
    """A Pareto front, fastest first.

    Attributes:
        latency_ms: Latencies, ascending.
        ap: Accuracies, AP points, ascending.
        members_NG: The members, places among the choices.
    """

    latency_ms: Floats
    ap: Floats
    members_NG: Indices

    def within(self, budget_ms: float) -> ExactFront:
        """Returns the part within a budget."""
        count = int(np.searchsorted(self.latency_ms, budget_ms, side="right"))
        return ExactFront(
            latency_ms=self.latency_ms[:count], ap=self.ap[:count], members_NG=self.members_NG[:count]
        )


@dataclass(frozen=True, slots=True)
class _Partial:
    """Pareto set of partial chains: costs, gains, and the choices made (-1 where none yet)."""

    cost_ms: Floats
    gain: Floats
    members_NG: Indices


def exact_front(problem: Problem) -> ExactFront:
    """Returns the exact front of the whole space.

    Raises:
        ValueError: The problem has interactions, which no chain can hold.
    """
    if problem.pairs:
        raise ValueError("the exact front of a problem with interactions is not known")
    ends: list[_Partial] = []
    for place, link in enumerate(problem.links):
        starts = (
            [_Partial(np.zeros(1), np.zeros(1), np.full((1, len(problem.names)), -1))] if place == 0 else ends
        )
        grown = []
        for width in range(link.gain.shape[link.axis]):
            options = np.argwhere(np.ones(link.gain.shape, bool))
            options = options[options[:, link.axis] == width]
            cost_ms, gain = link.cost_ms[tuple(options.T)], link.gain[tuple(options.T)]
            kept = _pareto(cost_ms, gain)
            joins = [
                (0.0, 0.0)
                if place == 0
                else (link.join_cost_ms[before, width], link.join_gain[before, width])
                for before in range(len(starts))
            ]
            grown.append(_extended(starts, joins, options[kept], cost_ms[kept], gain[kept], link.genes))
        ends = grown
    crops = range(len(problem.crop_factor))
    latency_ms = np.concatenate([end.cost_ms * problem.crop_factor[crop] for end in ends for crop in crops])
    capacity = np.concatenate([end.gain + problem.crop_gain[crop] for end in ends for crop in crops])
    members = np.concatenate([_with_crop(end.members_NG, problem, crop) for end in ends for crop in crops])
    front = _pareto(latency_ms, capacity)
    return ExactFront(latency_ms=latency_ms[front], ap=accuracy(capacity[front]), members_NG=members[front])


def front_of(problem: Problem, members_NG: Indices) -> ExactFront:
    """Returns the front of the members given, by scoring each of them."""
    latency_ms, ap = problem.latency_ms(members_NG), problem.ap(members_NG)
    front = _pareto(latency_ms, ap)
    return ExactFront(latency_ms=latency_ms[front], ap=ap[front], members_NG=members_NG[front])


def best_known_front(problem: Problem, *, kicks: int, seed: int = 0) -> ExactFront:
    """Returns the best front that a long local search finds: of a problem with interactions nothing exact is known.

    From each of `STARTS` points of the front without interactions the best change of one or two genes within the latency of
    the start is taken until none helps, then three genes are redrawn and it starts again from the better of both.

    Args:
        problem: The problem.
        kicks: How often genes are redrawn for each start.
        seed: Key of the redrawn genes.
    """
    generator = rng.generator(seed, "best known front")
    plain = exact_front(Problem(problem.space)).within(BUDGET_MS)
    moves = _moves(problem)
    found = [plain.members_NG]
    for place in np.linspace(0, len(plain.ap) - 1, STARTS).astype(int):
        limit_ms = float(plain.latency_ms[place]) if place < len(plain.ap) - 1 else BUDGET_MS
        best = _climbed(problem, plain.members_NG[place], moves, limit_ms)
        for _ in range(kicks):
            kicked = best.copy()
            for gene in generator.integers(len(kicked), size=3):
                kicked[gene] = generator.integers(len(problem.choices[gene]))
            if problem.latency_ms(kicked[None])[0] <= limit_ms:
                other = _climbed(problem, kicked, moves, limit_ms)
                best = max(best, other, key=lambda member_G: float(problem.ap(member_G[None])[0]))
        found.append(best[None])
    return front_of(problem, np.concatenate(found))


def _moves(problem: Problem) -> Indices:
    """Returns all changes of one or two genes: (first gene, its choice, second gene, its choice)."""
    single = [
        (gene, choice) for gene, choices in enumerate(problem.choices) for choice in range(len(choices))
    ]
    return np.array([(*one, *two) for place, one in enumerate(single) for two in single[place:]])


def _climbed(problem: Problem, member_G: Indices, moves_M4: Indices, limit_ms: float) -> Indices:
    rows = np.arange(len(moves_M4))
    here = member_G
    while True:
        around = np.repeat(here[None], len(moves_M4), axis=0)
        around[rows, moves_M4[:, 0]] = moves_M4[:, 1]
        around[rows, moves_M4[:, 2]] = moves_M4[:, 3]
        ap = np.where(problem.latency_ms(around) <= limit_ms, problem.ap(around), -np.inf)
        best = int(ap.argmax())
        if ap[best] <= problem.ap(here[None])[0] + 1e-9:
            return here
        here = around[best]


def all_members(problem: Problem) -> Indices:
    """Returns every member of a small space."""
    return np.argwhere(np.ones([len(choices) for choices in problem.choices], bool))


def _extended(
    starts: list[_Partial],
    joins: list[tuple[float, float]],
    options_OL: Indices,
    cost_ms: Floats,
    gain: Floats,
    genes: tuple[int, ...],
) -> _Partial:
    """Returns the Pareto set of all partial chains with every option of the next link appended."""
    costs = np.concatenate([
        np.add.outer(start.cost_ms + join[0], cost_ms).ravel() for start, join in zip(starts, joins, strict=True)
    ])  # fmt: skip
    gains = np.concatenate([
        np.add.outer(start.gain + join[1], gain).ravel() for start, join in zip(starts, joins, strict=True)
    ])  # fmt: skip
    kept = _pareto(costs, gains)
    before = np.concatenate([start.members_NG for start in starts])[kept // len(options_OL)]
    before[:, genes] = options_OL[kept % len(options_OL)]
    return _Partial(costs[kept], gains[kept], before)


def _with_crop(members_NG: Indices, problem: Problem, crop: int) -> Indices:
    members = members_NG.copy()
    members[:, problem.crop_place] = crop
    return members


def _pareto(cost: Floats, gain: Floats) -> NDArray[np.int64]:
    """Returns the places of what nothing else beats in both, cheapest first."""
    order = np.lexsort((-gain, cost))
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(gain[order])[:-1]])
    return order[gain[order] > best_before]
