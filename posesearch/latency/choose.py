"""Which networks a predictor is fitted on and which it is tested on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from posesearch import rng
from posesearch.errors import UsageError
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import Choice, SearchSpace

LEAST_NETS = 10
"""A line through fewer networks follows their noise."""

LEAST_HELD_OUT = 5

POOL = 4000
"""Random members the stratified sample is taken from; sparse strata have few members even so."""

DEPTH_BINS, WIDTH_BINS = 4, 3


@dataclass(frozen=True, kw_only=True, slots=True)
class NetPlan:
    """The networks to measure; no network has two roles.

    Attributes:
        sentinel: Measured with every group of the others, to tell how fast the machine was.
        fit: Corners of the space, then a stratified sample.
        held_out: Uniformly random members.
    """

    sentinel: Architecture
    fit: tuple[Architecture, ...]
    held_out: tuple[Architecture, ...]

    @property
    def measured(self) -> tuple[Architecture, ...]:
        """Every network but the sentinel."""
        return self.fit + self.held_out


def choose_nets(space: SearchSpace, *, nets: int, held_out: int, seed: int = 0) -> NetPlan:
    """Chooses networks; asking for more to fit on, with the same seed, keeps those chosen for fewer.

    Args:
        space: The space.
        nets: Networks to fit on, 10 or more: up to 8 corners, the rest stratified by total depth, number of stages
            with attention and mean width.
        held_out: Networks to test on, 5 or more, drawn uniformly.
        seed: Key of the draws.

    Raises:
        UsageError: Too few networks are asked for, or more than the space has.
    """
    for option, count, least in (("--nets", nets, LEAST_NETS), ("--held-out", held_out, LEAST_HELD_OUT)):
        if count < least:
            raise UsageError(
                f"{option} {count}: too few networks. Allowed: {least} or more. Leave {option} out for the usual number."
            )
    sentinel = middle(space)
    taken = {sentinel}
    fit = _new(corners(space), taken)[: min(8, nets // 4)]
    taken |= set(fit)
    pool = _draw(space, POOL, rng.generator(seed, "latency pool"))
    fit += _new(_stratified(pool, seed), taken)[: nets - len(fit)]
    taken |= set(fit)
    # Every member of a small space is in one of the two.
    others = _draw(space, max(POOL, 10 * held_out), rng.generator(seed, "latency held out"))
    tested = _new(others, taken)[:held_out]
    if len(fit) < nets or len(tested) < held_out:
        raise UsageError(
            f"--nets {nets} and --held-out {held_out} need {nets + held_out + 1} different architectures, space "
            f"'{space.name}' has {space.cardinality:,}, of which {len(fit) + len(tested) + 1} were found. Ask for fewer, "
            "or choose a larger --space."
        )
    return NetPlan(sentinel=sentinel, fit=tuple(fit), held_out=tuple(tested))


def middle(space: SearchSpace) -> Architecture:
    """Returns the member with the middle choice everywhere, and attention in every other stage."""
    return space.decode(_middle_genes(space))


def corners(space: SearchSpace) -> list[Architecture]:
    """Returns the smallest and largest member, and the middle one with one kind of gene at an end everywhere."""
    found = [space.smallest(), space.largest()]
    for kind in ("kernel", "attention", "depth"):
        for end in (0, -1):
            genes = _middle_genes(space)
            for name, choices in space.genes().items():
                if name.endswith(f".{kind}"):
                    genes[name] = choices[end]
            found.append(space.decode(genes))
    return found


def _middle_genes(space: SearchSpace) -> dict[str, Choice]:
    genes = {name: choices[len(choices) // 2] for name, choices in space.genes().items()}
    for index, stage in enumerate(space.stages):
        # On and off have no middle: every other stage.
        genes[f"stage{index}.attention"] = stage.attention[index % len(stage.attention)]
    return genes


def _draw(space: SearchSpace, count: int, generator: np.random.Generator) -> list[Architecture]:
    return [space.sample(generator) for _ in range(count)]


def _new(archs: list[Architecture], taken: set[Architecture]) -> list[Architecture]:
    """Returns the distinct ones of `archs` that are not taken, in order."""
    return [arch for arch in dict.fromkeys(archs) if arch not in taken]


def _stratified(pool: list[Architecture], seed: int) -> list[Architecture]:
    """Orders a pool so that any beginning of it has about as many members of every stratum.

    Uniform draws crowd around the mean depth and width; what a search asks for lies at the edges as well.
    """
    distinct = list(dict.fromkeys(pool))
    depths = np.array([sum(stage.depth for stage in arch.stages) for arch in distinct])
    widths = np.array([np.mean([stage.width for stage in arch.stages]) for arch in distinct])
    strata: dict[tuple[int, int, int], list[Architecture]] = {}
    for arch, depth_bin, width_bin in zip(
        distinct, _bins(depths, DEPTH_BINS), _bins(widths, WIDTH_BINS), strict=True
    ):
        attention = sum(stage.attention for stage in arch.stages)
        strata.setdefault((int(depth_bin), attention, int(width_bin)), []).append(arch)
    keys = sorted(strata)
    order = [keys[index] for index in rng.generator(seed, "latency strata").permutation(len(keys))]
    rounds = max(len(members) for members in strata.values())
    return [strata[key][turn] for turn in range(rounds) for key in order if turn < len(strata[key])]


def _bins(values_N: np.ndarray, count: int) -> np.ndarray:
    """Returns in which of `count` equal parts of the range each value lies."""
    span = float(np.ptp(values_N)) or 1.0
    return np.minimum(count - 1, (count * (values_N - values_N.min()) / span).astype(int))
