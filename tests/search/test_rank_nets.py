"""Which networks are trained alone: every size, both ends, a function of the seed, and never more than there are."""

import math

import pytest

from posesearch.errors import UsageError
from posesearch.models.cost import macs_of
from posesearch.search.rank_nets import BINS, bin_of, second_seed_nets, stratified
from posesearch.spaces import HeadArch, SearchSpace, StageSpace, load_space


def test_every_bin_has_its_share_and_both_ends_are_in():
    space = load_space("demo")
    nets = stratified(space, 24, 0, macs_of)
    assert len({net.arch.id for net in nets}) == 24
    assert [sum(net.bin == index for net in nets) for index in range(BINS)] == [6, 6, 6, 6]
    assert {space.smallest(), space.largest()} <= {net.arch for net in nets}
    low, high = macs_of(space.smallest()), macs_of(space.largest())
    for net in nets:
        assert space.contains(net.arch) and net.macs == macs_of(net.arch)
        width = math.log(high / low) / BINS
        assert net.bin * width - 1e-9 <= math.log(net.macs / low) <= (net.bin + 1) * width + 1e-9


def test_a_function_of_the_seed_and_not_only_of_size():
    space = load_space("demo")
    first, again, other = (stratified(space, 24, seed, macs_of) for seed in (0, 0, 1))
    assert first == again
    assert len({net.arch.id for net in first} & {net.arch.id for net in other}) <= 6
    # Within a bin the choices differ: not one network at several sizes.
    for index in range(BINS):
        members = [net.arch for net in first if net.bin == index]
        assert len({tuple(stage.kernel for stage in arch.stages) for arch in members}) >= 3


def test_any_beginning_is_spread_over_the_sizes():
    nets = stratified(load_space("demo"), 16, 0, macs_of)
    assert {net.bin for net in nets[:BINS]} == set(range(BINS))


@pytest.mark.parametrize("count", [4, 5, 7, 30])
def test_numbers_that_four_does_not_divide(count):
    nets = stratified(load_space("demo"), count, 0, macs_of)
    shares = [sum(net.bin == index for net in nets) for index in range(BINS)]
    assert sum(shares) == count and max(shares) - min(shares) <= 1


def small_space(widths):
    common = {"depth": (1, 2), "kernel": (3,), "ratio": (2,), "attention": (False,)}
    return SearchSpace(
        name="small",
        input_size=(64, 48),
        stem_width=8,
        head=HeadArch(hidden=32, attention_dim=16),
        stages=tuple(StageSpace(width=width, **common) for width in widths),
    )


def test_a_small_space_is_taken_whole():
    space = small_space([(8,), (8, 16), (16,)])
    nets = stratified(space, space.cardinality, 0, macs_of)
    assert len({net.arch.id for net in nets}) == space.cardinality == 16


def test_too_few_and_too_many_are_refused():
    space = small_space([(8,), (8, 16), (16,)])
    with pytest.raises(UsageError, match=r"--nets 3: too few to rank\. Allowed: 4 or more.*Try --nets 24"):
        stratified(load_space("demo"), 3, 0, macs_of)
    with pytest.raises(UsageError, match=r"--nets 17: space 'small' has 16 networks\. .*Try --nets 16"):
        stratified(space, 17, 0, macs_of)


def test_second_seeds_are_spread_over_the_sizes():
    nets = stratified(load_space("demo"), 24, 0, macs_of)
    again = second_seed_nets(nets, 8)
    assert len(again) == 8 and [sum(net.bin == index for net in again) for index in range(BINS)] == [2] * 4
    assert [net for net in nets if net in again] == list(again)
    assert second_seed_nets(nets, 0) == () and second_seed_nets(nets, 24) == nets
    for count in range(25):
        assert len(second_seed_nets(nets, count)) == count
    for count in (-1, 25):
        with pytest.raises(UsageError, match=rf"--second-seeds {count}: allowed are 0 to .*\(24\)"):
            second_seed_nets(nets, count)


def test_bins_of_a_space_of_one_size():
    assert bin_of(10, 10, 10) == 0
    assert [bin_of(macs, 1, 16) for macs in (1, 1.9, 2.1, 4.1, 8.1, 16)] == [0, 0, 1, 2, 3, 3]
