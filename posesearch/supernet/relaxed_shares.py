"""Decisions as shares: every choice of a gene is taken in part, so that what it costs and gains has a gradient.

Gumbel softmax (Jang et al., ICLR 2017), as FBNet searches with it (Wu et al., CVPR 2019): a draw from a gene's
distribution, softened by a temperature that falls while the search goes on.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace

Shares = Mapping[str, Tensor]
"""Gene -> how much of each of its choices is taken, in the order of `SearchSpace.genes()`; each adds up to 1."""

TEMPERATURE = 5.0
COOLING = 0.956
COOLING_EPOCHS = 90
"""FBNet: 5.0 x 0.956 an epoch over 90 epochs, to 0.087; here over the steps of the search, however many there are."""


def temperature(step: int, total_steps: int) -> float:
    """Returns the temperature of a step (from 0)."""
    return TEMPERATURE * COOLING ** (COOLING_EPOCHS * step / total_steps)


def gumbel_shares(
    logits: Mapping[str, Tensor],
    temperature: float,
    generator: torch.Generator,
    *,
    straight_through: bool = False,
) -> dict[str, Tensor]:
    """Draws the shares of one step: softmax((logits + Gumbel noise) / temperature).

    Args:
        logits: One number a choice, by gene.
        temperature: Above 0; the lower, the nearer a draw is to one choice.
        generator: Source of the noise, on the CPU.
        straight_through: Take exactly one choice, the largest share, and let gradients pass as if it were soft.
    """
    drawn = {}
    for name, values in logits.items():
        # A uniform number of exactly 0 would be an infinite noise.
        uniform = torch.rand(len(values), generator=generator, dtype=torch.float64).clamp(min=1e-12)
        noise = (-(-uniform.log()).log()).to(values)
        soft = F.softmax((values + noise) / temperature, dim=0)
        if straight_through:
            taken = F.one_hot(soft.argmax(), len(values)).to(soft)
            soft = (taken - soft).detach() + soft
        drawn[name] = soft
    return drawn


def probabilities(logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the distribution of each gene."""
    return {name: F.softmax(values, dim=0) for name, values in logits.items()}


def one_hot(space: SearchSpace, arch: Architecture, like: Tensor) -> dict[str, Tensor]:
    """Returns the shares that mean exactly `arch`, on the device and in the dtype of `like`.

    Raises:
        UsageError: It is not a member of the space.
    """
    genes = space.genes()
    return {
        name: F.one_hot(torch.tensor(genes[name].index(choice)), len(genes[name])).to(like)
        for name, choice in space.encode(arch).items()
    }


def entropy(shares: Shares) -> Tensor:
    """Returns how undecided the distributions are: their mean entropy over that of uniform ones, 0 to 1.

    Genes with a single choice do not count; 0 when there are no others.
    """
    undecided = [
        -(share * share.clamp(min=1e-12).log()).sum() / torch.log(torch.tensor(float(len(share))))
        for share in shares.values()
        if len(share) > 1
    ]
    return torch.stack(undecided).mean() if undecided else torch.zeros(())
