"""Architectures from distributions: the most probable first, all of them within the budget, the same for a seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_world import latency_of

from posesearch.search.derive import derive, log_probability


def drawn(space, seed, sharpness=1.5):
    generator = np.random.default_rng(seed)
    found = {}
    for name, choices in space.genes().items():
        weights = np.exp(sharpness * generator.standard_normal(len(choices)))
        found[name] = (weights / weights.sum()).tolist()
    return found


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), limit_ms=st.floats(1.2, 4.0))
def test_all_fit_are_distinct_and_the_first_is_the_most_probable(tiny_space, seed, limit_ms):
    distributions = drawn(tiny_space, seed)
    archs = derive(tiny_space, distributions, lambda arch: latency_of(arch) <= limit_ms, samples=5, seed=seed)
    assert len(set(archs)) == len(archs) <= 6
    assert all(latency_of(arch) <= limit_ms for arch in archs)
    logs = [log_probability(tiny_space, distributions, arch) for arch in archs]
    assert not logs or logs[0] == max(logs)
    again = derive(tiny_space, distributions, lambda arch: latency_of(arch) <= limit_ms, samples=5, seed=seed)
    assert archs == again


def test_the_arg_max_of_every_gene_comes_first_where_it_fits(tiny_space):
    distributions = drawn(tiny_space, 3)
    genes = tiny_space.genes()
    top = tiny_space.decode({name: genes[name][int(np.argmax(p))] for name, p in distributions.items()})
    archs = derive(tiny_space, distributions, lambda arch: True, samples=4, seed=0)
    assert archs[0] == top and len(archs) == 5
    without = derive(tiny_space, distributions, lambda arch: arch != top, samples=4, seed=0)
    assert top not in without and len(without) == 5
    assert derive(tiny_space, distributions, lambda arch: True, samples=0, seed=0) == (top,)


def test_decided_distributions_give_one_and_nothing_fits_gives_none(tiny_space):
    decided = {name: [1.0, *[0.0] * (len(choices) - 1)] for name, choices in tiny_space.genes().items()}
    assert derive(tiny_space, decided, lambda arch: True, samples=8, seed=0) == (tiny_space.smallest(),)
    assert derive(tiny_space, decided, lambda arch: False, samples=8, seed=0) == ()
    assert log_probability(tiny_space, decided, tiny_space.smallest()) == pytest.approx(0.0)
