"""Checking predictions where it matters: the predicted front is measured, the predictor learns, until none is left.

A search picks what looks fast, so it finds the very architectures its predictor flatters ("winner's curse": of the 20
largest predicted within a budget, 15 to 20 were over it, with 4-5 % error on random ones). Each is therefore
predicted by a predictor that does not know it yet, measured, and only then learnt: that pair is a `Check`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from posesearch.errors import DataError
from posesearch.latency.types import (
    LatencyBudget,
    Measured,
    Predicted,
    latency_from_plain,
    measured_from_plain,
)
from posesearch.search.candidate import Candidate
from posesearch.search.front import pareto_front
from posesearch.search.judge import Predictor
from posesearch.search.limit import fits, may_fit
from posesearch.search.question import Question
from posesearch.spaces.arch import Architecture

TOP = 30
"""Members measured a round, the most accurate first: they lie nearest to the budget."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A prediction made before its architecture was measured.

    Attributes:
        arch: The architecture.
        predicted: The prediction.
        measured: The measurement, in the searching process.
        round: In which round, from 1.
    """

    arch: Architecture
    predicted: Predicted
    measured: Measured
    round: int

    @property
    def error(self) -> float:
        """How much slower it was than predicted, relative to the measurement."""
        return (self.measured.p50_ms - self.predicted.latency_ms) / self.measured.p50_ms

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as JSON-ready dict."""
        return {
            "arch_id": self.arch.id,
            "code": self.arch.code,
            "arch": self.arch.to_plain(),
            "predicted": self.predicted.to_plain(),
            "measured": self.measured.to_plain(),
            "round": self.round,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], source: str) -> Check:
        """Rebuilds the value `to_plain` gave.

        Raises:
            DataError: A key is missing or does not fit.
        """
        predicted = latency_from_plain(plain.get("predicted"), source)
        if not isinstance(predicted, Predicted):
            raise DataError(
                f"{source}: expected a predicted latency, found a measured one. Search again in a new run."
            )
        return cls(
            arch=Architecture.from_plain(plain.get("arch"), source),
            predicted=predicted,
            measured=measured_from_plain(plain.get("measured"), source),
            round=int(plain.get("round", 1)),
        )


def check_front(
    candidates: Sequence[Candidate],
    question: Question,
    predictor: Predictor,
    known: Mapping[Architecture, Measured],
    measure: Callable[[Architecture], Measured],
    note: Callable[[Check], None],
    first_round: int = 1,
) -> tuple[Candidate, ...]:
    """Measures the predicted front, refits and ranks again until no predicted member of it is unmeasured.

    A candidate that was evaluated is not dropped while its lower bound lies within the budget: its accuracy is paid
    for, and half a second says whether it stays.

    Args:
        candidates: Evaluated candidates, each architecture once.
        question: Objectives and budgets.
        predictor: The predictor, with what earlier checks taught it (`learnt`).
        known: What this search has measured already, for whatever reason.
        measure: Measures in this process.
        note: Keeps a check as soon as it is made.
        first_round: Number of the first round.

    Returns:
        The candidates that may be claimed, each with the best latency known: those within the budget when measured,
        and those whose refitted lower bound is. The doubtful of these are dominated by a measured one; should that be
        rejected by a fresh process, they are measured there.
    """
    measured = dict(known)
    # Refitted step by step: each network is scored by the predictor that chose it, before it joins the fit.
    fitted = predictor.refit(measured) if measured else predictor

    def updated() -> list[Candidate]:
        return [
            _with_latency(c, measured.get(c.arch) or fitted.predict(c.arch), question) for c in candidates
        ]

    now = updated()
    for number in itertools.count(first_round):  # each round measures at least one more, so that it ends
        front = pareto_front(_may_fit(now, question), question.point, question.maximise, question.tie_key)
        wanted = sorted((c for c in front if isinstance(c.latency, Predicted)), key=lambda c: -(c.ap or 0.0))
        if not wanted:
            break
        for candidate in wanted[:TOP]:
            assert isinstance(candidate.latency, Predicted)
            measured[candidate.arch] = measure(candidate.arch)
            note(
                Check(
                    arch=candidate.arch,
                    predicted=candidate.latency,
                    measured=measured[candidate.arch],
                    round=number,
                )
            )
        fitted = fitted.refit(measured)
        now = updated()
    return tuple(_may_fit(now, question))


def learnt(predictor: Predictor, checks: Sequence[Check]) -> Predictor:
    """Returns the predictor with what earlier checks taught it, in the order in which they were made."""
    for number in sorted({check.round for check in checks}):
        predictor = predictor.refit({check.arch: check.measured for check in checks if check.round == number})
    return predictor


def checks_text(checks: Sequence[Check], budget: LatencyBudget | None) -> str:
    """Returns one sentence on what the predictions were worth; nothing was measured: an empty one."""
    if not checks:
        return ""
    over = sum(not fits(check.measured, budget) for check in checks)
    outside = sum(check.measured.p50_ms > check.predicted.high_ms for check in checks)
    mape = sum(abs(check.error) for check in checks) / len(checks)
    told = (
        f"search: {len(checks)} of the predicted front measured in {checks[-1].round} rounds: predictions were "
        f"{mape:.1%} off on average, {outside} above their bound"
    )
    told += f", {over} over the budget." if budget is not None else "."
    if over > len(checks) // 4:
        told += " The table flatters what a search picks: more evaluations (--trials) go on with the refitted one."
    return told


def _may_fit(candidates: Sequence[Candidate], question: Question) -> list[Candidate]:
    return [c for c in candidates if c.latency is not None and may_fit(c.latency, question.latency)]


def _with_latency(candidate: Candidate, latency: Measured | Predicted, question: Question) -> Candidate:
    return dataclasses.replace(candidate, latency=latency, feasible=question.allows(candidate.cost, latency))
