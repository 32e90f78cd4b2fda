"""From options to the question of a search: which objectives, which budgets, and what is said where one is nonsense."""

from __future__ import annotations

import re
from dataclasses import dataclass

from posesearch.errors import UsageError
from posesearch.latency.types import Conditions, LatencyBudget, Percentile
from posesearch.search.objectives import MEGABYTE, Budgets, objectives_of
from posesearch.search.question import Question

DEFAULT_OBJECTIVES = "AP,latency_ms"
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
COUNT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([KMG]?)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a search is asked besides the latency budget, as options give it.

    Attributes:
        objectives: Two or three names, separated by commas.
        max_params: Most parameters, such as "0.4M" or "400000"; None is no limit.
        max_macs: Most multiply-accumulates of one image, such as "60M" or "1.2G".
        max_memory_mb: Most memory by calculation, in millions of bytes.
    """

    objectives: str = DEFAULT_OBJECTIVES
    max_params: str | None = None
    max_macs: str | None = None
    max_memory_mb: str | None = None


def question_of(
    wanted: Wanted, *, latency_ms: float | None, percentile: Percentile, conditions: Conditions
) -> Question:
    """Returns the question of a search.

    Args:
        wanted: Objectives and counted budgets.
        latency_ms: The latency budget, if there is one.
        percentile: Which latency it holds for.
        conditions: The runtime, precision and batch that latency and memory are meant for.

    Raises:
        UsageError: No budget at all, or an option that cannot be; the message names it.
    """
    latency = None
    if latency_ms is not None:
        latency = LatencyBudget(
            latency_ms=latency_ms,
            percentile=percentile,
            runtime=conditions.runtime,
            precision=conditions.precision,
        )
    elif percentile != "p50":
        raise UsageError(
            f"--percentile {percentile} says how a latency budget is held, and there is none. "
            "Give --latency-ms too, or leave --percentile out."
        )
    memory_mb = _count(wanted.max_memory_mb, "--max-memory-mb", "12.5", units=False)
    budgets = Budgets(
        latency=latency,
        params=_count(wanted.max_params, "--max-params", "0.4M"),
        macs=_count(wanted.max_macs, "--max-macs", "60M"),
        memory_bytes=memory_mb,
        precision=conditions.precision,
        batch=conditions.batch,
    )
    if latency is None and not budgets.counted:
        raise UsageError(
            "no budget given. Allowed: milliseconds above 0, or a limit on size: --max-params, --max-macs, "
            "--max-memory-mb. Try --latency-ms 3.5."
        )
    return Question(budgets=budgets, objectives=objectives_of(wanted.objectives))


def _count(text: str | None, option: str, example: str, *, units: bool = True) -> int | None:
    """Returns the number an option gives: with a unit of `UNITS`, or of megabytes, in bytes.

    Raises:
        UsageError: It is no such number, or not at least 1.
    """
    if text is None:
        return None
    match = COUNT.fullmatch(text.strip())
    scale = MEGABYTE
    if match is not None and units:
        scale = UNITS[match[2].upper()]
    elif match is not None and match[2]:
        match = None
    value = round(float(match[1]) * scale) if match is not None else 0
    if value < 1:
        kinds = "a number above 0, with K, M or G or without" if units else "millions of bytes, above 0"
        raise UsageError(f"{option} {text}: expected {kinds}. Try {option} {example}.")
    return value
