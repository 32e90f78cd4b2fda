"""Keyed randomness: the same key gives the same numbers, whatever ran before, and keys do not meet."""

from __future__ import annotations

import random

import numpy as np
import pytest

from posesearch.errors import UsageError
from posesearch.rng import as_generator, generator, torch_generator, torch_seed
from posesearch.spaces import load_space


def test_a_key_is_all_there_is() -> None:
    first = generator(3, "augment", 7).random(4)
    generator(3, "augment", 8).random(100)
    assert np.array_equal(generator(3, "augment", 7).random(4), first)
    keys = [(3, "augment", 7), (4, "augment", 7), (3, "order", 7), (3, "augment", 8), (3, "augment", 7, 1)]
    assert len({tuple(generator(*key).integers(0, 2**60, 3)) for key in keys}) == len(keys)


def test_the_numbers_never_change() -> None:
    # A change here would change every run that is resumed with the next version.
    assert generator(0, "augment", 0).integers(0, 1000, 4).tolist() == [291, 168, 619, 154]
    assert torch_seed(0, "augment", 0) == 8279968844125335349


def test_torch_generators_are_keyed_alike() -> None:
    assert torch_generator(1, "x", 2).initial_seed() == torch_generator(1, "x", 2).initial_seed()
    assert 0 <= torch_seed(5, "y") < 2**63


@pytest.mark.parametrize("make", [lambda: 5, lambda: random.Random(5), lambda: np.random.RandomState(5)])
def test_any_usual_source_draws_an_architecture(make: object) -> None:
    space = load_space("demo")
    assert space.sample(make()) == space.sample(make())  # type: ignore[operator]
    source = random.Random(1)
    assert len({space.sample(source).id for _ in range(8)}) > 1


@pytest.mark.parametrize("source", [None, "5", True, -1, 1.5])
def test_other_sources_are_refused(source: object) -> None:
    with pytest.raises(UsageError, match=r"rng: got .* Allowed: numpy.random.Generator, RandomState"):
        as_generator(source)  # type: ignore[arg-type]
