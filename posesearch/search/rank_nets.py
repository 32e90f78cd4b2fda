"""Which networks a ranking is judged on: spread over sizes, so that there is something to rank, and never chosen by AP.

Drawn uniformly, architectures pile up around the middle size, and after a short training their APs differ by less than two
seeds of one network do: no score could order them. Four bins of equal width in log MACs, as many networks from each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from posesearch.errors import UsageError
from posesearch.rng import generator
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace
from posesearch.supernet.sampling import BLOCK, random_block

BINS = 4
FEWEST = 4
CORRELATIONS = (0.0, 0.6, 0.9)
"""How strongly the choices of a drawn network are large or small together, in turn: middle sizes come of independent
choices, both ends only of correlated ones."""
BLOCKS = 240
"""Blocks of 24 draws before a bin is given up: 5,760 networks, some 2 s."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RankNet:
    """One network to be trained alone.

    Attributes:
        arch: The network.
        bin: Its bin of like MACs, 0 for the smallest.
        macs: Multiply-accumulates of one image.
    """

    arch: Architecture
    bin: int
    macs: int


def bin_of(macs: int, smallest: int, largest: int) -> int:
    """Returns the bin of a network: log MACs between those of the smallest and the largest, in equal parts."""
    if largest <= smallest:
        return 0
    share = math.log(macs / smallest) / math.log(largest / smallest)
    return min(max(int(BINS * share), 0), BINS - 1)


def stratified(
    space: SearchSpace, nets: int, seed: int, macs_of: Callable[[Architecture], int]
) -> tuple[RankNet, ...]:
    """Draws networks in equal numbers from four bins of MACs, the smallest and the largest of the space among them.

    A bin that holds too few (a small space) is filled up from the others. The result goes round the bins, so that any
    beginning of it is spread over the sizes too.

    Args:
        space: The search space.
        nets: How many.
        seed: Key of the draws.
        macs_of: Counts the MACs of an architecture.

    Raises:
        UsageError: Fewer than four networks, or more than the space has.
    """
    if nets < FEWEST:
        raise UsageError(
            f"--nets {nets}: too few to rank. Allowed: {FEWEST} or more; 24 give Kendall's tau-b to about 0.1. "
            "Try --nets 24."
        )
    if nets > space.cardinality:
        raise UsageError(
            f"--nets {nets}: space '{space.name}' has {space.cardinality:,} networks. Allowed: {FEWEST} to that many. "
            f"Try --nets {min(24, space.cardinality)}."
        )
    ends = [space.smallest(), space.largest()]
    low, high = (macs_of(arch) for arch in ends)
    shares = [nets // BINS + (index < nets % BINS) for index in range(BINS)]
    chosen: list[list[RankNet]] = [[] for _ in range(BINS)]
    spare: list[RankNet] = []
    seen: set[str] = set()

    def offer(arch: Architecture) -> None:
        if arch.id in seen:
            return
        seen.add(arch.id)
        macs = macs_of(arch)
        net = RankNet(arch=arch, bin=bin_of(macs, low, high), macs=macs)
        members = chosen[net.bin]
        if len(members) < shares[net.bin]:
            members.append(net)
        elif len(spare) < nets:
            spare.append(net)

    for arch in ends:
        offer(arch)
    for block in range(BLOCKS):
        if all(len(members) == share for members, share in zip(chosen, shares, strict=True)):
            break
        for arch in random_block(space, _key(seed), block, CORRELATIONS[block % len(CORRELATIONS)]):
            offer(arch)
    _fill(space, chosen, spare, nets, seed, offer)
    return _round_robin(chosen)


def second_seed_nets(nets: Sequence[RankNet], count: int) -> tuple[RankNet, ...]:
    """Returns the networks that are trained with a second seed: evenly spaced by MACs, in the order of `nets`.

    Raises:
        UsageError: More than there are networks, or a negative number.
    """
    if not 0 <= count <= len(nets):
        raise UsageError(
            f"--second-seeds {count}: allowed are 0 to the number of networks ({len(nets)}). A third of them tells the "
            f"seeds' noise well enough: --second-seeds {max(2, len(nets) // 3)}."
        )
    by_size = sorted(nets, key=lambda net: (net.macs, net.arch.id))
    places = {round((index + 0.5) * len(nets) / count - 0.5) for index in range(count)}
    picked = {by_size[place].arch.id for place in places}
    return tuple(net for net in nets if net.arch.id in picked)


def _key(seed: int) -> int:
    """Returns the seed of the draws: not that of the supernet's training, which drew the same blocks."""
    return int(generator(seed, "rank networks").integers(2**31))


def _fill(
    space: SearchSpace,
    chosen: list[list[RankNet]],
    spare: list[RankNet],
    nets: int,
    seed: int,
    offer: Callable[[Architecture], None],
) -> None:
    """Takes what is still missing from the networks that found their bin full, the smallest bins first."""
    rng = generator(seed, "rank networks of a small space")
    for _ in range(BLOCKS * BLOCK):
        if sum(map(len, chosen)) + len(spare) >= nets:
            break
        offer(space.sample(rng))
    for net in spare:
        if sum(map(len, chosen)) == nets:
            return
        chosen[net.bin].append(net)


def _round_robin(chosen: Sequence[Sequence[RankNet]]) -> tuple[RankNet, ...]:
    longest = max(map(len, chosen))
    return tuple(members[place] for place in range(longest) for members in chosen if place < len(members))
