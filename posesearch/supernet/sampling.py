"""Which subnets a step trains: the sandwich rule, with fair and size-spread random draws that need no state.

Sandwich (Yu & Huang, "Universally Slimmable Networks", ICCV 2019): the largest, the smallest and some random subnets share
each batch. Random draws come in blocks of 24. Within a block every choice of every gene appears equally often (strict
fairness, FairNAS, ICCV 2021). Genes drawn independently pile up around the middle size, so the draws of a block share a
size score from 24 strata: a gene's larger choices go to the draws whose score plus own noise ranks higher (a Gaussian
copula). Everything is a function of (seed, step), so a resumed run and every process of a distributed one agree.

A refinement (`revisit`) puts architectures that a search has visited in the place of the random ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

import numpy as np

from posesearch.errors import UsageError
from posesearch.rng import generator
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace

BLOCK = 24
"""Draws in a block: a multiple of 2, 3 and 4, the usual numbers of choices."""

SIZE_CORRELATION = 0.6
"""Weight of the shared size score in a gene's rank; 0 draws genes independently, 1 makes all grow together."""

SubnetKind = Literal["largest", "smallest", "random", "visited"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SubnetDraw:
    """One subnet of a step and why it is there."""

    kind: SubnetKind
    arch: Architecture


def sandwich(
    space: SearchSpace, seed: int, step: int, num_random: int = 2, *, correlation: float = SIZE_CORRELATION
) -> tuple[SubnetDraw, ...]:
    """Returns the subnets of one step: the largest, the smallest, then `num_random` random ones.

    Args:
        space: the search space.
        seed: key of the draws.
        step: number of the optimiser step, from 0.
        num_random: random subnets a step, at least 0.
        correlation: see `SIZE_CORRELATION`, in [0, 1].

    Raises:
        UsageError: an argument is out of range.
    """
    if step < 0 or num_random < 0 or not 0.0 <= correlation <= 1.0:
        raise UsageError(
            f"Cannot draw subnets for step {step}, num_random {num_random}, correlation {correlation}. "
            "Allowed: step >= 0, num_random >= 0, correlation in [0, 1]. Check the recipe."
        )
    draws = _ends(space)
    for index in range(step * num_random, (step + 1) * num_random):
        block, place = divmod(index, BLOCK)
        draws.append(SubnetDraw(kind="random", arch=random_block(space, seed, block, correlation)[place]))
    return tuple(draws)


def revisit(
    space: SearchSpace,
    front: Sequence[Architecture],
    others: Sequence[Architecture],
    seed: int,
    step: int,
    num_visited: int,
) -> tuple[SubnetDraw, ...]:
    """Returns the subnets of one step of a refinement: largest, smallest, then what a search has visited.

    The draws go round in blocks. A block holds each of `others` once and each member of `front` as often as makes the
    front at least half of it, in an order keyed by the block: after any number of steps the shares are those.

    Args:
        space: the search space.
        front: what the search found best, at least one architecture.
        others: what else it visited, none of the front.
        seed: key of the draws.
        step: number of the optimiser step, from 0.
        num_visited: visited subnets a step, at least 1.
    """
    times = max(1, -(-len(others) // len(front)))
    pool = (*front,) * times + (*others,)
    draws = _ends(space)
    for index in range(step * num_visited, (step + 1) * num_visited):
        block, place = divmod(index, len(pool))
        order = generator(seed, "revisit", block).permutation(len(pool))
        draws.append(SubnetDraw(kind="visited", arch=pool[order[place]]))
    return tuple(draws)


def _ends(space: SearchSpace) -> list[SubnetDraw]:
    return [
        SubnetDraw(kind="largest", arch=space.largest()),
        SubnetDraw(kind="smallest", arch=space.smallest()),
    ]


@lru_cache(maxsize=8)
def random_block(
    space: SearchSpace, seed: int, block: int, correlation: float = SIZE_CORRELATION
) -> tuple[Architecture, ...]:
    """Returns the 24 random architectures of one block, fair in every gene.

    Args:
        space: the search space.
        seed: key of the draws.
        block: number of the block, from 0.
        correlation: see `SIZE_CORRELATION`.
    """
    rng = generator(seed, "sandwich", block)
    uniform = (rng.permutation(BLOCK) + rng.uniform(0.02, 0.98, BLOCK)) / BLOCK
    score = np.array([NormalDist().inv_cdf(value) for value in uniform])
    columns = {}
    for name, choices in space.genes().items():
        noise = rng.standard_normal(BLOCK)
        ranks = np.argsort(np.argsort(correlation * score + np.sqrt(1.0 - correlation**2) * noise))
        shares = _fair_shares(len(choices), block)
        ascending = np.repeat(np.arange(len(choices)), shares)
        columns[name] = [sorted(choices)[index] for index in ascending[ranks]]
    return tuple(
        space.decode({name: column[place] for name, column in columns.items()}) for place in range(BLOCK)
    )


def _fair_shares(num_choices: int, block: int) -> np.ndarray:
    """How often each choice appears in a block; what does not divide evenly moves on from block to block."""
    shares = np.full(num_choices, BLOCK // num_choices)
    remainder = BLOCK % num_choices
    for extra in range(remainder):
        shares[(block * remainder + extra) % num_choices] += 1
    return shares
