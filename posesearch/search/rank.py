"""From answered asks to a ranked front: check the predictions, confirm in fresh processes, compare with references."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from posesearch.errors import DataError, EnvironmentFault, Interrupted, UsageError
from posesearch.latency.types import Latency, LatencyBudget, Measured
from posesearch.progress import Progress, Task
from posesearch.search.candidate import Candidate, CostLike, FrontMember
from posesearch.search.check import check_front, checks_text, point
from posesearch.search.confirm import Confirm, confirm_front
from posesearch.search.confirmed import ConfirmedLog
from posesearch.search.front import pareto_front
from posesearch.search.judge import LatencyJudge, Predictor
from posesearch.search.limit import figure_ms, fits
from posesearch.search.memo import AccuracyMemo
from posesearch.search.outcome import Reference
from posesearch.search.study import SearchStudy
from posesearch.spaces.arch import Architecture


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranked:
    """What a search found; see `SearchOutcome` for the fields."""

    front: tuple[FrontMember, ...]
    rejected: tuple[FrontMember, ...]
    references: tuple[Reference, ...]
    fastest_arch: Architecture
    fastest_latency: Latency


def rank(
    study: SearchStudy,
    judge: LatencyJudge,
    memo: AccuracyMemo,
    *,
    budget: LatencyBudget,
    predictor: Predictor | None,
    cost: Callable[[Architecture], CostLike],
    references: Mapping[str, Architecture],
    confirm: Confirm | None,
    log: ConfirmedLog,
    progress: Progress,
    stop: Callable[[], bool],
) -> Ranked:
    """Ranks what a study has evaluated.

    Args:
        study: The study, its evaluations made.
        judge: Gives latencies; without a meter nothing is measured and the front is a prediction.
        memo: Where the accuracy of the references comes from.
        budget: The budget.
        predictor: The predictor, with what earlier checks taught it.
        cost: Gives costs.
        references: Named architectures, evaluated whatever their latency.
        confirm: Measures for the claim; None takes the figures of this process.
        log: What an earlier call that was stopped has confirmed; keeps what this one does.
        progress: Where to report.
        stop: Asked before each measurement, and before each round of `confirm`.

    Raises:
        Interrupted: `stop` said so; what was measured is saved.
    """
    named = {label: _reference(arch, study, judge, memo, budget, cost) for label, arch in references.items()}
    evaluated = [c for c in study.candidates if c.ap is not None and not c.repeated]
    if not judge.can_measure:
        front = tuple(
            FrontMember(candidate=c, confirmed=None)
            for c in pareto_front(evaluated, lambda c: point(c, budget))
        )
        rejected: tuple[FrontMember, ...] = ()
        confirmed: dict[str, Measured] = {}
    else:
        if predictor is not None:
            evaluated = _checked(evaluated, study, judge, predictor, budget, progress, stop)
        extra = tuple(named.values())
        if confirm is None:
            front, rejected, confirmed = confirm_front(evaluated, budget, None, extra)
        else:
            if log.known:
                progress.message(
                    f"search: going on with the {len(log.known)} networks that were measured again before it was "
                    "stopped."
                )
            # How many networks and rounds it takes shows in the course of it, so the whole is one unit of work.
            with progress.task("measuring the front again", 1) as task:
                rounds = _rounds(confirm, log, task, stop)
                front, rejected, confirmed = confirm_front(evaluated, budget, rounds, extra, dict(log.known))
                task.advance(1)
    fastest, fastest_latency = _fastest(study, judge, budget, confirmed)
    if not front and rejected:
        nearest = min(rejected, key=lambda m: figure_ms(m.latency, budget.percentile))
        fastest, fastest_latency = nearest.candidate.arch, nearest.latency
    return Ranked(
        front=front,
        rejected=rejected,
        references=tuple(
            Reference(name=label, member=FrontMember(candidate=c, confirmed=confirmed.get(c.arch.id)))
            for label, c in named.items()
        ),
        fastest_arch=fastest,
        fastest_latency=fastest_latency,
    )


def with_also(
    front: tuple[FrontMember, ...],
    references: tuple[Reference, ...],
    confirm_also: Confirm,
    progress: Progress,
    stop: Callable[[], bool],
) -> tuple[tuple[FrontMember, ...], tuple[Reference, ...]]:
    """Adds the latencies of another runtime to front and references, which no result may be lost over."""
    members = (*front, *(reference.member for reference in references))
    if not front or all(member.confirmed_also for member in members):
        return front, references
    if stop():
        progress.message(
            "search: stopped before the front was measured in the other runtime; the same command adds that."
        )
        return front, references
    try:
        also = confirm_also(list(dict.fromkeys(member.candidate.arch for member in members)))
    except (EnvironmentFault, UsageError, DataError) as error:
        progress.message(f"search: no latencies in the other runtime: {error}")
        return front, references

    def added(member: FrontMember) -> FrontMember:
        return dataclasses.replace(member, confirmed_also=(also[member.candidate.arch.id],))

    return tuple(map(added, front)), tuple(
        dataclasses.replace(reference, member=added(reference.member)) for reference in references
    )


def _rounds(confirm: Confirm, log: ConfirmedLog, task: Task, stop: Callable[[], bool]) -> Confirm:
    """Returns `confirm` with what belongs to each round: it can be stopped before, is seen, and kept when it is done."""
    numbers = itertools.count(1)

    def confirm_round(archs: Sequence[Architecture]) -> Mapping[str, Measured]:
        if stop():
            raise Interrupted(
                f"search stopped after {len(log.known)} networks of its front were measured again in fresh processes; "
                "all of them are saved."
            )
        task.advance(0, round=str(next(numbers)), networks=str(len(log.known) + len(archs)))
        found = confirm(archs)
        log.add(found)
        return found

    return confirm_round


def _checked(
    evaluated: Sequence[Candidate],
    study: SearchStudy,
    judge: LatencyJudge,
    predictor: Predictor,
    budget: LatencyBudget,
    progress: Progress,
    stop: Callable[[], bool],
) -> list[Candidate]:
    """Returns the candidates that may be claimed once the predicted front was measured."""

    def measure(arch: Architecture) -> Measured:
        if stop():
            raise Interrupted(
                f"search stopped after {len(study.checks)} measurements of the predicted front; all of them are saved."
            )
        return judge.measured(arch)

    latencies = {c.arch: judge.latency(c.arch) for c in study.candidates}
    kept = check_front(
        evaluated,
        budget,
        predictor,
        {arch: latency for arch, latency in latencies.items() if isinstance(latency, Measured)},
        measure,
        study.note,
        first_round=1 + max((check.round for check in study.checks), default=0),
    )
    told = checks_text(study.checks, budget)
    if told:
        progress.message(told)
    return list(kept)


def _fastest(
    study: SearchStudy, judge: LatencyJudge, budget: LatencyBudget, confirmed: Mapping[str, Measured]
) -> tuple[Architecture, Latency]:
    arch = min(
        (c.arch for c in study.candidates),
        key=lambda arch: figure_ms(judge.latency(arch), budget.percentile),
    )
    if arch.id in confirmed:
        return arch, confirmed[arch.id]
    return arch, judge.measured(arch) if judge.can_measure else judge.latency(arch)


def _reference(
    arch: Architecture,
    study: SearchStudy,
    judge: LatencyJudge,
    memo: AccuracyMemo,
    budget: LatencyBudget,
    cost: Callable[[Architecture], CostLike],
) -> Candidate:
    """Returns the candidate of a named architecture with its accuracy, also when it was over budget.

    It is measured where that is possible: it is named in the answer.
    """
    asked = next((c for c in study.candidates if c.arch == arch), None)
    latency = judge.measured(arch) if judge.can_measure else judge.latency(arch)
    return Candidate(
        trial=asked.trial if asked else -1,
        arch=arch,
        cost=cost(arch).to_plain(),
        latency=latency,
        feasible=fits(latency, budget),
        ap=memo.ap(arch),
        origin=asked.origin if asked else "reference",
        study=study.name,
        predicted=judge.prediction(arch),
    )
