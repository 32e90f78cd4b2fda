"""What all steps of one search share: the space, the question, who proposes, and who measures the front again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from posesearch.progress import Progress
from posesearch.search.candidate import CostLike
from posesearch.search.confirm import Confirm
from posesearch.search.question import Question
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirming:
    """Who measures the front again.

    Attributes:
        confirm: Measures for the claim, e.g. in fresh processes; None takes the meter's figures.
        effort: Names how long it measures; with another effort a finished search confirms again.
        also: Measures front and references in another runtime, shown beside (`confirmed_also`); no rank rests on it.
    """

    confirm: Confirm | None = None
    effort: str = ""
    also: Confirm | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchContext:
    """What the steps of one search share.

    Attributes:
        space: The search space.
        folder: The search folder.
        question: Objectives and budgets.
        evaluations: Accuracy evaluations to reach.
        sampler: The resolved sampler.
        seed: Key of all proposals.
        cost: Gives costs.
        references: Named members.
        warm: Further members to ask first, each with its origin: what another strategy or an earlier search found.
        confirming: Who measures the front again.
        predicted_for: The device of a latency table that is not here; else empty.
        progress: Where to report.
        stop: Asked between two evaluations, measurements and rounds; True saves and ends.
    """

    space: SearchSpace
    folder: Path
    question: Question
    evaluations: int
    sampler: str
    seed: int
    cost: Callable[[Architecture], CostLike]
    progress: Progress
    references: Mapping[str, Architecture] = field(default_factory=dict)
    warm: Sequence[tuple[Architecture, str]] = ()
    confirming: Confirming = field(default_factory=Confirming)
    predicted_for: str = ""
    stop: Callable[[], bool] = lambda: False
