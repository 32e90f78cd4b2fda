"""Where a search meets other workers: the moments at which it hears, claims, hands back and ends. Alone, nothing happens.

`shared.SharedStudy` is what happens when there are others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from posesearch.search.candidate import Candidate
from posesearch.search.outcome import SearchOutcome
from posesearch.spaces.arch import Architecture

if TYPE_CHECKING:
    from posesearch.search.study import Ask


class RankedElsewhere(Exception):
    """Everything is evaluated and another worker ranks it: this one is done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """What another worker of the search has answered meanwhile.

    Attributes:
        candidate: The answer.
        evaluation: The whole evaluation; None when it was over budget.
    """

    candidate: Candidate
    evaluation: Mapping[str, Any] | None


class Alone:
    """A study with one worker."""

    elsewhere: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    """Evaluations of the same weights on the same people in the storage, by architecture id."""

    @property
    def running(self) -> Set[Architecture]:
        """What other workers evaluate now."""
        return frozenset()

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Surrounds deciding what to ask and asking it."""
        yield

    def take_news(self) -> tuple[News, ...]:
        """Returns what other workers have answered since the last call."""
        return ()

    def drop(self, ask: Ask) -> None:
        """Gives up a trial whose architecture another worker evaluates already."""
        raise AssertionError(f"trial {ask.trial.number}: there is no other worker")

    def release(self, ask: Ask) -> None:
        """Hands back a trial that this process fails to answer; alone, it finds the trial when it starts next."""

    def pause(self) -> None:
        """Waits a little for other workers."""

    @contextlib.contextmanager
    def ranking(self, *, measures: bool) -> Iterator[bool]:
        """Surrounds the ranking of what is evaluated; yields whether it falls to this process.

        Args:
            measures: Whether it would be ranked by measurements.
        """
        yield True

    def finish(self, outcome: SearchOutcome) -> None:
        """Keeps the result for workers that come later; alone, the search folder does."""
