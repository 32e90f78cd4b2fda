"""What a benchmark found: ratios against a baseline of the same run, the figures behind them, and which goals are met.

A goal that is missed is a finding, never an error: a benchmark is not a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from posesearch.config import to_plain


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """What a ratio is asked to be.

    Attributes:
        key: Name of a ratio, or of a figure that is a number.
        target: The bound, inclusive.
        at_most: The value must not exceed the target; by default it must reach it.
    """

    key: str
    target: float
    at_most: bool = False

    def met(self, value: float) -> bool:
        """Returns whether a value meets the goal; NaN never does."""
        return bool(value <= self.target if self.at_most else value >= self.target)


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchResult:
    """The outcome of one benchmark.

    Attributes:
        name: Name of the benchmark.
        ratios: What is compared, each measured against its baseline within this run.
        figures: What the ratios are made of, units in the names, and the sizes that were measured; JSON-ready.
        goals: What the ratios are asked to be.
        notes: Sentences a reader needs beside the numbers.
    """

    name: str
    ratios: Mapping[str, float]
    figures: Mapping[str, Any]
    goals: tuple[Goal, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses goals on values that are not there: our own bug."""
        values = {**self.figures, **self.ratios}
        missing = [goal.key for goal in self.goals if not isinstance(values.get(goal.key), Real)]
        assert not missing, f"{self.name}: goals on {missing}, which are no ratios or numeric figures"

    def to_plain(self) -> dict[str, Any]:
        """Returns name, ratios, figures, goals with their value and whether they are met, and notes."""
        values = {**self.figures, **self.ratios}
        return {
            "name": self.name,
            "ratios": dict(self.ratios),
            "figures": to_plain(dict(self.figures)),
            "goals": [
                {
                    "key": goal.key,
                    "value": float(values[goal.key]),
                    "target": goal.target,
                    "at_most": goal.at_most,
                    "met": goal.met(float(values[goal.key])),
                }
                for goal in self.goals
            ],
            "notes": list(self.notes),
        }
