"""A budget while searching: a measurement is held to it as it is, a prediction by its upper bound.

None of this is a claim. `LatencyBudget` alone says whether a budget is met, and it accepts a `Measured` and nothing else.
"""

from __future__ import annotations

from posesearch.latency.types import Latency, LatencyBudget, Measured, Percentile, Predicted


def figure_ms(latency: Latency, percentile: Percentile) -> float:
    """Returns the one figure a candidate is ranked by, milliseconds; a prediction has only a median."""
    return latency.at(percentile) if isinstance(latency, Measured) else latency.latency_ms


def excess_ms(latency: Latency, budget: LatencyBudget) -> float:
    """Returns how far a latency lies above the limit, milliseconds; of a prediction, how far its upper bound does."""
    if isinstance(latency, Predicted):
        return latency.high_ms - budget.latency_ms
    return budget.excess_ms(latency)


def fits(latency: Latency, budget: LatencyBudget | None) -> bool:
    """Says whether the search may spend an evaluation on it; without a budget it may."""
    return budget is None or excess_ms(latency, budget) <= 0.0


def may_fit(latency: Latency, budget: LatencyBudget | None) -> bool:
    """Says whether it could lie within the budget, if there is one: of a prediction, whether its lower bound does."""
    if budget is None:
        return True
    if isinstance(latency, Predicted):
        return latency.low_ms <= budget.latency_ms
    return budget.allows(latency)
