"""A whole search in one function: can the budget be met, ask and answer, confirm, write the result."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from posesearch.errors import Interrupted, NoFeasibleArchitecture
from posesearch.files import write_json_atomic
from posesearch.latency.meter import Meter
from posesearch.latency.types import Measured
from posesearch.progress import Progress
from posesearch.search.candidate import CostLike
from posesearch.search.check import Check, learnt
from posesearch.search.conclude import conclude
from posesearch.search.confirm import Confirm
from posesearch.search.context import Confirming, SearchContext
from posesearch.search.coordination import RankedElsewhere
from posesearch.search.earlier import Earlier, Limit
from posesearch.search.feasible import fastest_feasible, no_feasible_text, too_large_text
from posesearch.search.judge import LatencyJudge, Predictor, check_sources
from posesearch.search.limit import figure_ms
from posesearch.search.loop import SearchLoop
from posesearch.search.memo import AccuracyMemo
from posesearch.search.outcome import SearchOutcome
from posesearch.search.question import Question
from posesearch.search.refinement import Refinement
from posesearch.search.samplers import Genes, resolve_sampler
from posesearch.search.shared import SharedStudy
from posesearch.search.starts import warm_starts
from posesearch.search.stored import same_settings, settings_text, stored_outcome
from posesearch.search.study import SearchStudy, quiet_optuna, study_name
from posesearch.search.workers import Workers
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace

EVALUATIONS = "evaluations.jsonl"
QUESTION = "question.json"


def run_search(
    space: SearchSpace,
    *,
    folder: Path,
    question: Question,
    evaluations: int,
    evaluate: Callable[[Architecture], Mapping[str, Any]],
    meter: Meter | None,
    cost: Callable[[Architecture], CostLike],
    weights_id: str,
    progress: Progress,
    stop: Callable[[], bool] = lambda: False,
    predictor: Predictor | None = None,
    table: str = "",
    references: Mapping[str, Architecture] | None = None,
    warm: Sequence[tuple[Architecture, str]] = (),
    earlier: Earlier | None = None,
    refined: Refinement | None = None,
    sampler: str = "auto",
    seed: int = 0,
    confirm: Confirm | None = None,
    confirm_effort: str = "",
    confirm_also: Confirm | None = None,
    teach: Callable[[tuple[Check, ...]], None] | None = None,
    workers: Workers | None = None,
) -> SearchOutcome:
    """Searches for the Pareto front of two or three objectives within the budgets.

    Without a predictor every proposal is measured. With one, its upper bound decides; when the evaluations are made, the
    predicted front is measured and the predictor refitted until none of it is unmeasured. Either way `confirm` makes the
    claim. Without a meter the predictor stands alone, nothing is measured and the front is labelled unverified.

    The same call again continues where the last one ended, returns at once when nothing is left to do, and goes on
    when more evaluations are asked. With another sampler or seed it says so and proposes what is left with these; with
    another `confirm_effort` it confirms again.

    Args:
        space: The search space, of the supernet that evaluates.
        folder: The search folder of a run; holds `study.db`, `evaluations.jsonl`, `candidates.jsonl`, `result.json`,
            and `confirmed.jsonl` while the front is measured again.
        question: Objectives and budgets; a latency budget is for the meter's runtime and precision.
        evaluations: Accuracy evaluations to reach, at least 1.
        evaluate: Gives the evaluation of an architecture, a mapping with at least `AP` (0 to 1) and what further
            objectives come from it.
        meter: Measures latencies; None when the device is not here.
        cost: Gives costs.
        weights_id: Identity of the supernet's weights; evaluations of other weights are not used.
        progress: Where the progress goes.
        stop: Asked between two evaluations, two measurements and two rounds of `confirm`; True saves and ends.
        predictor: Predicts latencies; None measures every proposal. Each table has a study of its own.
        table: Identity of the table, where `predictor.table_id` changes with what searches add to it.
        references: Named members, asked first and evaluated even when over budget, for comparison.
        warm: Further members to ask first, each with its origin.
        earlier: Earlier searches whose best architectures are asked first as well.
        refined: What the result shall say of the weights, where they are refined ones.
        sampler: "auto", "surrogate", "gp", "nsga2", "tpe" or "random".
        seed: Key of all proposals.
        confirm: Measures the front again for the claim, e.g. in fresh processes; None takes the meter's figures. It is
            asked as well before a budget is called impossible.
        confirm_effort: Names how long `confirm` measures.
        confirm_also: Measures front and references in another runtime, shown beside (`confirmed_also`); no rank rests
            on it.
        teach: Told every check of the study when the search ends, however it ends: what was measured is worth keeping
            when nothing was feasible or the user stopped it.
        workers: The storage of a search with several workers; None searches alone.

    Returns:
        What `result.json` holds.

    Raises:
        UsageError: A bad number of evaluations, an unknown sampler, a reference outside the space, or a budget for
            another runtime than that of meter or predictor.
        NoFeasibleArchitecture: Nothing meets the budget; `result.json` says so as well.
        DataError: The folder belongs to another space, or a file in it is damaged.
        EnvironmentFault: The folder cannot be written, or the device fails.
        Interrupted: `stop` said so; everything is saved.
        RankedElsewhere: Everything is evaluated, and another worker ranks it.
    """
    chosen = resolve_sampler(sampler, evaluations)
    references = references or {}
    for arch in (*references.values(), *(arch for arch, _ in warm)):
        space.encode(arch)
    check_sources(question.latency, meter, predictor)
    source = meter or predictor
    assert source is not None
    fingerprint = source.fingerprint
    table = (table or predictor.table_id) if predictor else ""
    predicted_for = "" if meter else fingerprint.device
    confirming = Confirming()
    if meter:
        confirming = Confirming(confirm=confirm, effort=confirm_effort if confirm else "", also=confirm_also)
    context = SearchContext(
        space=space, folder=folder, question=question, evaluations=evaluations, sampler=chosen, seed=seed, cost=cost,
        references=references, warm=warm, confirming=confirming, predicted_for=predicted_for, progress=progress, stop=stop,
    )  # fmt: skip
    genes = Genes(space, chosen)
    name = study_name(space, weights_id, question, fingerprint, genes.encoding, table)
    outcome = functools.partial(
        SearchOutcome, study=name, question=question, target=evaluations, confirmed=confirming.confirm is not None,
        confirm_effort=confirming.effort, conditions=fingerprint.conditions, table=table, predicted_for=predicted_for,
        refined=refined,
    )  # fmt: skip
    impossible = functools.partial(
        outcome, sampler=chosen, seed=seed, evaluations=0, status="infeasible", stopped="", front=(), rejected=(),
        references=(),
    )  # fmt: skip
    too_large = too_large_text(space, question, cost)
    if too_large:
        # Counted, not measured: known before anything is opened or timed.
        impossible(asks=0, fastest_arch=space.smallest(), fastest_latency=None, reason=too_large).write(
            folder
        )
        raise NoFeasibleArchitecture(too_large)

    def opened() -> SearchStudy:
        if workers is None:
            return SearchStudy(folder, space, name, genes, question)
        terms = workers.terms(context, weights_id, fingerprint, table)
        return SharedStudy(folder, space, name, genes, question, workers, terms, progress)

    with (
        quiet_optuna(),
        contextlib.closing(opened()) as study,
        contextlib.ExitStack() as ending,
    ):
        # A report of a search that has not finished knows by it what was asked.
        write_json_atomic(folder / QUESTION, {"study": name, **question.stored()})
        stored = stored_outcome(folder, name, chosen, progress, table)
        if teach:
            ending.callback(lambda: teach(tuple(study.checks)))
        if study.recovered:
            progress.message(
                f"search: asking again what a stopped search left unfinished ({study.recovered})."
            )
        checked = {check.arch: check.measured for check in study.checks}
        known = {c.arch: c.latency for c in study.candidates if c.latency is not None}
        # What an earlier call measured of its front is known before more is asked.
        predictor = learnt(predictor, study.checks) if predictor else None
        judge = LatencyJudge(question.latency, meter=meter, predictor=predictor, known=known | checked)
        fastest: Architecture | None = None
        if not any(c.feasible for c in study.candidates) and question.times_asks:
            fastest, latency = fastest_feasible(context, judge)
            if not question.allows(cost(fastest).to_plain(), latency):
                reason = no_feasible_text(question, fastest, latency, space, predicted_for)
                nothing = impossible(
                    asks=len(study.candidates), fastest_arch=fastest, fastest_latency=latency, reason=reason
                )
                nothing.write(folder)
                study.finish(nothing)
                raise NoFeasibleArchitecture(reason)
        if earlier is not None:
            found = earlier.starts(study, space, Limit.of(question.latency, fingerprint), progress)
            context = dataclasses.replace(context, warm=(*context.warm, *found))
        memo = AccuracyMemo(folder / EVALUATIONS, weights_id, evaluate, cost, question.metrics)
        memo.hear(study.elsewhere)
        changed = stored is not None and not same_settings(stored, chosen, seed)
        loop = SearchLoop(
            space, study, memo, question=question, judge=judge, cost=cost, genes=genes, sampler=chosen,
            seed=seed, evaluations=evaluations, warm_starts=warm_starts(context, fastest),
            patience_from=stored.asks if stored and changed else 0,
        )  # fmt: skip
        if stored and changed:
            progress.message(settings_text(stored, chosen, seed, evaluations - loop.evaluated))
        stopped = _run(loop, study, evaluations, progress, stop)
        unheard = {arch for arch, _ in warm} - {candidate.arch for candidate in study.candidates}
        if unheard:
            progress.message(
                f"search: all {evaluations} evaluations are made; {len(unheard)} architectures that were to be asked first "
                f"were not. Evaluate them with --trials {evaluations + len(unheard)}."
            )
        if not ending.enter_context(study.ranking(measures=meter is not None)):
            raise RankedElsewhere(
                f"search: all {loop.evaluated} evaluations are made; another worker ranks the front, this one ends."
            )
        if workers is not None:  # another one may have ranked it meanwhile
            loop.hear()
            stored = stored_outcome(folder, name, chosen, progress, table)
        return conclude(
            context, study, judge, memo, loop, predictor=predictor, stored=stored, stopped=stopped or "",
            outcome=outcome,
        )  # fmt: skip


def _run(
    loop: SearchLoop, study: SearchStudy, evaluations: int, progress: Progress, stop: Callable[[], bool]
) -> str | None:
    """Steps until enough is evaluated; returns why it ended earlier, or None."""
    with progress.task("search", evaluations, done=min(loop.evaluated, evaluations)) as task:
        best_ap = 0.0
        while loop.evaluated < evaluations:
            if stop():
                raise Interrupted(
                    f"search stopped after {loop.evaluated} of {evaluations} evaluations; all of them are saved."
                )
            reason = loop.why_stop()
            if reason is not None:
                progress.message(
                    f"search ends after {loop.evaluated} of {evaluations} evaluations: {reason}."
                )
                return reason
            before = loop.evaluated
            candidate = loop.step()
            if candidate is None:
                task.advance(loop.evaluated - before)
                study.pause()
                continue
            best_ap = max(best_ap, candidate.ap or 0.0)
            latency = candidate.latency
            numbers = {"best_AP": best_ap}
            if latency is not None:
                shown = "latency_ms" if isinstance(latency, Measured) else "predicted_ms"
                numbers[shown] = figure_ms(latency, "p50")
            task.advance(loop.evaluated - before, **numbers)
    return None
