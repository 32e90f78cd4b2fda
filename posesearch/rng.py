"""Randomness by key: a number is a pure function of (seed, purpose, counters), never of what ran before.

There is no generator state to save, so a run that was killed and resumed draws the same numbers as one that was
not, and every process of a distributed run draws the same architecture for the same step.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

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
        counters: Non-negative counters such as epoch or step.
    """
    return np.random.Generator(np.random.PCG64(_sequence(seed, purpose, counters)))


def torch_seed(seed: int, purpose: str, *counters: int) -> int:
    """Returns a 63-bit seed for this key."""
    high, low = _sequence(seed, purpose, counters).generate_state(2)
    return (int(high) << 31) ^ int(low)


def torch_generator(seed: int, purpose: str, *counters: int, device: str = "cpu") -> torch.Generator:
    """Returns a torch generator of this key on `device`."""
    import torch

    return torch.Generator(device=device).manual_seed(torch_seed(seed, purpose, *counters))
