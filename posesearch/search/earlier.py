"""Proposals from earlier searches of the same space: what was good there is asked first here, and evaluated anew.

Only architectures are taken over. Accuracies of other weights and latencies of other devices say nothing certain about
this search, but an architecture that was on one front is a better first guess than a random one. Of each earlier
study its front is taken, the most accurate member first and then always the one that lies furthest in latency from those
taken, so that a short list reaches both ends; several studies take turns.

What a study was given at its start is kept in it: a search that is resumed proposes the same, whatever other searches
have found meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from posesearch.errors import DataError, UsageError
from posesearch.files import read_jsonl
from posesearch.latency.device import Fingerprint
from posesearch.latency.types import Latency, LatencyBudget, Measured
from posesearch.progress import Progress
from posesearch.search.candidate import Candidate
from posesearch.search.front import pareto_front
from posesearch.search.limit import figure_ms
from posesearch.search.study import CANDIDATES, SearchStudy
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace

LIMIT = 12
"""Architectures taken over: an eighth of a search of 100 evaluations."""

NOTED = "earlier:"
"""Begins the name of the study's entry that keeps the list."""

Choice = Literal["same", "all", "refined"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """A latency budget, and the device and conditions under which a latency can be compared with it."""

    latency_ms: float
    fingerprint: Fingerprint

    @classmethod
    def of(cls, budget: LatencyBudget | None, fingerprint: Fingerprint) -> Limit | None:
        """Returns the limit of a budget; None where latency is not limited."""
        return cls(latency_ms=budget.latency_ms, fingerprint=fingerprint) if budget else None

    def excludes(self, latency: Latency | None) -> bool:
        """Says whether a network with this latency is known to be too slow; of other conditions nothing is known."""
        if not isinstance(latency, Measured) or latency.p50_ms <= self.latency_ms:
            return False
        conditions = self.fingerprint.conditions
        names = ("runtime", "precision", "threads", "batch", "memory_format")
        return latency.device == self.fingerprint.device and all(
            getattr(latency, name) == getattr(conditions, name) for name in names
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Earlier:
    """Which earlier searches are asked.

    Attributes:
        choice: Names the list within the study: "same" and "all" of `--earlier`, or "refined" for what a search found before
            its supernet was refined.
        folders: (run, its search folder), those to be preferred first.
        archs: Architectures to be asked whatever the folders hold, in this order, with the name of their run.
        limit: How many are taken from the folders.
    """

    choice: Choice
    folders: tuple[tuple[str, Path], ...] = ()
    archs: tuple[tuple[Architecture, str], ...] = ()
    limit: int = LIMIT

    def starts(
        self, study: SearchStudy, space: SearchSpace, limit: Limit | None, progress: Progress
    ) -> list[tuple[Architecture, str]]:
        """Returns (architecture, origin) pairs: those the study was given when this was first asked.

        Args:
            study: The study, whose own candidates are none of them.
            space: Its space.
            limit: Its latency budget, if any.
            progress: Where skipped runs are reported.
        """

        def found() -> list[list[str]]:
            named = [(arch, _origin(run)) for arch, run in self.archs]
            more = earlier_starts(
                self.folders, space, study=study.name, within=limit, limit=self.limit, progress=progress
            )
            known = {arch for arch, _ in named}
            pairs = [*named, *((arch, origin) for arch, origin in more if arch not in known)]
            if pairs:
                progress.message(
                    f"search: {len(pairs)} architectures of earlier searches of this space are asked first."
                )
            return [[arch.code, origin] for arch, origin in pairs]

        kept = study.kept(f"{NOTED}{self.choice}", found)
        return [(space.arch_from_code(code), origin) for code, origin in kept]


def earlier_starts(
    folders: Sequence[tuple[str, Path]],
    space: SearchSpace,
    *,
    study: str = "",
    within: Limit | None = None,
    limit: int = LIMIT,
    progress: Progress | None = None,
) -> list[tuple[Architecture, str]]:
    """Returns what earlier searches of a space found best, as (architecture, "earlier: RUN").

    Args:
        folders: (run, its search folder), those to be preferred first.
        space: The space; studies of another one are left alone.
        study: A study to leave out.
        within: The latency budget of the new search; what is known to be slower is left out. None takes all.
        limit: How many at most.
        progress: Where runs are named that could not be read.
    """
    fronts: list[list[tuple[Architecture, str]]] = []
    for run, folder in folders:
        try:
            studies = read_studies(folder, space)
        except (DataError, UsageError, OSError, RecursionError) as error:
            if progress is not None:
                progress.message(f"search: nothing is taken over from run '{run}': {error}")
            continue
        for name, candidates in reversed(list(studies.items())):  # the newest first
            kept = [c for c in candidates if within is None or not within.excludes(c.latency)]
            if name != study and kept:
                fronts.append([(arch, _origin(run)) for arch in _spread(kept)])
    merged = (pair for turn in zip_longest(*fronts) for pair in turn if pair is not None)
    taken: dict[Architecture, str] = {}
    for arch, origin in merged:
        if len(taken) == limit:
            break
        taken.setdefault(arch, origin)
    return list(taken.items())


def read_studies(folder: Path, space: SearchSpace) -> Mapping[str, list[Candidate]]:
    """Returns the evaluated candidates of all studies of a space, each architecture once, by study in order of its last ask.

    Args:
        folder: The search folder of a run; one without searches has none.
        space: The space.

    Raises:
        DataError: The log is damaged, or holds architectures that the space does not.
        OSError: It cannot be read.
    """
    path = folder / CANDIDATES
    studies: dict[str, dict[Architecture, Candidate]] = {}
    for number, row in enumerate(read_jsonl(path), start=1):
        name = row.get("study")
        if not isinstance(name, str) or not name.startswith(f"{space.id}_"):
            continue
        studies[name] = studies.pop(name, {})
        where = f"{path}, line {number}"
        if row.get("AP") is None or row.get("repeated"):
            continue
        candidate = Candidate.from_row(row, where)
        if not space.contains(candidate.arch):
            raise DataError(
                f"{where}: {candidate.arch} is no member of space '{space.name}' ({space.id}), whose search it is said "
                "to be of. Delete the search folder of that run, or search without it (--earlier none)."
            )
        if candidate.ap is None or not (math.isfinite(candidate.ap) and _size(candidate, where) > 0):
            raise DataError(f"{where}: the AP or size of {candidate.arch} is no number. Delete that line.")
        studies[name].setdefault(candidate.arch, candidate)
    return {name: list(found.values()) for name, found in studies.items()}


def _spread(candidates: Sequence[Candidate]) -> list[Architecture]:
    """Returns the front of a study, the most accurate member first, then what lies furthest from those taken."""
    counted = any(c.latency is None for c in candidates)

    def size(candidate: Candidate) -> float:
        return float(candidate.cost["macs"]) if counted else _size(candidate, "candidate")

    front = list(pareto_front(candidates, lambda c: (c.ap or 0.0, size(c))))
    taken = [front.pop()]  # the slowest of a front is its most accurate
    while front:
        far = max(front, key=lambda c: min(abs(math.log(size(c) / size(t))) for t in taken))
        front.remove(far)
        taken.append(far)
    return [candidate.arch for candidate in taken]


def _size(candidate: Candidate, where: str) -> float:
    """Returns the latency, milliseconds; where a study asked none, the MACs."""
    if candidate.latency is not None:
        return figure_ms(candidate.latency, "p50")
    macs = candidate.cost.get("macs") if isinstance(candidate.cost, Mapping) else None
    if not isinstance(macs, int):
        raise DataError(
            f"{where}: {candidate.arch} has neither a latency nor MACs. Delete the search folder of that run."
        )
    return float(macs)


def _origin(run: str) -> str:
    return f"earlier: {run}"
