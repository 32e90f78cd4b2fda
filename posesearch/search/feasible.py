"""Asking first whether the budget can be met at all, before any accuracy is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from posesearch.latency.types import LatencyBudget, Measured
from posesearch.search.candidate import CostLike
from posesearch.spaces.arch import Architecture
from posesearch.spaces.ops import neighbours
from posesearch.spaces.space import SearchSpace

NEIGHBOURS = 6
"""Cheapest neighbours measured a round."""

ROUNDS = 3


def seek_fastest(
    space: SearchSpace,
    others: Iterable[Architecture],
    budget: LatencyBudget,
    measure: Callable[[Architecture], Measured],
    cost: Callable[[Architecture], CostLike],
) -> tuple[Architecture, Measured]:
    """Returns the fastest architecture found, stopping at the first within the budget.

    The smallest member comes first, then `others`, then single changes of the fastest so far, cheapest in operators
    and MACs first: on some devices a wider or larger-kernel member runs faster than the smallest.

    Args:
        space: The search space.
        others: Further members worth a look, such as the references.
        budget: The budget to meet.
        measure: Gives the latency of an architecture.
        cost: Gives its cost.
    """
    known: dict[Architecture, Measured] = {}

    def fastest() -> Architecture:
        return min(known, key=lambda arch: known[arch].at(budget.percentile))

    for arch in (space.smallest(), *others):
        known[arch] = measure(arch)
        if budget.allows(known[arch]):
            return arch, known[arch]
    for _ in range(ROUNDS):
        centre = fastest()
        cheapest = sorted(
            (arch for arch in neighbours(space, centre) if arch not in known),
            key=lambda arch: (cost(arch).operators, cost(arch).macs, arch.code),
        )
        for arch in cheapest[:NEIGHBOURS]:
            known[arch] = measure(arch)
            if budget.allows(known[arch]):
                return arch, known[arch]
        if fastest() == centre:
            break
    return fastest(), known[fastest()]


def no_feasible_text(budget: LatencyBudget, arch: Architecture, latency: Measured, space: SearchSpace) -> str:
    """Returns the message for a budget nothing meets: the fastest architecture found, and three ways on."""
    reached_ms = latency.at(budget.percentile)
    suggested_ms = f"{1.2 * reached_ms:.3g}"
    return (
        f"no architecture of space '{space.name}' meets --latency-ms {budget.latency_ms:g} "
        f"({budget.percentile}, {budget.runtime}, {budget.precision}) on {latency.device}. "
        f"The fastest found is {arch} with {reached_ms:.3g} ms ({latency.noise} machine). "
        f"Raise the budget (--latency-ms {suggested_ms} leaves some choice), use a faster --device or --runtime, "
        "or train a supernet of a space with smaller members."
    )
