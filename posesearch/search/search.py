"""A whole search in one function: can the budget be met, ask and answer, confirm, write the result."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from posesearch.errors import Interrupted, NoFeasibleArchitecture
from posesearch.latency.meter import Meter
from posesearch.latency.types import Latency, LatencyBudget, Measured
from posesearch.progress import Progress
from posesearch.search.candidate import CostLike
from posesearch.search.check import Check, learnt
from posesearch.search.confirm import Confirm
from posesearch.search.confirmed import ConfirmedLog
from posesearch.search.feasible import lost_text, no_feasible_text, seek_fastest
from posesearch.search.judge import LatencyJudge, Predictor, check_sources
from posesearch.search.limit import figure_ms, fits
from posesearch.search.loop import SearchLoop
from posesearch.search.memo import AccuracyMemo
from posesearch.search.outcome import SearchOutcome
from posesearch.search.rank import rank, with_also
from posesearch.search.samplers import Genes, resolve_sampler
from posesearch.search.stored import history, is_answer, same_settings, settings_text, stored_outcome
from posesearch.search.study import SearchStudy, quiet_optuna, study_name
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace

EVALUATIONS = "evaluations.jsonl"


def run_search(
    space: SearchSpace,
    *,
    folder: Path,
    budget: LatencyBudget,
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
    sampler: str = "auto",
    seed: int = 0,
    confirm: Confirm | None = None,
    confirm_effort: str = "",
    confirm_also: Confirm | None = None,
    teach: Callable[[tuple[Check, ...]], None] | None = None,
) -> SearchOutcome:
    """Searches for the Pareto front of AP and latency under a budget.

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
        budget: The latency budget, for the meter's runtime and precision.
        evaluations: Accuracy evaluations to reach, at least 1.
        evaluate: Gives the evaluation of an architecture, a mapping with at least `AP` (0 to 1).
        meter: Measures latencies; None when the device is not here.
        cost: Gives costs.
        weights_id: Identity of the supernet's weights; evaluations of other weights are not used.
        progress: Where the progress goes.
        stop: Asked between two evaluations, two measurements and two rounds of `confirm`; True saves and ends.
        predictor: Predicts latencies; None measures every proposal. Each table has a study of its own.
        table: Identity of the table, where `predictor.table_id` changes with what searches add to it.
        references: Named members, asked first and evaluated even when over budget, for comparison.
        sampler: "auto", "gp", "nsga2", "tpe" or "random".
        seed: Key of all proposals.
        confirm: Measures the front again for the claim, e.g. in fresh processes; None takes the meter's figures. It is
            asked as well before a budget is called impossible.
        confirm_effort: Names how long `confirm` measures.
        confirm_also: Measures front and references in another runtime, shown beside (`confirmed_also`); no rank rests
            on it.
        teach: Told every check of the study when the search ends, however it ends: what was measured is worth keeping
            when nothing was feasible or the user stopped it.

    Returns:
        What `result.json` holds.

    Raises:
        UsageError: A bad number of evaluations, an unknown sampler, a reference outside the space, or a budget for
            another runtime than that of meter or predictor.
        NoFeasibleArchitecture: Nothing meets the budget; `result.json` says so as well.
        DataError: The folder belongs to another space, or a file in it is damaged.
        EnvironmentFault: The folder cannot be written, or the device fails.
        Interrupted: `stop` said so; everything is saved.
    """
    chosen = resolve_sampler(sampler, evaluations)
    references = references or {}
    for arch in references.values():
        space.encode(arch)
    check_sources(budget, meter, predictor)
    source = meter or predictor
    assert source is not None
    fingerprint = source.fingerprint
    table = (table or predictor.table_id) if predictor else ""
    predicted_for = "" if meter else fingerprint.device
    confirm, confirm_also = (confirm, confirm_also) if meter else (None, None)
    confirm_effort = confirm_effort if confirm else ""
    genes = Genes(space, chosen)
    name = study_name(space, weights_id, budget, fingerprint, genes.encoding, table)
    stored = stored_outcome(folder, name, chosen, progress, table)
    with (
        quiet_optuna(),
        contextlib.closing(SearchStudy(folder, space, name, genes, budget)) as study,
        contextlib.ExitStack() as ending,
    ):
        if teach:
            ending.callback(lambda: teach(tuple(study.checks)))
        if study.recovered:
            progress.message(
                f"search: asking again what a stopped search left unfinished ({study.recovered})."
            )
        checked = {check.arch: check.measured for check in study.checks}
        known: dict[Architecture, Latency] = {c.arch: c.latency for c in study.candidates}
        # What an earlier call measured of its front is known before more is asked.
        predictor = learnt(predictor, study.checks) if predictor else None
        judge = LatencyJudge(budget, meter=meter, predictor=predictor, known=known | checked)
        outcome = functools.partial(
            SearchOutcome, study=name, budget=budget, target=evaluations, confirmed=confirm is not None,
            confirm_effort=confirm_effort, conditions=fingerprint.conditions, table=table, predicted_for=predicted_for,
        )  # fmt: skip
        warm_starts = [(space.smallest(), "smallest"), (space.largest(), "largest")]
        warm_starts += [(arch, f"reference: {label}") for label, arch in references.items()]
        if not any(c.feasible for c in study.candidates):
            arch, latency = _first(space, references, budget, judge, cost, confirm)
            if not fits(latency, budget):
                nothing = outcome(
                    sampler=chosen, seed=seed, evaluations=0, asks=len(study.candidates), status="infeasible",
                    stopped="", front=(), rejected=(), references=(), fastest_arch=arch, fastest_latency=latency,
                )  # fmt: skip
                nothing.write(folder)
                raise NoFeasibleArchitecture(no_feasible_text(budget, arch, latency, space, predicted_for))
            warm_starts.insert(1, (arch, "fastest"))
        memo = AccuracyMemo(folder / EVALUATIONS, weights_id, evaluate, cost)
        changed = stored is not None and not same_settings(stored, chosen, seed)
        loop = SearchLoop(
            space, study, memo, budget=budget, judge=judge, cost=cost, genes=genes, sampler=chosen,
            seed=seed, evaluations=evaluations, warm_starts=warm_starts,
            patience_from=stored.asks if stored and changed else 0,
        )  # fmt: skip
        if stored and changed:
            progress.message(settings_text(stored, chosen, seed, evaluations - loop.evaluated))
        stopped = _run(loop, evaluations, progress, stop)
        asks = len(study.candidates)
        log = ConfirmedLog(folder, name, confirm_effort)
        effort = confirm_effort if confirm else None
        if stored and is_answer(stored, asks=asks, references=references, confirm_effort=effort):
            if confirm_also:
                front, named = with_also(stored.front, stored.references, confirm_also, progress, stop)
                stored = dataclasses.replace(stored, front=front, references=named)
                stored.write(folder)
            log.remove()
            return stored
        progress.message(f"search: {loop.evaluated} evaluations in {asks} asks; ranking the front.")
        ranked = rank(
            study, judge, memo, budget=budget, predictor=predictor, cost=cost, references=references,
            confirm=confirm, log=log, progress=progress, stop=stop,
        )  # fmt: skip
    front, named = ranked.front, ranked.references
    if confirm_also:
        front, named = with_also(front, named, confirm_also, progress, stop)
    last_sampler, last_seed, earlier = history(stored, chosen, seed, asks)
    found = outcome(
        sampler=last_sampler,
        seed=last_seed,
        earlier=earlier,
        evaluations=loop.evaluated,
        asks=asks,
        status="ok" if front else "infeasible",
        stopped=stopped or "",
        front=front,
        rejected=ranked.rejected,
        references=named,
        fastest_arch=ranked.fastest_arch,
        fastest_latency=ranked.fastest_latency,
        checks=tuple(study.checks),
    )
    found.write(folder)
    log.remove()
    if not front:
        raise NoFeasibleArchitecture(
            lost_text(study.candidates, found.checks, found.rejected, fresh=found.confirmed)
            + no_feasible_text(budget, found.fastest_arch, found.fastest_latency, space, predicted_for)
        )
    if predicted_for:
        progress.message(
            f"search: the front is {found.label}: nothing was measured, and no budget is met before it is. "
            "Run the same search on that device to measure it."
        )
    return found


def _first(
    space: SearchSpace,
    references: Mapping[str, Architecture],
    budget: LatencyBudget,
    judge: LatencyJudge,
    cost: Callable[[Architecture], CostLike],
    confirm: Confirm | None,
) -> tuple[Architecture, Latency]:
    """Returns the fastest architecture found, measured as well as can be before a budget is called impossible."""
    arch, latency = seek_fastest(space, references.values(), budget, judge.latency, cost)
    if not fits(latency, budget) and judge.can_measure:
        latency = judge.measured(arch)
        if confirm and not fits(latency, budget):
            # The meter's figures may all be too long, were its yardstick laid in a busy moment.
            judge.learn(arch, confirm([arch])[arch.id])
            latency = judge.latency(arch)
    return arch, latency


def _run(loop: SearchLoop, evaluations: int, progress: Progress, stop: Callable[[], bool]) -> str | None:
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
            best_ap = max(best_ap, candidate.ap or 0.0)
            latency = candidate.latency
            shown = "latency_ms" if isinstance(latency, Measured) else "predicted_ms"
            numbers = {"best_AP": best_ap, shown: figure_ms(latency, "p50")}
            task.advance(loop.evaluated - before, **numbers)
    return None
