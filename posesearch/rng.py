"""Randomness by key: a number is a pure function of (seed, purpose, counters), never of what ran before.

There is no generator state to save, so a run that was killed and resumed draws the same numbers as one that was
not, and every process of a distributed run draws the same architecture for the same step.
"""

from __future__ import annotations

import random
import zlib
from typing import TYPE_CHECKING

import numpy as np

from posesearch.errors import UsageError

if TYPE_CHECKING:
    import torch


def _sequence(seed: int, purpose: str, counters: tuple[int, ...]) -> np.random.SeedSequence:
    # crc32 is stable across Python versions and processes; the built-in hash() of a string is not.
    return np.random.SeedSequence([seed & 0xFFFFFFFF, zlib.crc32(purpose.encode()), *counters])


def generator(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """Returns the NumPy generator of this key.

    Args:
        seed: The run's seed.
        purpose: What the numbers are for, e.g. "augment"; different purposes are independent.
        counters: Non-negative counters such as epoch or step; a purpose always has the same number of them, since
            trailing zeros do not make another key.
    """
    return np.random.Generator(np.random.PCG64(_sequence(seed, purpose, counters)))


Randomness = np.random.Generator | np.random.RandomState | random.Random | int


def as_generator(source: Randomness) -> np.random.Generator:
    """Returns a NumPy generator for whatever a caller uses as a source of random numbers.

    Args:
        source: A generator (returned as it is), a seed, or a `random.Random` or `RandomState`, which is advanced.

    Raises:
        UsageError: It is none of these.
    """
    if isinstance(source, np.random.Generator):
        return source
    if isinstance(source, random.Random):
        return np.random.default_rng(source.getrandbits(63))
    if isinstance(source, np.random.RandomState):
        return np.random.default_rng(source.randint(0, 2**31, size=2))
    if isinstance(source, int) and not isinstance(source, bool) and source >= 0:
        return np.random.default_rng(source)
    raise UsageError(
        f"rng: got {source!r}. Allowed: numpy.random.Generator, RandomState, random.Random, or a seed (0 or more). "
        "Try numpy.random.default_rng(0)."
    )


def torch_seed(seed: int, purpose: str, *counters: int) -> int:
    """Returns a 63-bit seed for this key."""
    high, low = _sequence(seed, purpose, counters).generate_state(2)
    return (int(high) << 31) ^ int(low)


def torch_generator(seed: int, purpose: str, *counters: int, device: str = "cpu") -> torch.Generator:
    """Returns a torch generator of this key on `device`."""
    import torch

    return torch.Generator(device=device).manual_seed(torch_seed(seed, purpose, *counters))
