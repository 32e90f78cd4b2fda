"""Questions with a time budget: what is answered is kept, what is not says why, and one fault loses no other answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from posesearch.bench.registry import BenchContext
from posesearch.bench.result import BenchResult, Goal
from posesearch.errors import EnvironmentFault, Interrupted

NOT_REACHED = "not reached: the time was up"


class Clock:
    """How much time is left for a question.

    Args:
        budget_s: Seconds from now.
    """

    def __init__(self, budget_s: float) -> None:
        self._end_s = time.monotonic() + budget_s

    @property
    def left_s(self) -> float:
        """Seconds left, negative when it took longer."""
        return self._end_s - time.monotonic()

    def is_up(self) -> bool:
        """Says whether nothing new should be begun."""
        return self.left_s <= 0


Part = Callable[[], BenchResult]


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One question, answered in parts of increasing cost, each of which stands by itself.

    Attributes:
        name: Its name, the key of its figures.
        asks: What is asked, one line.
        budget_s: No part begins after this many seconds.
        longest_s: What a part may take: none begins with less left for all questions.
        parts: Makes the parts by name, in the order they are answered.
    """

    name: str
    asks: str
    budget_s: float
    longest_s: float = 0.0
    parts: Callable[[BenchContext, Clock], Mapping[str, Part]]


@dataclass(kw_only=True, slots=True)
class Answers:
    """What was found out so far.

    Attributes:
        ratios: By "question part key".
        figures: By question, then by part.
        goals: On the ratios.
        notes: What the parts have to say, and what was not answered.
        open: Parts without an answer and why, by "question part".
    """

    ratios: dict[str, float] = field(default_factory=dict)
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    open: dict[str, str] = field(default_factory=dict)

    def add(self, question: str, part: str, found: BenchResult) -> None:
        """Keeps the answer of one part; its goals follow their ratios."""
        place = f"{question} {part}"
        self.ratios |= {f"{place} {key}": value for key, value in found.ratios.items()}
        # A goal may stand on a figure, which has to be on top for that.
        by_figure = {
            goal.key: found.figures[goal.key] for goal in found.goals if goal.key not in found.ratios
        }
        self.ratios |= {f"{place} {key}": float(value) for key, value in by_figure.items()}
        self.figures.setdefault(question, {})[part] = dict(found.figures)
        self.goals += [
            Goal(key=f"{place} {goal.key}", target=goal.target, at_most=goal.at_most) for goal in found.goals
        ]
        self.notes += [f"{place}: {note}" for note in found.notes]


def ask(questions: Sequence[Question], context: BenchContext, *, budget_s: float) -> Answers:
    """Answers one question after the other, each within its own budget and all within one.

    Args:
        questions: In the order they are asked.
        context: Device, seed, data, quickness.
        budget_s: Seconds for all of them.
    """
    answers, whole = Answers(), Clock(budget_s)
    for question in questions:
        clock = Clock(min(question.budget_s, whole.left_s))
        context.progress.message(f"{question.name}: {question.asks}")
        began_s = time.monotonic()
        for part, answer in question.parts(context, clock).items():
            place = f"{question.name} {part}"
            if clock.is_up() or whole.left_s < question.longest_s:
                answers.open[place] = NOT_REACHED
                continue
            reason = _answer(answers, question.name, part, answer)
            if reason:
                answers.open[place] = reason
                context.progress.message(f"{place}: {reason}")
        answers.figures.setdefault(question.name, {})["seconds"] = time.monotonic() - began_s
    return answers


def _answer(answers: Answers, question: str, part: str, answer: Part) -> str:
    """Answers one part and returns "", or why there is no answer."""
    try:
        answers.add(question, part, answer())
    except EnvironmentFault as fault:
        return f"skipped: {fault}"
    except Interrupted:
        return NOT_REACHED
    except Exception as fault:
        # Minutes of a lent GPU, and code that no GPU has run before: any fault becomes a finding, named with its kind.
        first_line = next(iter(str(fault).splitlines()), "")
        return f"failed: {type(fault).__name__}: {first_line}"
    return ""
