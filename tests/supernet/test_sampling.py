"""The sandwich: stateless, fair in every gene over each block, wider in size than independent draws."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from posesearch.errors import UsageError
from posesearch.models import macs_of
from posesearch.spaces import SearchSpace, load_space
from posesearch.supernet import drop_path_masks, sandwich
from posesearch.supernet.sampling import BLOCK, random_block


def test_order_and_kinds(tiny_space: SearchSpace) -> None:
    draws = sandwich(tiny_space, seed=0, step=5, num_random=3)
    assert [draw.kind for draw in draws] == ["largest", "smallest", "random", "random", "random"]
    assert draws[0].arch == tiny_space.largest()
    assert draws[1].arch == tiny_space.smallest()
    assert all(tiny_space.contains(draw.arch) for draw in draws)
    assert len(sandwich(tiny_space, seed=0, step=5, num_random=0)) == 2


def test_stateless_and_keyed(tiny_space: SearchSpace) -> None:
    forwards = [sandwich(tiny_space, 3, step) for step in range(40)]
    random_block.cache_clear()
    backwards = [sandwich(tiny_space, 3, step) for step in reversed(range(40))][::-1]
    assert forwards == backwards
    assert forwards != [sandwich(tiny_space, 4, step) for step in range(40)]


def test_golden_draw(tiny_space: SearchSpace) -> None:
    # Changing these changes every run that is resumed.
    codes = [draw.arch.code for draw in sandwich(tiny_space, seed=0, step=0)[2:]]
    assert codes == ["w8-24-32_d2-2-2_k5-7-3_r3-4-3_a101", "w8-16-24_d1-1-1_k5-3-7_r2-2-4_a100"]


@pytest.mark.parametrize("name", ["demo", "small", "starnet"])
def test_fair_over_each_block(name: str) -> None:
    space = load_space(name)
    for block in range(3):
        archs = random_block(space, 1, block)
        for gene, choices in space.genes().items():
            counts = Counter(space.encode(arch)[gene] for arch in archs)
            shares = [counts[choice] for choice in choices]
            assert sum(shares) == BLOCK
            assert max(shares) - min(shares) <= (1 if BLOCK % len(choices) else 0), (gene, shares)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), choices=st.integers(1, 7))
def test_remainders_even_out(seed: int, choices: int) -> None:
    space = load_space("demo")
    stages = (replace(space.stages[0], depth=tuple(range(1, choices + 1))), *space.stages[1:])
    space = replace(space, stages=stages)
    counts = Counter(
        space.encode(arch)["stage0.depth"]
        for block in range(choices)
        for arch in random_block(space, seed, block)
    )
    assert set(counts.values()) == {BLOCK}


def test_sizes_spread_wider_than_independent_draws() -> None:
    space = load_space("starnet")

    def spread(correlation: float) -> float:
        archs = [arch for block in range(4) for arch in random_block(space, 0, block, correlation)]
        return float(np.log([macs_of(arch) for arch in archs]).std())

    independent, default, together = spread(0.0), spread(0.6), spread(1.0)
    uniform = np.log([macs_of(space.sample(np.random.default_rng(i))) for i in range(96)]).std()
    assert independent == pytest.approx(uniform, rel=0.25)
    assert default > 1.4 * independent
    assert together > default


def test_blocks_cover_the_strata_of_size() -> None:
    space = load_space("demo")
    lows, highs = zip(
        *(np.percentile([macs_of(a) for a in random_block(space, 0, block)], [10, 90]) for block in range(6)),
        strict=True,
    )
    assert min(highs) > 1.5 * max(lows)


@pytest.mark.parametrize("bad", [{"step": -1}, {"num_random": -1}, {"correlation": 1.5}])
def test_bad_arguments(tiny_space: SearchSpace, bad: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=r"Allowed: step >= 0, num_random >= 0, correlation in \[0, 1\]"):
        sandwich(tiny_space, **({"seed": 0, "step": 0} | bad))  # type: ignore[arg-type]


def test_drop_path_rates_follow_the_largest_network(tiny_space: SearchSpace) -> None:
    largest = tiny_space.largest()
    masks = drop_path_masks(largest, largest, 0.5, 4000, torch.Generator().manual_seed(0))
    # Six blocks: rates 0, .1, .2, .3, .4, .5; the first is never dropped.
    assert list(masks) == ["stages.0.2", "stages.1.1", "stages.1.2", "stages.2.1", "stages.2.2"]
    for mask, rate in zip(masks.values(), (0.1, 0.2, 0.3, 0.4, 0.5), strict=True):
        assert mask.shape == (4000, 1, 1, 1)
        assert mask.eq(0).float().mean().item() == pytest.approx(rate, abs=0.03)
        assert mask.max().item() == pytest.approx(1 / (1 - rate))
        assert mask.mean().item() == pytest.approx(1.0, abs=0.05)
    shallow = drop_path_masks(tiny_space.smallest(), largest, 0.5, 8, torch.Generator().manual_seed(0))
    assert list(shallow) == ["stages.1.1", "stages.2.1"]
    assert shallow["stages.2.1"].max().item() == pytest.approx(1 / 0.6)
    assert drop_path_masks(largest, largest, 0.0, 8, torch.Generator()) == {}
    with pytest.raises(UsageError, match=r"Drop path rate 1\.0 is out of range"):
        drop_path_masks(largest, largest, 1.0, 8, torch.Generator())
