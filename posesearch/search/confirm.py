"""Measuring the front once more and ranking it again: what a search selects by a noisy figure, that figure flatters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence, Set
from types import MappingProxyType

import numpy as np

from posesearch.latency.statistics import QUIET
from posesearch.latency.types import Latency, Measured, Predicted
from posesearch.search.candidate import Candidate, FrontMember
from posesearch.search.front import losses, pareto_front
from posesearch.search.limit import figure_ms, fits
from posesearch.search.question import Question
from posesearch.spaces.arch import Architecture

BESIDE = 4
"""Likely members measured in a round beside those wanted: as many as cost what one more round does, two process starts."""

Confirm = Callable[[Sequence[Architecture]], Mapping[str, Measured]]
"""Measures architectures for a claim (in fresh processes) and gives the latencies by `Architecture.id`."""


def confirm_front(
    candidates: Sequence[Candidate],
    question: Question,
    confirm: Confirm | None,
    extra: Sequence[Candidate] = (),
    known: Mapping[str, Measured] = MappingProxyType({}),
) -> tuple[tuple[FrontMember, ...], tuple[FrontMember, ...], dict[str, Measured]]:
    """Ranks candidates by confirmed latency.

    The front of the search's own figures is confirmed; members over budget leave it, and the front of what remains is
    formed again, until all of it is confirmed: nothing is left out for lack of a measurement. Each round confirms at
    least one more, so that it ends. A candidate not confirmed yet takes part with its own figure, put on the best
    yardstick of all, times the usual ratio between confirmed and own, since processes differ by a common factor. A
    candidate known by a prediction takes part likewise: it enters the front by being confirmed or not at all. Where
    latency is no objective, the front does not hang on it, and is measured for the budget or to be shown.

    Likely members are measured in the same processes (`_likely`), so that a later round finds them known: a fifth fewer
    rounds on simulated fronts (docs/decisions.md). Which networks are wanted depends on the figures of wanted ones
    alone; so no round is added, and every member that the front has without likely ones is on it or beaten.

    Args:
        candidates: Evaluated candidates that may lie within the budget, each architecture once.
        question: Objectives and budgets.
        confirm: Measures again; None takes the search's measurements as they are.
        extra: Candidates to measure in the same processes for comparison; they do not enter the front.
        known: What `confirm` gave in an earlier call that was stopped, by architecture id.

    Returns:
        The front, fastest first; the members found over budget; and all confirmed latencies by architecture id.
    """
    if confirm is None:
        own = {c.arch.id: c.latency for c in (*candidates, *extra) if isinstance(c.latency, Measured)}
        return _front([c for c in candidates if c.arch.id in own], own, question), (), own
    measured = dict(known)
    asked_for: dict[str, Measured] = {}  # the part of `measured` that was wanted
    own_ms = _own_figures(candidates, question)
    while True:
        expected = _expected(own_ms, asked_for, question)
        inside = [expected(c) for c in candidates if _within(c, asked_for, question)]
        front = pareto_front(inside, question.point, question.maximise, question.tie_key)
        wanted = list(dict.fromkeys(c.arch for c in (*front, *extra) if c.arch.id not in asked_for))
        if not wanted:
            break
        missing = [arch for arch in wanted if arch.id not in measured]
        if missing:
            likely = _likely(inside, front, question, {*measured, *(arch.id for arch in missing)})
            measured.update(confirm([*missing, *likely]))
        asked_for.update({arch.id: measured[arch.id] for arch in wanted})
    confirmed = [c for c in candidates if c.arch.id in measured]
    rejected = tuple(
        FrontMember(candidate=c, confirmed=measured[c.arch.id])
        for c in confirmed
        if not fits(measured[c.arch.id], question.latency)
    )
    return _front(confirmed, measured, question), rejected, measured


def _likely(
    candidates: Sequence[Candidate], front: Sequence[Candidate], question: Question, taken: Set[str]
) -> list[Architecture]:
    """Returns whom the next front may want, the likeliest first; none where latency is no objective.

    They are slower than the member that beats them by no more than what a quiet machine errs, so which of the two is on
    the front is an open question.
    """
    if not question.ranks_latency:
        return []
    place = [objective.source for objective in question.objectives].index("latency")
    front_FM = np.array([losses(question.point(member), question.maximise) for member in front])
    behind = []
    for candidate in candidates:
        point = np.array(losses(question.point(candidate), question.maximise))
        latency_ms, point[place] = point[place], np.inf
        # Some member beats or is every candidate.
        first_ms = front_FM[(front_FM <= point).all(axis=1), place].min()
        if candidate.arch.id not in taken and latency_ms <= first_ms * (1.0 + QUIET):
            behind.append((latency_ms / first_ms, question.tie_key(candidate), candidate.arch))
    return [arch for _, _, arch in sorted(behind, key=lambda entry: entry[:2])[:BESIDE]]


def _front(
    candidates: Sequence[Candidate], confirmed: Mapping[str, Measured], question: Question
) -> tuple[FrontMember, ...]:
    inside = [
        # A candidate that was doubtful by its prediction no longer is.
        FrontMember(candidate=dataclasses.replace(c, feasible=True), confirmed=confirmed[c.arch.id])
        for c in candidates
        if fits(confirmed[c.arch.id], question.latency)
    ]
    return ranked_members(inside, question)


def ranked_members(members: Sequence[FrontMember], question: Question) -> tuple[FrontMember, ...]:
    """Returns the members that no other dominates, fastest first."""
    front = pareto_front(
        members, question.member_point, question.maximise, lambda member: question.tie_key(member.shown)
    )
    return tuple(sorted(front, key=lambda member: figure_ms(member.latency, question.percentile)))


def _within(candidate: Candidate, confirmed: Mapping[str, Measured], question: Question) -> bool:
    latency = confirmed.get(candidate.arch.id)
    return latency is None or fits(latency, question.latency)


def _own_figures(candidates: Sequence[Candidate], question: Question) -> dict[str, float]:
    """Returns the search's figures by architecture id, as if all had been related to the lowest yardstick."""
    timed = {c.arch.id: c.latency for c in candidates if c.latency is not None}
    yardsticks_ms = {arch_id: _yardstick_ms(latency) for arch_id, latency in timed.items()}
    best_ms = min((value for value in yardsticks_ms.values() if value > 0), default=0.0)
    return {
        arch_id: figure_ms(latency, question.percentile)
        * (best_ms / yardsticks_ms[arch_id] if yardsticks_ms[arch_id] > 0 else 1.0)
        for arch_id, latency in timed.items()
    }


def _yardstick_ms(latency: Latency) -> float:
    return latency.yardstick_ms if isinstance(latency, Measured) else 0.0


def _usual_ratio(own_ms: Mapping[str, float], confirmed: Mapping[str, Measured], question: Question) -> float:
    ratios = [confirmed[key].at(question.percentile) / own_ms[key] for key in own_ms if key in confirmed]
    return float(np.median(ratios)) if ratios else 1.0


def _expected(
    own_ms: Mapping[str, float], confirmed: Mapping[str, Measured], question: Question
) -> Callable[[Candidate], Candidate]:
    """Returns what gives a candidate its confirmed latency, or its own on the scale of the confirmed ones."""
    ratio = _usual_ratio(own_ms, confirmed, question)

    def expected(candidate: Candidate) -> Candidate:
        latency: Latency | None = confirmed.get(candidate.arch.id)
        if latency is None and candidate.arch.id in own_ms:
            expected_ms = own_ms[candidate.arch.id] * ratio
            latency = Predicted(
                latency_ms=expected_ms, low_ms=expected_ms, high_ms=expected_ms, source="not confirmed yet"
            )
        return dataclasses.replace(candidate, latency=latency)

    return expected
