"""Asking first whether the budget can be met at all, before any accuracy is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from posesearch.latency.types import Latency, LatencyBudget, Measured, Predicted
from posesearch.search.candidate import Candidate, CostLike, FrontMember
from posesearch.search.check import Check
from posesearch.search.limit import figure_ms, fits
from posesearch.spaces.arch import Architecture
from posesearch.spaces.ops import neighbours
from posesearch.spaces.space import SearchSpace

NEIGHBOURS = 6
"""Cheapest neighbours looked at a round."""

ROUNDS = 3


def seek_fastest(
    space: SearchSpace,
    others: Iterable[Architecture],
    budget: LatencyBudget,
    latency_of: Callable[[Architecture], Latency],
    cost: Callable[[Architecture], CostLike],
) -> tuple[Architecture, Latency]:
    """Returns the fastest architecture found, stopping at the first within the budget.

    The smallest member comes first, then `others`, then single changes of the fastest so far, cheapest in operators
    and MACs first: on some devices a wider or larger-kernel member runs faster than the smallest.

    Args:
        space: The search space.
        others: Further members worth a look, such as the references.
        budget: The budget to meet.
        latency_of: Gives the latency of an architecture, measured or predicted.
        cost: Gives its cost.
    """
    known: dict[Architecture, Latency] = {}

    def fastest() -> Architecture:
        return min(known, key=lambda arch: figure_ms(known[arch], budget.percentile))

    for arch in (space.smallest(), *others):
        known[arch] = latency_of(arch)
        if fits(known[arch], budget):
            return arch, known[arch]
    for _ in range(ROUNDS):
        centre = fastest()
        cheapest = sorted(
            (arch for arch in neighbours(space, centre) if arch not in known),
            key=lambda arch: (cost(arch).operators, cost(arch).macs, arch.code),
        )
        for arch in cheapest[:NEIGHBOURS]:
            known[arch] = latency_of(arch)
            if fits(known[arch], budget):
                return arch, known[arch]
        if fastest() == centre:
            break
    return fastest(), known[fastest()]


def lost_text(
    candidates: Sequence[Candidate], checks: Sequence[Check], rejected: Sequence[FrontMember], *, fresh: bool
) -> str:
    """Returns what became of the candidates of a search whose front is empty: predicted and measured are kept apart.

    Args:
        candidates: Everything that was asked.
        checks: The predictions that were measured.
        rejected: What `confirm_front` found over budget.
        fresh: Whether that was measured in fresh processes.
    """
    within = [c for c in candidates if c.feasible and not c.repeated]
    predicted = {c.arch for c in within if isinstance(c.latency, Predicted)}
    told = f"{len(within) - len(predicted)} architectures were measured within the budget during the search"
    if predicted:
        checked = {check.arch for check in checks} | {member.candidate.arch for member in rejected}
        measured = len(predicted & checked)
        told += f", {len(predicted)} were predicted within it, of which {measured} were measured"
        if measured < len(predicted):
            told += f" and {len(predicted) - measured} lie above it by the predictions refitted on these"
    if fresh:
        told += f"; {len(rejected)} were measured again in fresh processes"
    return told + ". None meets it: "


def no_feasible_text(
    budget: LatencyBudget, arch: Architecture, latency: Latency, space: SearchSpace, predicted_for: str = ""
) -> str:
    """Returns the message for a budget nothing meets: the fastest architecture found, and three ways on.

    Args:
        budget: The budget.
        arch: The fastest architecture found.
        latency: Its latency.
        space: The search space.
        predicted_for: The device of the table, where nothing could be measured.
    """
    if isinstance(latency, Measured):
        reached_ms, verb, device = latency.at(budget.percentile), "meets", latency.device
        figure = f"{reached_ms:.3g} ms ({latency.noise} machine)"
    else:
        # The bound decides, so it is the bound that a wider budget must reach.
        reached_ms, verb, device = latency.high_ms, "is predicted to meet", f"{predicted_for}, unverified"
        figure = f"~{latency.latency_ms:.3g} ms predicted, at most {reached_ms:.3g}"
    suggested_ms = f"{1.2 * reached_ms:.3g}"
    return (
        f"no architecture of space '{space.name}' {verb} --latency-ms {budget.latency_ms:g} "
        f"({budget.percentile}, {budget.runtime}, {budget.precision}) on {device}. "
        f"The fastest found is {arch} with {figure}. "
        f"Raise the budget (--latency-ms {suggested_ms} leaves some choice), use a faster --device or --runtime, "
        "or train a supernet of a space with smaller members."
    )
