"""The figures of an architecture that are free to ask, as the surrogate sees them: limits to keep, objectives to lower."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from posesearch.search.aim import Aim
from posesearch.search.candidate import CostLike
from posesearch.search.objectives import memory_bytes
from posesearch.search.question import Question
from posesearch.spaces.arch import Architecture

TIGHTENED = 0.985
"""Each proposal in a row that turned out over budget lowers the limit by this factor: a search looks for the members that
the guess flatters, and the guess does not improve where only other members are measured."""

LEAST = 0.8
"""The limit is lowered no further than to this part."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One free figure.

    Attributes:
        name: latency_ms, params, macs or memory_bytes.
        figure: Gives it, above 0.
        limit: What it may not exceed; None is no limit.
        objective: Whether the front is to reach down to small values of it.
        counted: It never changes, as a guess of latency does.
    """

    name: str
    figure: Callable[[Architecture], float]
    limit: float | None
    objective: bool
    counted: bool


def free_axes(
    question: Question, aim: Aim, cost: Callable[[Architecture], CostLike], lost: int = 0
) -> tuple[Axis, ...]:
    """Returns an axis for each budget and each free objective of a search.

    Args:
        question: Objectives and budgets.
        aim: Guesses latencies.
        cost: Gives costs.
        lost: Proposals in a row that turned out over budget.
    """
    objectives = {objective.name for objective in question.objectives}
    limits: dict[str, float] = dict(question.budgets.counted)
    counted = [name for name in ("params", "macs", "memory_bytes") if name in objectives or name in limits]
    axes = [
        Axis(
            name=name,
            figure=_counted(name, question, cost),
            limit=limits.get(name),
            objective=name in objectives,
            counted=True,
        )
        for name in counted
    ]
    if aim.guess is not None:
        limit_ms = question.latency.latency_ms if question.latency is not None else None
        axes.insert(
            0,
            Axis(
                name="latency_ms",
                figure=aim.guess,
                limit=None if limit_ms is None else limit_ms * max(LEAST, TIGHTENED**lost),
                objective="latency_ms" in objectives,
                counted=False,
            ),
        )
    return tuple(axes)


def _counted(
    name: str, question: Question, cost: Callable[[Architecture], CostLike]
) -> Callable[[Architecture], float]:
    if name == "params":
        return lambda arch: float(cost(arch).params)
    if name == "macs":
        return lambda arch: float(cost(arch).macs)
    precision, batch = question.budgets.precision, question.budgets.batch
    return lambda arch: float(memory_bytes(cost(arch).to_plain(), precision, batch))
