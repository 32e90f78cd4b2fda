"""Measuring the front once more and ranking it again: what a search selects by a noisy figure, that figure flatters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from posesearch.latency.types import Latency, LatencyBudget, Measured
from posesearch.search.candidate import Candidate, FrontMember
from posesearch.search.front import pareto_front
from posesearch.search.limit import figure_ms
from posesearch.spaces.arch import Architecture

Confirm = Callable[[Sequence[Architecture]], Mapping[str, Measured]]
"""Measures architectures for a claim (in fresh processes) and gives the latencies by `Architecture.id`."""


def confirm_front(
    candidates: Sequence[Candidate],
    budget: LatencyBudget,
    confirm: Confirm | None,
    extra: Sequence[Candidate] = (),
) -> tuple[tuple[FrontMember, ...], tuple[FrontMember, ...], dict[str, Measured]]:
    """Ranks candidates by confirmed latency.

    The front of the search's own figures is confirmed; members over budget leave it, and the front of what remains is
    formed again, until all of it is confirmed: nothing is left out for lack of a measurement. Each round confirms at
    least one more, so that it ends. A candidate not confirmed yet takes part with its own figure, put on the best yardstick of all, times
    the usual ratio between confirmed and own, since processes differ by a common factor. A candidate known by a
    prediction takes part likewise: it enters the front by being confirmed or not at all.

    Args:
        candidates: Evaluated candidates that may lie within the budget, each architecture once.
        budget: The budget.
        confirm: Measures again; None takes the search's measurements as they are.
        extra: Candidates to measure in the same processes for comparison; they do not enter the front.

    Returns:
        The front, fastest first; the members found over budget; and all confirmed latencies by architecture id.
    """
    if confirm is None:
        own = {c.arch.id: c.latency for c in (*candidates, *extra) if isinstance(c.latency, Measured)}
        return _front([c for c in candidates if c.arch.id in own], own, budget), (), own
    confirmed: dict[str, Measured] = {}
    own_ms = _own_figures(candidates, budget)
    while wanted := _unconfirmed(candidates, own_ms, confirmed, budget, extra):
        confirmed.update(confirm(wanted))
    known = [c for c in candidates if c.arch.id in confirmed]
    rejected = tuple(
        FrontMember(candidate=c, confirmed=confirmed[c.arch.id])
        for c in known
        if not budget.allows(confirmed[c.arch.id])
    )
    return _front(known, confirmed, budget), rejected, confirmed


def _unconfirmed(
    candidates: Sequence[Candidate],
    own_ms: Mapping[str, float],
    confirmed: Mapping[str, Measured],
    budget: LatencyBudget,
    extra: Sequence[Candidate],
) -> list[Architecture]:
    front = pareto_front(
        [c for c in candidates if _within(c, confirmed, budget)],
        _point(own_ms, confirmed, _usual_ratio(own_ms, confirmed, budget), budget),
    )
    return list(dict.fromkeys(c.arch for c in (*front, *extra) if c.arch.id not in confirmed))


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
