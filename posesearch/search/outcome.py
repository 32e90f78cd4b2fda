"""What a search found, as a value and as `result.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from posesearch.config import parse_stored
from posesearch.errors import DataError
from posesearch.files import read_json, write_json_atomic
from posesearch.latency.types import Conditions, Latency, LatencyBudget, latency_from_plain
from posesearch.search.candidate import FrontMember
from posesearch.search.check import Check
from posesearch.search.front import best, fastest, knee
from posesearch.search.limit import figure_ms
from posesearch.search.question import Question
from posesearch.search.refinement import Refinement
from posesearch.spaces.arch import Architecture

RESULT = "result.json"
Status = Literal["ok", "infeasible"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A named architecture evaluated under the same conditions, whatever its latency."""

    name: str
    member: FrontMember


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchOutcome:
    """The end of a search.

    Attributes:
        study: Name of the Optuna study.
        question: Objectives and budgets.
        sampler: The sampler that proposed, at the end where that changed.
        seed: The search's seed, likewise.
        earlier: With what the first asks were proposed where sampler or seed changed since, in words.
        target: Evaluations that were asked for.
        evaluations: Evaluations that were made.
        asks: Proposals in all, those over budget and known ones included.
        status: "ok", or "infeasible" when nothing met the budget.
        confirmed: Whether the front was measured again in fresh processes.
        confirm_effort: How long that took, in the words of the caller.
        stopped: Why the search ended before `target`, or an empty string.
        front: The Pareto front by confirmed latency, fastest first.
        rejected: Candidates that lay within the budget during the search and over it when confirmed.
        references: Named architectures.
        fastest_arch: The fastest architecture known.
        fastest_latency: Its latency; None where no member of the space is within the counted budgets, so that
            `fastest_arch` is the smallest one and nothing was timed.
        conditions: Under which latencies hold; None in results of earlier versions.
        table: Identity of the latency table that steered the search; empty when every candidate was measured.
        predicted_for: The device of the table, where it is not here: the front is predicted and nothing of it measured.
        checks: The predictions that were measured once the evaluations were made.
        refined: The refined weights it was found with; None for those of the supernet.
        reason: Why nothing meets the budgets, in words; empty where something does.
    """

    study: str
    question: Question
    sampler: str
    seed: int
    target: int
    evaluations: int
    asks: int
    status: Status
    confirmed: bool
    stopped: str
    front: tuple[FrontMember, ...]
    rejected: tuple[FrontMember, ...]
    references: tuple[Reference, ...]
    fastest_arch: Architecture
    fastest_latency: Latency | None
    earlier: tuple[str, ...] = ()
    confirm_effort: str = ""
    conditions: Conditions | None = None
    table: str = ""
    predicted_for: str = ""
    checks: tuple[Check, ...] = ()
    reason: str = ""
    refined: Refinement | None = None

    @property
    def label(self) -> str:
        """What must stand wherever the front is shown: "predicted for DEVICE, unverified"; empty when measured."""
        return f"predicted for {self.predicted_for}, unverified" if self.predicted_for else ""

    @property
    def picks(self) -> dict[str, Architecture]:
        """`best`, `knee` and `fastest` of the front; empty when there is none.

        The best one is so in AP (in loss, where AP is no objective); of equals, in the other objectives in their order. The
        fastest has the lowest latency even where that is no objective. The knee: `front.knee`.
        """
        if not self.front:
            return {}
        question = self.question
        points = [question.member_point(member) for member in self.front]
        chosen = {
            "best": best(points, question.maximise, question.objectives.index(question.goodness)),
            "knee": knee(points, question.maximise),
            "fastest": fastest([(m.ap, figure_ms(m.latency, question.percentile)) for m in self.front]),
        }
        return {name: self.front[index].candidate.arch for name, index in chosen.items()}

    @property
    def budget(self) -> LatencyBudget | None:
        """The latency budget, if there is one."""
        return self.question.latency

    def to_plain(self) -> dict[str, Any]:
        """Returns the content of `result.json`."""
        return {
            "study": self.study,
            **self.question.stored(),
            "sampler": self.sampler,
            "seed": self.seed,
            "earlier": list(self.earlier),
            "target": self.target,
            "evaluations": self.evaluations,
            "asks": self.asks,
            "status": self.status,
            "confirmed": self.confirmed,
            "confirm_effort": self.confirm_effort,
            "stopped": self.stopped,
            "conditions": self.conditions.to_plain() if self.conditions else None,
            "table": self.table,
            "predicted_for": self.predicted_for,
            "label": self.label,
            "checks": [check.to_plain() for check in self.checks],
            "front": [member.to_row(self.budget) for member in self.front],
            "rejected": [member.to_row(self.budget) for member in self.rejected],
            "picks": {name: arch.id for name, arch in self.picks.items()},
            "references": [{"reference": r.name, **r.member.to_row(self.budget)} for r in self.references],
            "fastest": {
                "arch_id": self.fastest_arch.id,
                "code": self.fastest_arch.code,
                "arch": self.fastest_arch.to_plain(),
                "latency": self.fastest_latency.to_plain() if self.fastest_latency else None,
            },
            "reason": self.reason,
            "refined": self.refined.to_plain() if self.refined else None,
        }

    def write(self, folder: Path) -> None:
        """Writes `result.json` into the search folder, all of it or nothing."""
        write_json_atomic(folder / RESULT, self.to_plain())


def read_outcome(folder: Path) -> SearchOutcome:
    """Reads `result.json` of a search folder.

    Raises:
        DataError: There is none, or it is damaged.
    """
    path = folder / RESULT
    remedy = "Search again: it is made anew, and nothing that was evaluated is lost."
    plain = read_json(path, "search result", remedy)
    try:
        return _from_plain(plain, str(path))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"search result {path} is damaged ({type(error).__name__}: {error}). {remedy}"
        ) from error


def _from_plain(plain: Mapping[str, Any], source: str) -> SearchOutcome:
    return SearchOutcome(
        study=plain["study"],
        question=Question.from_plain(plain, source),
        sampler=plain["sampler"],
        seed=plain["seed"],
        target=plain["target"],
        evaluations=plain["evaluations"],
        asks=plain["asks"],
        status=plain["status"],
        confirmed=plain["confirmed"],
        stopped=plain["stopped"],
        front=tuple(FrontMember.from_row(row, source) for row in plain["front"]),
        rejected=tuple(FrontMember.from_row(row, source) for row in plain["rejected"]),
        references=tuple(
            Reference(name=row["reference"], member=FrontMember.from_row(row, source))
            for row in plain["references"]
        ),
        fastest_arch=Architecture.from_plain(plain["fastest"]["arch"], source),
        fastest_latency=_latency_of(plain["fastest"]["latency"], source),
        earlier=tuple(plain.get("earlier", ())),
        confirm_effort=plain.get("confirm_effort", ""),
        conditions=parse_stored(Conditions, plain["conditions"], source) if plain.get("conditions") else None,
        table=plain.get("table", ""),
        predicted_for=plain.get("predicted_for", ""),
        checks=tuple(Check.from_plain(check, source) for check in plain.get("checks", ())),
        reason=plain.get("reason", ""),
        refined=Refinement.from_plain(plain.get("refined"), source),
    )


def _latency_of(plain: Any, source: str) -> Latency | None:
    return None if plain is None else latency_from_plain(plain, source)
