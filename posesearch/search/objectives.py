"""What a search looks for and what it must keep to: objectives with their direction, budgets with their excess.

Two architectures are compared by the objectives of the search alone (`front.dominates`). Where they are equal in all of
them, one is kept, by the first of these that differs: higher AP, lower latency (unknown counts as slowest), fewer MACs,
fewer parameters, then the architecture's code in the order of the alphabet (`tie_key`). So the answer never depends on the
order in which architectures were evaluated.

An objective is one entry of `OBJECTIVES`. One that comes from the evaluation is read under its own name from the
evaluation's document, so that a further metric is one entry here and one key there. The others are free to ask: counted
figures cost nothing, and latency is known before accuracy is asked.

Memory is calculated, never measured: parameters plus the most activations that are alive at one moment when layers run
one after the other, in the number format and batch of the search. A runtime's own workspaces are not in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from posesearch.errors import UsageError, did_you_mean
from posesearch.latency.types import LatencyBudget, Percentile
from posesearch.search.candidate import Candidate
from posesearch.search.limit import excess_ms, figure_ms

BYTES_A_NUMBER: Mapping[str, int] = MappingProxyType({"fp32": 4, "fp16": 2, "bf16": 2})
MEGABYTE = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """One thing a search makes large or small.

    Attributes:
        name: As it is asked for, and its key in a candidate's cost or evaluation.
        maximise: Whether more is better.
        source: "evaluation" (needs the supernet), "latency", or "cost" (counted, free).
        words: What it is, for people.
    """

    name: str
    maximise: bool
    source: Literal["evaluation", "latency", "cost"]
    words: str


OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        objective.name: objective
        for objective in (
            Objective(name="AP", maximise=True, source="evaluation", words="supernet AP"),
            Objective(name="latency_ms", maximise=False, source="latency", words="latency (ms)"),
            Objective(name="params", maximise=False, source="cost", words="parameters"),
            Objective(name="macs", maximise=False, source="cost", words="MACs"),
            Objective(name="loss", maximise=False, source="evaluation", words="supernet loss"),
        )
    }
)
DEFAULT_OBJECTIVES = (OBJECTIVES["AP"], OBJECTIVES["latency_ms"])
METRICS = tuple(o.name for o in OBJECTIVES.values() if o.source == "evaluation" and o.name != "AP")
"""Keys of an evaluation, besides AP, that a candidate keeps."""


def objectives_of(names: str) -> tuple[Objective, ...]:
    """Returns the objectives that a list such as "AP,latency_ms" names, in its order.

    Raises:
        UsageError: Not two or three of them, one twice or unknown, or none that says how good a network is.
    """
    words = [word.strip() for word in names.split(",")]
    for word in words:
        if word not in OBJECTIVES:
            raise UsageError(
                f"--objectives {names}: '{word}' is not known.{did_you_mean(word, OBJECTIVES)} "
                f"Allowed: two or three of {', '.join(OBJECTIVES)}."
            )
    if not 2 <= len(words) <= 3 or len(set(words)) != len(words):
        raise UsageError(
            f"--objectives {names}: expected two or three different ones, separated by commas. "
            f"Allowed: {', '.join(OBJECTIVES)}. Try --objectives AP,latency_ms."
        )
    chosen = tuple(OBJECTIVES[word] for word in words)
    if all(objective.source != "evaluation" for objective in chosen):
        good = ", ".join(o.name for o in OBJECTIVES.values() if o.source == "evaluation")
        raise UsageError(
            f"--objectives {names}: none of them says how good a network is. Add one of {good}. "
            "Try --objectives AP,latency_ms."
        )
    return chosen


def value_of(objective: Objective, candidate: Candidate, percentile: Percentile = "p50") -> float:
    """Returns what an evaluated candidate has of an objective, in its own unit and direction."""
    if objective.source == "latency":
        assert candidate.latency is not None
        return figure_ms(candidate.latency, percentile)
    if objective.source == "cost":
        return float(candidate.cost[objective.name])
    if objective.name == "AP":
        assert candidate.ap is not None
        return candidate.ap
    return candidate.metrics[objective.name]


def tie_key(candidate: Candidate, percentile: Percentile = "p50") -> tuple[float, float, float, float, str]:
    """Returns what decides between candidates that are equal in all objectives: the smaller key stays."""
    return (
        -(candidate.ap or 0.0),
        math.inf if candidate.latency is None else figure_ms(candidate.latency, percentile),
        float(candidate.cost.get("macs", 0)),
        float(candidate.cost.get("params", 0)),
        candidate.arch.code,
    )


def memory_bytes(cost: Mapping[str, Any], precision: str = "fp32", batch: int = 1) -> int:
    """Returns the calculated memory of a network, bytes: parameters and the peak of activations.

    Args:
        cost: `Cost.to_plain()`.
        precision: Number format of both.
        batch: Images in one call; activations grow with it.
    """
    float32_bytes = int(cost["parameter_bytes"]) + batch * int(cost["peak_activation_bytes"])
    return float32_bytes * BYTES_A_NUMBER[precision] // BYTES_A_NUMBER["fp32"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Budgets:
    """What every network of the answer must keep to; None is no limit.

    Attributes:
        latency: The latency budget; only a measurement meets it.
        params: Most learned numbers.
        macs: Most multiply-accumulates of one image.
        memory_bytes: Most calculated memory of one call, see `memory_bytes`.
        precision: Number format in which memory is calculated.
        batch: Images in one call, for memory.
    """

    latency: LatencyBudget | None = None
    params: int | None = None
    macs: int | None = None
    memory_bytes: int | None = None
    precision: str = "fp32"
    batch: int = 1

    @property
    def counted(self) -> dict[str, int]:
        """The limits on counted figures by name: params, macs, memory_bytes, as far as there are any."""
        limits = {"params": self.params, "macs": self.macs, "memory_bytes": self.memory_bytes}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def figures(self, cost: Mapping[str, Any]) -> dict[str, int]:
        """Returns what a network has of each counted figure that is limited."""
        return {
            name: memory_bytes(cost, self.precision, self.batch)
            if name == "memory_bytes"
            else int(cost[name])
            for name in self.counted
        }

    def described(self, cost: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a candidate's cost, with the calculated memory where that is limited."""
        return {**cost, **self.figures(cost)}

    def shares(self, cost: Mapping[str, Any]) -> dict[str, float]:
        """Returns each limited figure as a share of its limit; 1 or less fits."""
        return {name: value / self.counted[name] for name, value in self.figures(cost).items()}

    def allows_cost(self, cost: Mapping[str, Any]) -> bool:
        """Says whether the counted figures fit, which is known before anything is measured."""
        return all(share <= 1.0 for share in self.shares(cost).values())

    def excess(self, candidate: Candidate) -> dict[str, float]:
        """Returns how far a candidate lies above each limit, by the name of Optuna's constraint; 0 or less fits.

        Latency is in milliseconds, of a prediction by its upper bound. Counted figures are in shares of their limit, so
        that a million parameters and a millisecond weigh alike where a sampler adds them up. Where the latency was not
        asked, as a counted figure was over its limit, `latency_ms` is left out.
        """
        excess = {name: share - 1.0 for name, share in self.shares(candidate.cost).items()}
        if self.latency is not None and candidate.latency is not None:
            excess["latency_ms"] = excess_ms(candidate.latency, self.latency)
        return excess
