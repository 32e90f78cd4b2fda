"""From answered asks to a ranked front: check the predictions, confirm in fresh processes, compare with references."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from posesearch.errors import DataError, EnvironmentFault, Interrupted, UsageError
from posesearch.latency.types import Latency, Measured
from posesearch.progress import Task
from posesearch.search.candidate import Candidate, FrontMember
from posesearch.search.check import check_front, checks_text
from posesearch.search.confirm import Confirm, confirm_front, ranked_members
from posesearch.search.confirmed import ConfirmedLog
from posesearch.search.context import SearchContext
from posesearch.search.front import pareto_front
from posesearch.search.judge import LatencyJudge, Predictor
from posesearch.search.limit import figure_ms
from posesearch.search.memo import AccuracyMemo
from posesearch.search.outcome import Reference
from posesearch.search.question import Question
from posesearch.search.study import SearchStudy
from posesearch.spaces.arch import Architecture


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranked:
    """What a search found; see `SearchOutcome` for the fields."""

    front: tuple[FrontMember, ...]
    rejected: tuple[FrontMember, ...]
    references: tuple[Reference, ...]
    fastest_arch: Architecture
    fastest_latency: Latency | None


def rank(
    context: SearchContext,
    study: SearchStudy,
    judge: LatencyJudge,
    memo: AccuracyMemo,
    *,
    predictor: Predictor | None,
    log: ConfirmedLog,
) -> Ranked:
    """Ranks what a study has evaluated.

    Args:
        context: What the steps of the search share; `stop` is asked before each measurement and each round of `confirm`.
        study: The study, its evaluations made.
        judge: Gives latencies; without a meter nothing is measured and the front is a prediction.
        memo: Where the accuracy of the references comes from.
        predictor: The predictor, with what earlier checks taught it.
        log: What an earlier call that was stopped has confirmed; keeps what this one does.

    Raises:
        Interrupted: `stop` said so; what was measured is saved.
    """
    question, progress = context.question, context.progress
    named = {
        label: _reference(arch, context, study, judge, memo) for label, arch in context.references.items()
    }
    evaluated = [c for c in study.candidates if c.ap is not None and not c.repeated]
    rejected: tuple[FrontMember, ...] = ()
    confirmed: dict[str, Measured] = {}
    if not judge.can_measure:
        front = ranked_members([FrontMember(candidate=c, confirmed=None) for c in evaluated], question)
    else:
        if predictor is not None:
            evaluated = _checked(evaluated, context, study, judge, predictor)
        extra = tuple(named.values())
        if context.confirming.confirm is None:
            if not question.times_asks:
                evaluated = _timed(evaluated, question, judge)
            front, rejected, confirmed = confirm_front(evaluated, question, None, extra)
        else:
            if log.known:
                progress.message(
                    f"search: going on with the {len(log.known)} networks that were measured again before it was "
                    "stopped."
                )
            # How many networks and rounds it takes shows in the course of it, so the whole is one unit of work.
            with progress.task("measuring the front again", 1) as task:
                rounds = _rounds(context.confirming.confirm, log, task, context.stop)
                front, rejected, confirmed = confirm_front(
                    evaluated, question, rounds, extra, dict(log.known)
                )
                task.advance(1)
    fastest, fastest_latency = _fastest(study, judge, question, confirmed)
    if not front and rejected:
        nearest = min(rejected, key=lambda m: figure_ms(m.latency, question.percentile))
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
    context: SearchContext, front: tuple[FrontMember, ...], references: tuple[Reference, ...]
) -> tuple[tuple[FrontMember, ...], tuple[Reference, ...]]:
    """Adds the latencies of another runtime to front and references, which no result may be lost over."""
    confirm_also, progress = context.confirming.also, context.progress
    assert confirm_also is not None
    members = (*front, *(reference.member for reference in references))
    if not front or all(member.confirmed_also for member in members):
        return front, references
    if context.stop():
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
    context: SearchContext,
    study: SearchStudy,
    judge: LatencyJudge,
    predictor: Predictor,
) -> list[Candidate]:
    """Returns the candidates that may be claimed once the predicted front was measured."""

    def measure(arch: Architecture) -> Measured:
        if context.stop():
            raise Interrupted(
                f"search stopped after {len(study.checks)} measurements of the predicted front; all of them are saved."
            )
        return judge.measured(arch)

    latencies = {c.arch: judge.latency(c.arch) for c in study.candidates if c.latency is not None}
    kept = check_front(
        evaluated,
        context.question,
        predictor,
        {arch: latency for arch, latency in latencies.items() if isinstance(latency, Measured)},
        measure,
        study.note,
        first_round=1 + max((check.round for check in study.checks), default=0),
    )
    told = checks_text(study.checks, context.question.latency)
    if told:
        context.progress.message(told)
    return list(kept)


def _timed(evaluated: Sequence[Candidate], question: Question, judge: LatencyJudge) -> list[Candidate]:
    """Returns the front with latencies measured in this process: to be shown, as no rank rests on them."""
    front = pareto_front(evaluated, question.point, question.maximise, question.tie_key)
    return [dataclasses.replace(candidate, latency=judge.measured(candidate.arch)) for candidate in front]


def _fastest(
    study: SearchStudy, judge: LatencyJudge, question: Question, confirmed: Mapping[str, Measured]
) -> tuple[Architecture, Latency | None]:
    timed = {c.arch: judge.latency(c.arch) for c in study.candidates if c.latency is not None}
    if not timed:
        # No ask was timed; what was confirmed is all that is known.
        timed = {c.arch: confirmed[c.arch.id] for c in study.candidates if c.arch.id in confirmed}
    arch = min(timed, key=lambda arch: figure_ms(timed[arch], question.percentile))
    if arch.id in confirmed:
        return arch, confirmed[arch.id]
    return arch, judge.measured(arch) if judge.can_measure else timed[arch]


def _reference(
    arch: Architecture,
    context: SearchContext,
    study: SearchStudy,
    judge: LatencyJudge,
    memo: AccuracyMemo,
) -> Candidate:
    """Returns the candidate of a named architecture with its accuracy, also when it was over budget.

    It is measured where that is possible: it is named in the answer.
    """
    asked = next((c for c in study.candidates if c.arch == arch), None)
    latency = judge.measured(arch) if judge.can_measure else judge.latency(arch)
    cost = context.question.budgets.described(context.cost(arch).to_plain())
    return Candidate(
        trial=asked.trial if asked else -1,
        arch=arch,
        cost=cost,
        latency=latency,
        feasible=context.question.allows(cost, latency),
        ap=memo.ap(arch),
        origin=asked.origin if asked else "reference",
        study=study.name,
        predicted=judge.prediction(arch),
        metrics=memo.metrics(arch),
    )
