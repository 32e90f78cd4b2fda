"""Moves within a search space: mutation, crossover, neighbours. Each gene is treated alike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace


def mutate(
    space: SearchSpace, arch: Architecture, rng: np.random.Generator, probability: float = 0.1
) -> Architecture:
    """Returns `arch` with each gene redrawn among its other choices with the given probability.

    At least one gene that has a choice changes, so the result differs from `arch` unless the space has one member.
    """
    genes = space.encode(arch)
    allowed = space.genes()
    free = [name for name, choices in allowed.items() if len(choices) > 1]
    if not free:
        return arch
    chosen = [name for name in free if rng.random() < probability] or [free[int(rng.integers(len(free)))]]
    for name in chosen:
        others = [choice for choice in allowed[name] if choice != genes[name]]
        genes[name] = others[int(rng.integers(len(others)))]
    return space.decode(genes)


def crossover(
    space: SearchSpace, first: Architecture, second: Architecture, rng: np.random.Generator
) -> Architecture:
    """Returns a member that takes every gene from one of two parents with equal chance."""
    one, two = space.encode(first), space.encode(second)
    return space.decode({name: (one if rng.random() < 0.5 else two)[name] for name in one})


def neighbours(space: SearchSpace, arch: Architecture) -> Iterator[Architecture]:
    """Yields every member that differs from `arch` in exactly one gene."""
    genes = space.encode(arch)
    for name, choices in space.genes().items():
        for choice in choices:
            if choice != genes[name]:
                yield space.decode({**genes, name: choice})
