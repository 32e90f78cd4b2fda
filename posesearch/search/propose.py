"""What to ask before and beside the sampler: a start spread over the latencies, and neighbours of lost proposals.

**Start.** Uniformly drawn architectures crowd around the middle latency, and a sampler that begins there leaves the ends
of the front empty. So the first part of a search (`START_SHARE`) is drawn from equal latency strata between the
fastest member and the budget, in bit-reversed order: after any number of evaluations the range is covered evenly.

**Nearby.** When a sampler proposes something over budget, or something already asked, the next ask is the closest
new architecture that should fit: the intention is kept and the ask not wasted.

Each proposal is a function of (seed, number of answers) and what has been answered, never of anything in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from posesearch import rng
from posesearch.spaces.arch import Architecture
from posesearch.spaces.ops import mutate, neighbours
from posesearch.spaces.space import SearchSpace

START_SHARE = 0.4
"""Share of the evaluations that go to the spread start."""

DRAWS = 96
"""Random architectures from which the one closest to the wanted latency is taken; about 20 ms."""

MARGIN = 0.97
"""A repaired architecture is aimed at this part of the budget: the guess errs by a few per cent."""

SMALL_SPACE = 4096
"""Members up to which the rest of a space is listed when random moves find nothing new."""


SURROGATE_START = 10
"""Most evaluations of the spread start where the surrogate follows: it explores by itself, and 10 gave more than 20."""


def start_count(evaluations: int, sampler: str) -> int:
    """Returns how many evaluations the spread start takes."""
    wanted = round(START_SHARE * evaluations)
    return min(wanted, SURROGATE_START) if sampler == "surrogate" else wanted


def stratum_latency(index: int, count: int, low_ms: float, high_ms: float) -> float:
    """Returns the middle latency of the `index`-th stratum to visit, of `count` between two latencies."""
    bits = max(1, (count - 1).bit_length())
    order = sorted(range(count), key=lambda i: int(format(i, f"0{bits}b")[::-1], 2))
    return low_ms + (high_ms - low_ms) * (order[index % count] + 0.5) / count


def spread_start(
    space: SearchSpace,
    wanted: float,
    size: Callable[[Architecture], float],
    asked: set[Architecture],
    generator: np.random.Generator,
) -> Architecture | None:
    """Returns a new random architecture whose size is closest to `wanted`; None when none was drawn.

    Its size is the guessed latency, or MACs where a search does not time its asks.
    """
    drawn = [_sized_sample(space, generator) for _ in range(DRAWS)]
    new = [arch for arch in drawn if arch not in asked]
    return min(new, key=lambda arch: abs(size(arch) - wanted)) if new else None


def _sized_sample(space: SearchSpace, generator: np.random.Generator) -> Architecture:
    # Independent genes average out to middle sizes; a shared size reaches small and large members too.
    size = generator.random()
    genes = {}
    for name, choices in space.genes().items():
        place = size + 0.35 * generator.standard_normal()
        genes[name] = choices[int(np.clip(np.floor(place * len(choices)), 0, len(choices) - 1))]
    return space.decode(genes)


def nearby(
    space: SearchSpace,
    lost: Architecture,
    limit_ms: float,
    guess: Callable[[Architecture], float],
    asked: set[Architecture],
    generator: np.random.Generator,
) -> Architecture | None:
    """Returns a new architecture close to `lost` whose guessed latency is within `limit_ms`.

    One gene after another is changed: to a random fitting neighbour if there is one, else towards the budget by the
    smallest step that helps.

    Args:
        space: The search space.
        lost: The proposal that was over budget or already asked.
        limit_ms: Latency to stay within.
        guess: Guessed latency, scaled so that it is right for `lost`.
        asked: Architectures asked before.
        generator: Randomness of this one ask.

    Returns:
        None when no new member was found.
    """
    here = lost
    for _ in range(2 * len(space.genes())):
        around = list(neighbours(space, here))
        fitting = [arch for arch in around if arch not in asked and guess(arch) <= limit_ms]
        if fitting:
            return _pick(fitting, generator)
        here_ms = guess(here)
        faster = [arch for arch in around if guess(arch) < here_ms] if here_ms > limit_ms else []
        here = _pick(faster, generator) if faster else mutate(space, here, generator, 0.3)
    if space.cardinality <= SMALL_SPACE:
        left = [arch for arch in members(space) if arch not in asked]
        if left:
            return min(left, key=guess)
    return None


def members(space: SearchSpace) -> Iterable[Architecture]:
    """Yields every member of a space."""
    genes = space.genes()
    names = list(genes)
    counts = [len(genes[name]) for name in names]
    for index in np.ndindex(*counts):
        yield space.decode({name: genes[name][i] for name, i in zip(names, index, strict=True)})


def _pick(archs: list[Architecture], generator: np.random.Generator) -> Architecture:
    return archs[int(generator.integers(len(archs)))]


def keyed(seed: int, answered: int) -> np.random.Generator:
    """Returns the randomness of the ask after so many answers."""
    return rng.generator(seed, "search proposal", answered)
