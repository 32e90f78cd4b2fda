"""From a search whose evaluations are made to its written result: rank and confirm the front, or find it still holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from posesearch.errors import NoFeasibleArchitecture
from posesearch.search.confirmed import ConfirmedLog
from posesearch.search.context import SearchContext
from posesearch.search.feasible import lost_text, no_feasible_text
from posesearch.search.judge import LatencyJudge, Predictor
from posesearch.search.loop import SearchLoop
from posesearch.search.memo import AccuracyMemo
from posesearch.search.outcome import SearchOutcome
from posesearch.search.rank import rank, with_also
from posesearch.search.stored import history, is_answer
from posesearch.search.study import SearchStudy


def conclude(
    context: SearchContext,
    study: SearchStudy,
    judge: LatencyJudge,
    memo: AccuracyMemo,
    loop: SearchLoop,
    *,
    predictor: Predictor | None,
    stored: SearchOutcome | None,
    stopped: str,
    outcome: Callable[..., SearchOutcome],
) -> SearchOutcome:
    """Ranks what was evaluated, measures the front again and writes `result.json`.

    A stored result to which nothing was added is returned as it is, but for latencies of another runtime it lacks.

    Args:
        context: What the steps of this search share.
        study: The study, its evaluations made.
        judge: Gives latencies.
        memo: Gives accuracies.
        loop: The loop that ended.
        predictor: The predictor, with what earlier checks taught it.
        stored: What an earlier call left of the same study.
        stopped: Why the loop ended before all evaluations were made, or an empty string.
        outcome: Makes a result from what was found.

    Raises:
        NoFeasibleArchitecture: Nothing meets the budgets; `result.json` says so as well.
        Interrupted: The user stopped it; what was measured is saved.
    """
    progress, confirming = context.progress, context.confirming
    asks = len(study.candidates)
    log = ConfirmedLog(context.folder, study.name, confirming.effort)
    effort = confirming.effort if confirming.confirm else None
    if stored and is_answer(stored, asks=asks, references=context.references, confirm_effort=effort):
        if confirming.also:
            front, named = with_also(context, stored.front, stored.references)
            stored = dataclasses.replace(stored, front=front, references=named)
            stored.write(context.folder)
        study.finish(stored)
        log.remove()
        return stored
    progress.message(f"search: {loop.evaluated} evaluations in {asks} asks; ranking the front.")
    ranked = rank(context, study, judge, memo, predictor=predictor, log=log)
    front, named = ranked.front, ranked.references
    if confirming.also:
        front, named = with_also(context, front, named)
    last_sampler, last_seed, earlier = history(stored, context.sampler, context.seed, asks)
    found = outcome(
        sampler=last_sampler,
        seed=last_seed,
        earlier=earlier,
        evaluations=loop.evaluated,
        asks=asks,
        status="ok" if front else "infeasible",
        stopped=stopped,
        front=front,
        rejected=ranked.rejected,
        references=named,
        fastest_arch=ranked.fastest_arch,
        fastest_latency=ranked.fastest_latency,
        checks=tuple(study.checks),
    )
    if not front:
        # Whatever was evaluated is within the counted budgets: it was the latency that none met.
        assert ranked.fastest_latency is not None
        reason = lost_text(
            study.candidates, found.checks, found.rejected, fresh=found.confirmed
        ) + no_feasible_text(
            context.question,
            ranked.fastest_arch,
            ranked.fastest_latency,
            context.space,
            context.predicted_for,
        )
        found = dataclasses.replace(found, reason=reason)
    found.write(context.folder)
    study.finish(found)
    log.remove()
    if not front:
        raise NoFeasibleArchitecture(found.reason)
    if context.predicted_for:
        progress.message(
            f"search: the front is {found.label}: nothing was measured, and no budget is met before it is. "
            "Run the same search on that device to measure it."
        )
    return found
