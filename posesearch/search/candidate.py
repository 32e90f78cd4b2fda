"""One proposal of a search: what was asked, what it costs, how fast it is, and how accurate if that was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
        latency: What decided about it: its measured latency, or with a latency table a prediction.
        feasible: Whether that is within the budget of the study, of a prediction its upper bound.
        ap: AP on the search split, 0 to 1; None when it was over budget and never evaluated.
        origin: "smallest", "fastest", "largest", "reference: NAME", "start" (spread over the latencies), "sampler" or
            "nearby" (beside a proposal that was over budget or known).
        study: Name of the Optuna study.
        predicted: What a latency table said when it was asked; kept when it is measured later.
        repeated: The architecture had been asked before; the answer came from memory.
    """

    trial: int
    arch: Architecture
    cost: Mapping[str, Any]
    latency: Latency
    feasible: bool
    ap: float | None
    origin: str
    study: str
    predicted: Predicted | None = None
    repeated: bool = False

    def to_row(self) -> dict[str, Any]:
        """Returns the line of `candidates.jsonl`; a key `predicted` only where there was a table."""
        row = {
            "trial": self.trial,
            "arch_id": self.arch.id,
            "code": self.arch.code,
            "arch": self.arch.to_plain(),
            "cost": dict(self.cost),
            "latency": self.latency.to_plain(),
            "feasible": self.feasible,
            "AP": self.ap,
            "origin": self.origin,
            "repeated": self.repeated,
            "study": self.study,
        }
        return row if self.predicted is None else {**row, "predicted": self.predicted.to_plain()}

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
                latency=latency_from_plain(row["latency"], source),
                feasible=bool(row["feasible"]),
                ap=None if row["AP"] is None else float(row["AP"]),
                origin=str(row["origin"]),
                study=str(row["study"]),
                predicted=predicted,
                repeated=bool(row.get("repeated", False)),
            )
        except (KeyError, TypeError, ValueError) as error:
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
        return self.confirmed if self.confirmed is not None else self.candidate.latency

    @property
    def ap(self) -> float:
        """AP on the search split."""
        assert self.candidate.ap is not None
        return self.candidate.ap

    def to_row(self, budget: LatencyBudget) -> dict[str, Any]:
        """Returns the row of `result.json`: the candidate, `confirmed`, `verdict` and `confirmed_also` by runtime.

        Where there is no other runtime, there is no key `confirmed_also`; where nothing was measured, `confirmed` is
        None and the verdict "unverified".
        """
        row = {
            **self.candidate.to_row(),
            "confirmed": self.confirmed.to_plain() if self.confirmed else None,
            "verdict": budget.verdict(self.confirmed) if self.confirmed else UNVERIFIED,
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
