"""A search whose answer is known: accuracy and latency by formula over 25 decisions, exact front by dynamic programming.

The network is a chain: stem, stages, head. Each link has a gain that saturates in its own capacity and a latency that is
a product within the link and a sum over links; neighbouring links are coupled by what a jump in width loses and by what
the convolution between them costs. The crop multiplies every latency. Accuracy saturates in the sum of all gains. So
neither is additive in the genes, as neither is in a network, and yet the best chain is found link by link.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posesearch import rng
from posesearch.bench.sampler_space import WHOLE
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import GENE_KINDS, SearchSpace

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

BUDGET_MS = 3.5
TOP_AP = 92.0
"""What accuracy saturates at, AP points."""

INTERACTIONS = 40
INTERACTION_AP = 0.16
"""Standard deviation of an interaction, AP points: the best known member gains about 4.5 points from 40 of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """One link of the chain; axes of the arrays are its genes in order.

    Attributes:
        genes: Places of its genes among all genes.
        axis: Which of them the neighbouring links see: its width.
        gain: What it adds to the capacity, by choice of each gene.
        cost_ms: What it adds to the latency at a crop of 256 x 192.
        join_gain: (choices of the width before, choices of its width); what the jump in width loses, at most 0.
        join_cost_ms: The same shape; what the convolution between the two costs.
    """

    genes: tuple[int, ...]
    axis: int
    gain: Floats
    cost_ms: Floats
    join_gain: Floats
    join_cost_ms: Floats


class Problem:
    """Accuracy (AP points) and latency (ms) of every member of a space.

    Args:
        space: A `WideSpace`, or one of its make.
        interactions: Random interactions between pairs of genes that are added to the accuracy.
        seed: Key of the interactions.
    """

    def __init__(self, space: SearchSpace, *, interactions: int = 0, seed: int = 0) -> None:
        self.space = space
        self.names = tuple(space.genes())
        self.choices = tuple(space.genes().values())
        self.links = self._chain()
        crop = np.array(self._values("input_height"))
        self.crop_place = self.names.index("input_height")
        self.crop_factor = 3.25 * (crop / 256.0) ** 1.5
        self.crop_gain = 0.34 * (1.0 - np.exp(-((crop / 200.0) ** 2)))
        self.pairs = self._interactions(interactions, seed)

    def latency_ms(self, members_NG: Indices) -> Floats:
        """Returns the latency of members given as places among the choices, one row each."""
        total = np.zeros(len(members_NG))
        for link, before in zip(self.links, (None, *self.links), strict=False):
            own = members_NG[:, link.genes]
            total += link.cost_ms[tuple(own.T)]
            if before is not None:
                total += link.join_cost_ms[members_NG[:, before.genes[before.axis]], own[:, link.axis]]
        return total * self.crop_factor[members_NG[:, self.crop_place]]

    def ap(self, members_NG: Indices) -> Floats:
        """Returns the accuracy without noise, AP points."""
        capacity = self.crop_gain[members_NG[:, self.crop_place]]
        for link, before in zip(self.links, (None, *self.links), strict=False):
            own = members_NG[:, link.genes]
            capacity = capacity + link.gain[tuple(own.T)]
            if before is not None:
                capacity += link.join_gain[members_NG[:, before.genes[before.axis]], own[:, link.axis]]
        points = accuracy(capacity)
        for one, two, table in self.pairs:
            points = points + table[members_NG[:, one], members_NG[:, two]]
        return points

    def noisy_ap(self, members_NG: Indices, sd_ap: float, seed: int) -> Floats:
        """Returns the accuracies as evaluated, AP points: each member has one error, whenever it is asked."""
        if not sd_ap:
            return self.ap(members_NG)
        errors = [
            rng.generator(seed, "evaluation noise", *map(int, member_G)).standard_normal()
            for member_G in members_NG
        ]
        return self.ap(members_NG) + sd_ap * np.array(errors)

    def places(self, archs: Sequence[Architecture]) -> Indices:
        """Returns members as places among the choices, one row each."""
        rows = [self.space.encode(arch) for arch in archs]
        return np.array(
            [
                [choices.index(row[name]) for name, choices in zip(self.names, self.choices, strict=True)]
                for row in rows
            ]
        )

    def arch(self, member_G: Indices) -> Architecture:
        """Returns the architecture with these places among the choices."""
        return self.space.decode(
            {
                name: choices[int(place)]
                for name, choices, place in zip(self.names, self.choices, member_G, strict=True)
            }
        )

    def draws(self, count: int, generator: np.random.Generator) -> Indices:
        """Returns uniformly drawn members."""
        return np.stack([generator.integers(len(choices), size=count) for choices in self.choices], axis=1)

    def _chain(self) -> tuple[Link, ...]:
        stem = np.array(self._values("stem_width"), float)
        links = [
            Link(
                genes=(self.names.index("stem_width"),),
                axis=0,
                gain=0.05 * (1.0 - np.exp(-stem / 16.0)),
                cost_ms=0.05 + 0.004 * stem,
                join_gain=np.zeros((0, 0)),
                join_cost_ms=np.zeros((0, 0)),
            )
        ]
        width_before = stem
        for stage in range(len(self.space.stages)):
            genes = tuple(self.names.index(f"stage{stage}.{kind}") for kind in GENE_KINDS)
            width, depth, kernel, ratio, attention = np.meshgrid(
                *(np.array(self.choices[place], float) for place in genes), indexing="ij"
            )
            scale = 32.0 * 2.0**stage
            grow = (width / scale) ** 0.7 * depth**0.6 * (ratio / 3.0) ** 0.4
            capacity = grow * (1.0 + 0.05 * (kernel - 3.0)) * (1.0 + (0.05 * stage - 0.02) * attention)
            block_ms = 0.012 + 0.010 * (width / scale) ** 1.4 * (ratio + 1.0) * (1.0 + 0.06 * (kernel - 3.0))
            widths = np.array(self.choices[genes[0]], float)
            links.append(
                Link(
                    genes=genes,
                    axis=0,
                    gain=(0.25, 0.3, 0.5, 0.45)[stage]
                    * (1.0 - np.exp(-capacity / (1.3, 1.5, 2.4, 1.7)[stage])),
                    cost_ms=depth * (block_ms + 0.012 * attention),
                    join_gain=-0.05 * (np.log2(widths[None, :] / width_before[:, None]) - 0.75) ** 2,
                    join_cost_ms=0.02 + 3.2e-5 / 2.0**stage * width_before[:, None] * widths[None, :],
                )
            )
            width_before = widths
        genes = tuple(self.names.index(name) for name in WHOLE[2:])
        kernel, hidden, attention = np.meshgrid(
            *(np.array(self.choices[place], float) for place in genes), indexing="ij"
        )
        hiddens = np.array(self._values("head_hidden"), float)
        links.append(
            Link(
                genes=genes,
                axis=1,
                gain=0.14 * (1.0 - np.exp(-hidden / 160.0 * (attention / 64.0) ** 0.3))
                + 0.006 * (kernel - 3.0),
                cost_ms=0.05 + 0.0005 * hidden + 0.0006 * attention + 0.00012 * kernel * hidden / 4.0,
                join_gain=-0.02 * np.log2(hiddens[None, :] / width_before[:, None]) ** 2,
                join_cost_ms=2.0e-6 * width_before[:, None] * hiddens[None, :],
            )
        )
        return tuple(links)

    def _interactions(self, count: int, seed: int) -> tuple[tuple[int, int, Floats], ...]:
        generator = rng.generator(seed, "interactions")
        everything = [(i, j) for i in range(len(self.names)) for j in range(i)]
        chosen = generator.permutation(len(everything))[:count]
        return tuple(
            (
                one,
                two,
                INTERACTION_AP * generator.standard_normal((len(self.choices[one]), len(self.choices[two]))),
            )
            for one, two in (everything[int(place)] for place in chosen)
        )

    def _values(self, name: str) -> tuple[int | bool, ...]:
        return self.choices[self.names.index(name)]


def accuracy(capacity: Floats) -> Floats:
    """Returns AP points: saturating in the sum of all gains."""
    return TOP_AP * (1.0 - np.exp(-0.9 * capacity))
