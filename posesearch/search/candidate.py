"""One proposal of a search: what was asked, what it costs, how fast it is, and how accurate if that was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from posesearch.errors import DataError
from posesearch.latency.types import (
    Latency,
    LatencyBudget,
    Measured,
    Predicted,
    latency_from_plain,
    measured_from_plain,
)
from posesearch.spaces.arch import Architecture

UNVERIFIED = "unverified"
"""The verdict on a prediction for a device that is not here."""


class CostLike(Protocol):
    """The figures of `models.cost.Cost` that the search reads."""

    @property
    def params(self) -> int:
        """Learned numbers."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""

    @property
    def operators(self) -> int:
        """Operators that launch work."""

    @property
    def activation_bytes(self) -> int:
        """Bytes that all operators write."""

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A finished ask.

    Attributes:
        trial: Number of the Optuna trial.
        arch: The architecture.
        cost: `Cost.to_plain()` of it.
        latency: What decided about it: its measured latency, or with a latency table a prediction. None where it was
            not asked: a counted figure was over its budget, or latency is neither an objective nor limited.
        feasible: Whether all figures are within the budgets of the study, of a predicted latency its upper bound.
        ap: AP on the search split, 0 to 1; None when it was over budget and never evaluated.
        origin: "smallest", "fastest", "largest", "reference: NAME", "earlier: RUN", "start" (spread over the
            latencies), "sampler" or "nearby" (beside a proposal that was over budget or known).
        study: Name of the Optuna study.
        predicted: What a latency table said when it was asked; kept when it is measured later.
        repeated: The architecture had been asked before; the answer came from memory.
        metrics: What its evaluation gave besides AP and a search may ask for, such as the supernet's loss.
    """

    trial: int
    arch: Architecture
    cost: Mapping[str, Any]
    latency: Latency | None
    feasible: bool
    ap: float | None
    origin: str
    study: str
    predicted: Predicted | None = None
    repeated: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)

    def to_row(self) -> dict[str, Any]:
        """Returns the line of `candidates.jsonl`; a key `predicted` only where there was a table, and `metrics` if any."""
        row: dict[str, Any] = {
            "trial": self.trial,
            "arch_id": self.arch.id,
            "code": self.arch.code,
            "arch": self.arch.to_plain(),
            "cost": dict(self.cost),
            "latency": self.latency.to_plain() if self.latency else None,
            "feasible": self.feasible,
            "AP": self.ap,
            "origin": self.origin,
            "repeated": self.repeated,
            "study": self.study,
        }
        if self.metrics:
            row["metrics"] = dict(self.metrics)
        if self.predicted is not None:
            row["predicted"] = self.predicted.to_plain()
        return row

    @classmethod
    def from_row(cls, row: Mapping[str, Any], source: str) -> Candidate:
        """Rebuilds the value `to_row` gave.

        Raises:
            DataError: A key is missing or does not fit.
        """
        predicted = latency_from_plain(row["predicted"], source) if row.get("predicted") else None
        if isinstance(predicted, Measured):
            raise DataError(
                f"{source}: expected a predicted latency under 'predicted', found a measured one. "
                "Delete the search folder of the run and search again."
            )
        try:
            return cls(
                trial=int(row["trial"]),
                arch=Architecture.from_plain(row["arch"], source),
                cost=row["cost"],
                latency=None if row["latency"] is None else latency_from_plain(row["latency"], source),
                feasible=bool(row["feasible"]),
                ap=None if row["AP"] is None else float(row["AP"]),
                origin=str(row["origin"]),
                study=str(row["study"]),
                predicted=predicted,
                repeated=bool(row.get("repeated", False)),
                metrics={str(name): float(value) for name, value in row.get("metrics", {}).items()},
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{source}: a candidate's row is damaged ({type(error).__name__}: {error}). "
                "Delete the search folder of the run and search again."
            ) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontMember:
    """A candidate whose latency was measured once more, in fresh processes where that was asked.

    Attributes:
        candidate: The candidate.
        confirmed: The measured latency its rank and every claim rest on; None where the device is not here, so that
            there is a prediction and no claim.
        confirmed_also: Latencies in further runtimes, to be shown beside it; they decide nothing.
    """

    candidate: Candidate
    confirmed: Measured | None
    confirmed_also: tuple[Measured, ...] = ()

    @property
    def latency(self) -> Latency:
        """The confirmed latency, or the prediction."""
        latency = self.confirmed if self.confirmed is not None else self.candidate.latency
        assert latency is not None
        return latency

    @property
    def shown(self) -> Candidate:
        """The candidate with the latency that is claimed of it."""
        return replace(self.candidate, latency=self.latency)

    @property
    def ap(self) -> float:
        """AP on the search split."""
        assert self.candidate.ap is not None
        return self.candidate.ap

    def to_row(self, budget: LatencyBudget | None) -> dict[str, Any]:
        """Returns the row of `result.json`: the candidate, `confirmed`, `verdict` and `confirmed_also` by runtime.

        Where there is no other runtime, there is no key `confirmed_also`; where nothing was measured, `confirmed` is
        None and the verdict "unverified"; without a latency budget it is empty.
        """
        row = {
            **self.candidate.to_row(),
            "confirmed": self.confirmed.to_plain() if self.confirmed else None,
            "verdict": _verdict(self.confirmed, budget),
        }
        if self.confirmed_also:
            row["confirmed_also"] = {also.runtime: also.to_plain() for also in self.confirmed_also}
        return row

    @classmethod
    def from_row(cls, row: Mapping[str, Any], source: str) -> FrontMember:
        """Rebuilds the value `to_row` gave.

        Raises:
            DataError: A key is missing or does not fit.
        """
        return cls(
            candidate=Candidate.from_row(row, source),
            confirmed=None
            if row.get("verdict") == UNVERIFIED
            else measured_from_plain(row.get("confirmed"), source),
            confirmed_also=tuple(
                measured_from_plain(also, source) for also in row.get("confirmed_also", {}).values()
            ),
        )


def _verdict(confirmed: Measured | None, budget: LatencyBudget | None) -> str:
    if confirmed is None:
        return UNVERIFIED
    return budget.verdict(confirmed) if budget is not None else ""
