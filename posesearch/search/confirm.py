"""Measuring the front once more and ranking it again: what a search selects by a noisy figure, that figure flatters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence, Set
from types import MappingProxyType

import numpy as np

from posesearch.latency.statistics import QUIET
from posesearch.latency.types import Latency, LatencyBudget, Measured
from posesearch.search.candidate import Candidate, FrontMember
from posesearch.search.front import pareto_front
from posesearch.search.limit import figure_ms
from posesearch.spaces.arch import Architecture

BESIDE = 4
"""Likely members measured in a round beside those wanted: as many as cost what one more round does, two process starts."""

Confirm = Callable[[Sequence[Architecture]], Mapping[str, Measured]]
"""Measures architectures for a claim (in fresh processes) and gives the latencies by `Architecture.id`."""


def confirm_front(
    candidates: Sequence[Candidate],
    budget: LatencyBudget,
    confirm: Confirm | None,
    extra: Sequence[Candidate] = (),
    known: Mapping[str, Measured] = MappingProxyType({}),
) -> tuple[tuple[FrontMember, ...], tuple[FrontMember, ...], dict[str, Measured]]:
    """Ranks candidates by confirmed latency.

    The front of the search's own figures is confirmed; members over budget leave it, and the front of what remains is
    formed again, until all of it is confirmed: nothing is left out for lack of a measurement. Each round confirms at
    least one more, so that it ends. A candidate not confirmed yet takes part with its own figure, put on the best
    yardstick of all, times the usual ratio between confirmed and own, since processes differ by a common factor. A
    candidate known by a prediction takes part likewise: it enters the front by being confirmed or not at all.

    Likely members are measured in the same processes (`_likely`), so that a later round finds them known: a fifth fewer
    rounds on simulated fronts (docs/decisions.md). Which networks are wanted depends on the figures of wanted ones
    alone; so no round is added, and every member that the front has without likely ones is on it or beaten.

    Args:
        candidates: Evaluated candidates that may lie within the budget, each architecture once.
        budget: The budget.
        confirm: Measures again; None takes the search's measurements as they are.
        extra: Candidates to measure in the same processes for comparison; they do not enter the front.
        known: What `confirm` gave in an earlier call that was stopped, by architecture id.

    Returns:
        The front, fastest first; the members found over budget; and all confirmed latencies by architecture id.
    """
    if confirm is None:
        own = {c.arch.id: c.latency for c in (*candidates, *extra) if isinstance(c.latency, Measured)}
        return _front([c for c in candidates if c.arch.id in own], own, budget), (), own
    measured = dict(known)
    asked_for: dict[str, Measured] = {}  # the part of `measured` that was wanted
    own_ms = _own_figures(candidates, budget)
    while True:
        point = _point(own_ms, asked_for, _usual_ratio(own_ms, asked_for, budget), budget)
        inside = [c for c in candidates if _within(c, asked_for, budget)]
        front = pareto_front(inside, point)
        wanted = list(dict.fromkeys(c.arch for c in (*front, *extra) if c.arch.id not in asked_for))
        if not wanted:
            break
        missing = [arch for arch in wanted if arch.id not in measured]
        if missing:
            likely = _likely(inside, front, point, {*measured, *(arch.id for arch in missing)})
            measured.update(confirm([*missing, *likely]))
        asked_for.update({arch.id: measured[arch.id] for arch in wanted})
    confirmed = [c for c in candidates if c.arch.id in measured]
    rejected = tuple(
        FrontMember(candidate=c, confirmed=measured[c.arch.id])
        for c in confirmed
        if not budget.allows(measured[c.arch.id])
    )
    return _front(confirmed, measured, budget), rejected, measured


def _likely(
    candidates: Sequence[Candidate],
    front: Sequence[Candidate],
    point: Callable[[Candidate], tuple[float, float]],
    taken: Set[str],
) -> list[Architecture]:
    """Returns whom the next front may want, the likeliest first.

    They are slower than the member that beats them by no more than what a quiet machine errs, so which of the two is on
    the front is an open question.
    """
    behind = []
    for candidate in candidates:
        ap, latency_ms = point(candidate)
        # The front is in the order of both figures; some member beats or is every candidate.
        first_ms = next(point(member)[1] for member in front if point(member)[0] >= ap)
        if candidate.arch.id not in taken and latency_ms <= first_ms * (1.0 + QUIET):
            behind.append((latency_ms / first_ms, candidate.arch))
    return [arch for _, arch in sorted(behind, key=lambda pair: pair[0])[:BESIDE]]


def _front(
    candidates: Sequence[Candidate], confirmed: Mapping[str, Measured], budget: LatencyBudget
) -> tuple[FrontMember, ...]:
    inside = [
        # A candidate that was doubtful by its prediction no longer is.
        FrontMember(candidate=dataclasses.replace(c, feasible=True), confirmed=confirmed[c.arch.id])
        for c in candidates
        if budget.allows(confirmed[c.arch.id])
    ]
    return pareto_front(inside, lambda m: (m.ap, figure_ms(m.latency, budget.percentile)))


def _within(candidate: Candidate, confirmed: Mapping[str, Measured], budget: LatencyBudget) -> bool:
    latency = confirmed.get(candidate.arch.id)
    return latency is None or budget.allows(latency)


def _own_figures(candidates: Sequence[Candidate], budget: LatencyBudget) -> dict[str, float]:
    """Returns the search's figures by architecture id, as if all had been related to the lowest yardstick."""
    yardsticks_ms = {c.arch.id: _yardstick_ms(c.latency) for c in candidates}
    best_ms = min((value for value in yardsticks_ms.values() if value > 0), default=0.0)
    return {
        c.arch.id: figure_ms(c.latency, budget.percentile)
        * (best_ms / yardsticks_ms[c.arch.id] if yardsticks_ms[c.arch.id] > 0 else 1.0)
        for c in candidates
    }


def _yardstick_ms(latency: Latency) -> float:
    return latency.yardstick_ms if isinstance(latency, Measured) else 0.0


def _usual_ratio(
    own_ms: Mapping[str, float], confirmed: Mapping[str, Measured], budget: LatencyBudget
) -> float:
    ratios = [confirmed[key].at(budget.percentile) / own_ms[key] for key in own_ms if key in confirmed]
    return float(np.median(ratios)) if ratios else 1.0


def _point(
    own_ms: Mapping[str, float], confirmed: Mapping[str, Measured], ratio: float, budget: LatencyBudget
) -> Callable[[Candidate], tuple[float, float]]:
    def point(candidate: Candidate) -> tuple[float, float]:
        assert candidate.ap is not None
        latency = confirmed.get(candidate.arch.id)
        expected_ms = own_ms[candidate.arch.id] * ratio
        return candidate.ap, latency.at(budget.percentile) if latency is not None else expected_ms

    return point
