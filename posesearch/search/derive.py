"""From distributions to architectures: the most probable one and some draws, all of them within the budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from posesearch import rng
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace

DRAWS = 2048
"""Draws after which no more are made; with a prediction each, about a second."""


def derive(
    space: SearchSpace,
    distributions: Mapping[str, Sequence[float]],
    fits: Callable[[Architecture], bool],
    *,
    samples: int,
    seed: int,
) -> tuple[Architecture, ...]:
    """Returns the most probable architecture that fits, then up to `samples` further ones as they are drawn.

    Args:
        space: The space.
        distributions: Probability of each choice by gene, in the order of `SearchSpace.genes()`.
        fits: Says whether an architecture is within the budget, as far as is known without measuring it.
        samples: Draws beside the first.
        seed: Key of the draws.

    Returns:
        Distinct architectures; none when nothing that was drawn fits. The first is the arg-max of every gene where that
        fits, else the most probable of all draws that do.
    """
    genes = space.genes()
    top = space.decode(
        {name: choices[int(np.argmax(distributions[name]))] for name, choices in genes.items()}
    )
    found = {top: None} if fits(top) else {}
    generator = rng.generator(seed, "derive")
    known = {top}
    for _ in range(DRAWS):
        if top in found and len(found) > samples:
            break
        arch = space.decode(
            {name: choices[_drawn(distributions[name], generator)] for name, choices in genes.items()}
        )
        if arch not in known:
            known.add(arch)
            if fits(arch):
                found[arch] = None
    if not found:
        return ()
    first = max(found, key=lambda arch: log_probability(space, distributions, arch))
    others = [arch for arch in found if arch != first]
    return (first, *others[:samples])


def log_probability(
    space: SearchSpace, distributions: Mapping[str, Sequence[float]], arch: Architecture
) -> float:
    """Returns the logarithm of an architecture's probability."""
    genes = space.genes()
    return sum(
        math.log(max(distributions[name][genes[name].index(choice)], 1e-300))
        for name, choice in space.encode(arch).items()
    )


def _drawn(distribution: Sequence[float], generator: np.random.Generator) -> int:
    # Not `choice(p=...)`, which refuses what single precision adds up to.
    return min(int(np.searchsorted(np.cumsum(distribution), generator.random())), len(distribution) - 1)
