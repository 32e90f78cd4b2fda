"""What a random member of a space costs on average, as a differentiable function of the genes' distributions.

A figure that is a sum over stages, each depending on the width before it and its own genes, has an exact expectation when
genes are drawn independently: a product of its table of values with the distributions, one axis after the other
(FBNet, Wu et al., CVPR 2019, sums over blocks; here widths enter two of them, so that their tables have two more axes).
Latency by a table is such a figure up to a constant and a slope, which an expectation passes through; so are parameters and
multiply-accumulates. The table's ridge correction is none, being a factor that depends on the logarithms of sums: it is left
out, so the expectation is that of the table's line. Peak memory is none either.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from posesearch.latency.blocks import blocks_of
from posesearch.latency.estimate import prices_ms
from posesearch.latency.table import LatencyTable
from posesearch.models.cost import cost
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import GENE_KINDS, Choice, SearchSpace

Parts = Callable[[Architecture], Sequence[float]]
"""What stem, each stage and the head of an architecture cost, in this order. A stage may depend on the width before it and
its own genes, the head on the last width, the stem on nothing."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Term:
    """One part of the sum.

    Attributes:
        genes: What it depends on.
        values: Its value for each combination of choices, one axis a gene.
    """

    genes: tuple[str, ...]
    values: Tensor


class Expectation:
    """constant + slope * the sum of parts, on average over independent draws of every gene.

    Args:
        space: The space.
        parts: Gives the parts.
        constant: What no part pays for.
        slope: What a part counts.
    """

    def __init__(
        self, space: SearchSpace, parts: Parts, *, constant: float = 0.0, slope: float = 1.0
    ) -> None:
        self._constant, self._slope = constant, slope
        stages = len(space.stages)
        self._terms = (
            _term(space, parts, (), 0),
            *(_term(space, parts, _genes_of_stage(index), 1 + index) for index in range(stages)),
            _term(space, parts, (f"stage{stages - 1}.width",), 1 + stages),
        )

    def __call__(self, shares: Mapping[str, Tensor]) -> Tensor:
        """Returns the expectation as a scalar.

        Args:
            shares: Distribution of each gene over its choices, in the order of `SearchSpace.genes()`; with one choice
                each, the figure of that architecture.
        """
        like = next(iter(shares.values()))
        total = like.new_zeros(())
        for term in self._terms:
            values = term.values.to(like)
            for gene in reversed(term.genes):
                values = values @ shares[gene]
            total = total + values
        return self._constant + self._slope * total


def expected_latency_ms(table: LatencyTable) -> Expectation:
    """Returns the expected latency by a table's line, milliseconds; its ridge correction is left out."""
    prices = prices_ms(table.costs_ms(), table.calibration, table.space)

    def parts(arch: Architecture) -> list[float]:
        blocks = list(blocks_of(arch).items())
        stem, *middle, head = (prices[block] * count for block, count in blocks)
        return [stem, *(down + star for down, star in zip(middle[::2], middle[1::2], strict=True)), head]

    return Expectation(
        table.space, parts, constant=table.calibration.constant_ms, slope=table.calibration.slope
    )


def expected_cost(space: SearchSpace, figure: str) -> Expectation:
    """Returns the expectation of a figure of `models.counting.PartCost` that adds up, such as "params" or "macs"."""

    def parts(arch: Architecture) -> list[float]:
        counted = cost(arch)
        return [float(getattr(part, figure)) for part in (counted.stem, *counted.stages, counted.head)]

    return Expectation(space, parts)


def _genes_of_stage(index: int) -> tuple[str, ...]:
    before = (f"stage{index - 1}.width",) if index else ()
    return (*before, *(f"stage{index}.{kind}" for kind in GENE_KINDS))


def _term(space: SearchSpace, parts: Parts, genes: tuple[str, ...], part: int) -> Term:
    """Asks for one part under every combination of `genes`; space `starnet` has 3,168 of them in all."""
    choices = space.genes()
    others: dict[str, Choice] = {name: values[0] for name, values in choices.items()}
    values = [
        parts(space.decode({**others, **dict(zip(genes, combination, strict=True))}))[part]
        for combination in itertools.product(*(choices[gene] for gene in genes))
    ]
    shape = tuple(len(choices[gene]) for gene in genes)
    return Term(genes=genes, values=torch.from_numpy(np.reshape(values, shape)))
