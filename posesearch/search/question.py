"""The question of a search as one value: its objectives and its budgets, how a candidate stands in both, and its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from posesearch.config import parse_stored
from posesearch.errors import DataError
from posesearch.latency.types import Latency, LatencyBudget, Percentile
from posesearch.search.candidate import Candidate, FrontMember
from posesearch.search.limit import fits
from posesearch.search.objectives import (
    DEFAULT_OBJECTIVES,
    MEGABYTE,
    OBJECTIVES,
    Budgets,
    Objective,
    tie_key,
    value_of,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What a search is asked.

    Attributes:
        budgets: What every network of the answer must keep to.
        objectives: Two or three, in the order of the study's values; one at least comes from the evaluation.
    """

    budgets: Budgets
    objectives: tuple[Objective, ...] = DEFAULT_OBJECTIVES

    @classmethod
    def within(cls, budget: LatencyBudget) -> Question:
        """Returns the usual question: the most accurate networks at each latency up to a budget."""
        return cls(budgets=Budgets(latency=budget))

    @property
    def latency(self) -> LatencyBudget | None:
        """The latency budget, if there is one."""
        return self.budgets.latency

    @property
    def percentile(self) -> Percentile:
        """Which latency is meant."""
        return self.latency.percentile if self.latency is not None else "p50"

    @property
    def maximise(self) -> tuple[bool, ...]:
        """The direction of each objective."""
        return tuple(objective.maximise for objective in self.objectives)

    @property
    def goodness(self) -> Objective:
        """The first objective that says how good a network is: AP, where that is one."""
        good = [objective for objective in self.objectives if objective.source == "evaluation"]
        return next((objective for objective in good if objective.name == "AP"), good[0])

    @property
    def ranks_latency(self) -> bool:
        """Whether latency is an objective."""
        return any(objective.source == "latency" for objective in self.objectives)

    @property
    def times_asks(self) -> bool:
        """Whether the latency of each ask matters; if not, only that of the front is measured, to be shown."""
        return self.ranks_latency or self.latency is not None

    @property
    def metrics(self) -> tuple[str, ...]:
        """Keys that an evaluation must give."""
        return tuple(dict.fromkeys(("AP", *(o.name for o in self.objectives if o.source == "evaluation"))))

    def point(self, candidate: Candidate) -> tuple[float, ...]:
        """Returns the objectives of an evaluated candidate."""
        return tuple(value_of(objective, candidate, self.percentile) for objective in self.objectives)

    def values(self, candidate: Candidate, believed: Mapping[str, float]) -> tuple[float, ...] | None:
        """Returns the objectives of a trial, with what is believed of a candidate that was not evaluated; else None."""
        if candidate.ap is not None:
            return self.point(candidate)
        if not believed:
            return None
        known = {o.name for o in self.objectives if o.source == "cost"}
        known |= {"latency_ms"} if candidate.latency is not None else set()
        return tuple(
            value_of(o, candidate, self.percentile) if o.name in known else believed[o.name]
            for o in self.objectives
        )

    def excess(self, candidate: Candidate, believed: Mapping[str, float]) -> dict[str, float]:
        """Returns `Budgets.excess`, with the believed latency of a candidate whose latency was not asked."""
        excess = self.budgets.excess(candidate)
        if self.latency is not None and candidate.latency is None and "latency_ms" in believed:
            excess["latency_ms"] = believed["latency_ms"] - self.latency.latency_ms
        return excess

    def tie_key(self, candidate: Candidate) -> tuple[float, float, float, float, str]:
        """Returns what decides between candidates of equal objectives (`objectives.tie_key`)."""
        return tie_key(candidate, self.percentile)

    def member_point(self, member: FrontMember) -> tuple[float, ...]:
        """Returns the objectives of a member of the front, by its confirmed latency."""
        return self.point(member.shown)

    def allows(self, cost: Mapping[str, Any], latency: Latency | None) -> bool:
        """Says whether the search may spend an evaluation: of a prediction the upper bound decides.

        Without a latency the counted figures decide alone.
        """
        return self.budgets.allows_cost(cost) and (latency is None or fits(latency, self.latency))

    @property
    def name(self) -> str:
        """What a study's name says of the question; the usual one is called as it was before there were others."""
        words = [f"{self.percentile}_{self.latency.latency_ms:g}ms" if self.latency else self.percentile]
        words += [f"{name}-{limit}" for name, limit in self.budgets.counted.items()]
        if self.objectives != DEFAULT_OBJECTIVES:
            words.append("+".join(objective.name for objective in self.objectives))
        return "_".join(words)

    @property
    def memory_words(self) -> str | None:
        """What a memory budget counts; None without one."""
        if self.budgets.memory_bytes is None:
            return None
        return (
            "calculated, not measured: parameters and the peak of activations of eager layers, "
            f"{self.budgets.precision}, batch {self.budgets.batch}"
        )

    def to_plain(self) -> dict[str, Any]:
        """Returns the keys `objectives` and `budgets` of `result.json` and of the plan."""
        return {
            "objectives": [objective.name for objective in self.objectives],
            "budgets": {
                "latency_ms": self.latency.latency_ms if self.latency else None,
                "params": self.budgets.params,
                "macs": self.budgets.macs,
                "memory_bytes": self.budgets.memory_bytes,
                "memory": self.memory_words,
                "precision": self.budgets.precision,
                "batch": self.budgets.batch,
            },
        }

    def stored(self) -> dict[str, Any]:
        """Returns what `from_plain` reads: the keys of `to_plain`, and `budget`, the latency budget in full."""
        return {"budget": self.latency.to_plain() if self.latency is not None else None, **self.to_plain()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], source: str) -> Question:
        """Rebuilds the question from `result.json`; one of an earlier version asked for AP and latency alone.

        Raises:
            DataError: A key does not fit.
        """
        names = plain.get("objectives", [objective.name for objective in DEFAULT_OBJECTIVES])
        unknown = [name for name in names if name not in OBJECTIVES]
        if unknown:
            raise DataError(
                f"{source}: objective {unknown[0]!r} is not known. Allowed: {', '.join(OBJECTIVES)}. "
                "The file was changed or written by another version of posesearch; search again."
            )
        limits = plain.get("budgets") or {}
        latency = plain["budget"]
        return cls(
            objectives=tuple(OBJECTIVES[name] for name in names),
            budgets=Budgets(
                latency=parse_stored(LatencyBudget, latency, source) if latency is not None else None,
                params=limits.get("params"),
                macs=limits.get("macs"),
                memory_bytes=limits.get("memory_bytes"),
                precision=limits.get("precision", "fp32"),
                batch=limits.get("batch", 1),
            ),
        )


def limit_words(name: str, value: float) -> tuple[str, str]:
    """Returns the option of a counted figure and a value as it is written there: ("--max-params", "0.4M")."""
    if name == "memory_bytes":
        return "--max-memory-mb", f"{value / MEGABYTE:.10g}"
    for size, unit in ((1e9, "G"), (1e5, "M")):
        if value >= size:
            return f"--max-{name}", f"{value / max(size, 1e6):.10g}{unit}"
    return f"--max-{name}", f"{value:.0f}"


def figure_text(name: str, value: float) -> str:
    """Returns a counted figure in a sentence: `0.412 M parameters`, `12.3 MB of memory (calculated)`."""
    if name == "memory_bytes":
        return f"{value / MEGABYTE:.3g} MB of memory (calculated)"
    unit = "parameters" if name == "params" else "MACs"
    return f"{value / 1e9:.3g} G {unit}" if value >= 1e8 else f"{value / 1e6:.3g} M {unit}"
