"""Reading what a search was asked: its objectives and its budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posesearch.errors import DataError
from posesearch.files import read_json
from posesearch.report.axes import AXES, DEFAULT
from posesearch.report.fields import integer, mapping, number, text
from posesearch.report.rows import Budget, Limit

QUESTION = "question.json"
COUNTED = ("params", "macs", "memory_bytes")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a search was asked besides a latency budget: names of its objectives, budgets on counted figures."""

    objectives: tuple[str, ...] = DEFAULT
    limits: tuple[Limit, ...] = ()


ASKED_BEFORE = Asked()
"""What every search of an earlier version was asked."""


def read_asked(plain: Mapping[str, Any], where: str = "search result") -> Asked:
    """Returns the question that `result.json` or `question.json` holds.

    Raises:
        DataError: A key does not fit.
    """
    return Asked(objectives=objectives_of(plain, where), limits=limits_of(plain, where))


def asked_of(folder: Path, result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the keys `objectives`, `budgets` and `budget`: of the result, or of a search that has none yet.

    Args:
        folder: The search folder.
        result: `result.json`; empty where the search has not finished.

    Raises:
        DataError: The file is broken.
    """
    file = folder / QUESTION
    if result or not file.is_file():
        return result
    return mapping(read_json(file, "search question"), str(file))


def objectives_of(asked: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Returns the names of the objectives; a search of an earlier version had AP and latency.

    Raises:
        DataError: One is not known here.
    """
    names = asked.get("objectives") or DEFAULT
    if (
        not isinstance(names, (list, tuple))
        or not set(names) <= AXES.keys()
        or not {"AP", "loss"} & set(names)
    ):
        raise DataError(
            f"{where}: objectives is {names!r:.80}, expected two or three of {', '.join(AXES)}. "
            "The file was changed or written by another version; search again."
        )
    return tuple(names)


def limits_of(asked: Mapping[str, Any], where: str) -> tuple[Limit, ...]:
    """Returns the budgets on counted figures."""
    plain = mapping(asked.get("budgets") or {}, f"{where}: budgets")
    found = ((name, integer(plain, name, f"{where}: budgets")) for name in COUNTED)
    return tuple(
        Limit(name=name, at_most=value, told=text(plain, "memory") if name == "memory_bytes" else "")
        for name, value in found
        if value is not None
    )


def budget_of(plain: Any, where: str) -> Budget | None:
    """Returns the latency budget of the search."""
    if not plain:
        return None
    plain = mapping(plain, where)
    limit = number(plain, "latency_ms", where)
    if limit is None:
        return None
    percentile, runtime, precision = (text(plain, key) for key in ("percentile", "runtime", "precision"))
    return Budget(latency_ms=limit, percentile=percentile or "p50", runtime=runtime, precision=precision)
