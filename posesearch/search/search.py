"""A whole search in one function: can the budget be met, ask and answer, confirm, write the result."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from posesearch.errors import EnvironmentFault, Interrupted, NoFeasibleArchitecture, UsageError
from posesearch.latency.meter import Meter
from posesearch.latency.types import LatencyBudget, Measured
from posesearch.progress import Progress
from posesearch.search.candidate import Candidate, CostLike, FrontMember
from posesearch.search.confirm import Confirm, confirm_front
from posesearch.search.feasible import no_feasible_text, seek_fastest
from posesearch.search.loop import SearchLoop
from posesearch.search.memo import AccuracyMemo
from posesearch.search.outcome import Reference, SearchOutcome
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
    meter: Meter,
    cost: Callable[[Architecture], CostLike],
    weights_id: str,
    progress: Progress,
    stop: Callable[[], bool] = lambda: False,
    references: Mapping[str, Architecture] | None = None,
    sampler: str = "auto",
    seed: int = 0,
    confirm: Confirm | None = None,
    confirm_effort: str = "",
    confirm_also: Confirm | None = None,
) -> SearchOutcome:
    """Searches for the Pareto front of AP and latency under a budget.

    The same call again continues where the last one ended, returns at once when nothing is left to do, and goes on
    when more evaluations are asked. With another sampler or seed it says so and proposes what is left with these; with
    another `confirm_effort` it confirms again.

    Args:
        space: The search space, of the supernet that evaluates.
        folder: The search folder of a run; holds `study.db`, `evaluations.jsonl`, `candidates.jsonl`, `result.json`.
        budget: The latency budget, for the meter's runtime and precision.
        evaluations: Accuracy evaluations to reach, at least 1.
        evaluate: Gives the evaluation of an architecture, a mapping with at least `AP` (0 to 1).
        meter: Gives latencies.
        cost: Gives costs.
        weights_id: Identity of the supernet's weights; evaluations of other weights are not used.
        progress: Where the progress goes.
        stop: Asked between two evaluations; True saves and ends.
        references: Named members, asked first and evaluated even when over budget, for comparison.
        sampler: "auto", "gp", "nsga2", "tpe" or "random".
        seed: Key of all proposals.
        confirm: Measures the front again for the claim, e.g. in fresh processes; None takes the meter's figures. It is
            asked as well before a budget is called impossible.
        confirm_effort: Names how long `confirm` measures.
        confirm_also: Measures the front in another runtime, shown beside it (`confirmed_also`); no rank rests on it.

    Returns:
        What `result.json` holds.

    Raises:
        UsageError: A bad number of evaluations, an unknown sampler, a reference outside the space, or a budget for
            another runtime than the meter's.
        NoFeasibleArchitecture: Nothing meets the budget; `result.json` says so as well.
        DataError: The folder belongs to another space, or a file in it is damaged.
        EnvironmentFault: The folder cannot be written, or the device fails.
        Interrupted: `stop` said so; everything is saved.
    """
    chosen = resolve_sampler(sampler, evaluations)
    references = references or {}
    for arch in references.values():
        space.encode(arch)
    conditions = meter.fingerprint.conditions
    if (budget.runtime, budget.precision) != (conditions.runtime, conditions.precision):
        raise UsageError(
            f"the budget is for {budget.runtime}, {budget.precision}; the meter measures {conditions.runtime}, "
            f"{conditions.precision}. Use the same --runtime and --precision for both."
        )
    genes = Genes(space, chosen)
    name = study_name(space, weights_id, budget, meter.fingerprint, genes.encoding)
    stored = stored_outcome(folder, name, chosen, progress)
    with quiet_optuna():
        study = SearchStudy(folder, space, name, genes, budget)
        if study.recovered:
            progress.message(
                f"search: asking again what a stopped search left unfinished ({study.recovered})."
            )
        known = {c.arch: c.latency for c in study.candidates}
        # A search that is resumed, perhaps in a busier moment, must not mix two scales.
        meter.anchor(known)

        def measure(arch: Architecture) -> Measured:
            if arch not in known:
                known[arch] = meter.measure(arch)
            return known[arch]

        outcome = functools.partial(
            SearchOutcome, study=name, budget=budget, target=evaluations,
            confirmed=confirm is not None, confirm_effort=confirm_effort if confirm else "",
        )  # fmt: skip
        warm_starts = [(space.smallest(), "smallest"), (space.largest(), "largest")]
        warm_starts += [(arch, f"reference: {label}") for label, arch in references.items()]
        if not any(c.feasible for c in study.candidates):
            arch, latency = seek_fastest(space, references.values(), budget, measure, cost)
            if confirm and not budget.allows(latency):
                # The meter's figures may all be too long, were its yardstick laid in a busy moment.
                latency = known[arch] = confirm([arch])[arch.id]
                meter.anchor({arch: latency})
            if not budget.allows(latency):
                nothing = outcome(
                    sampler=chosen, seed=seed, evaluations=0, asks=len(study.candidates), status="infeasible",
                    stopped="", front=(), rejected=(), references=(), fastest_arch=arch, fastest_latency=latency,
                )  # fmt: skip
                nothing.write(folder)
                raise NoFeasibleArchitecture(no_feasible_text(budget, arch, latency, space))
            warm_starts.insert(1, (arch, "fastest"))
        memo = AccuracyMemo(folder / EVALUATIONS, weights_id, evaluate, cost)
        changed = stored is not None and not same_settings(stored, chosen, seed)
        loop = SearchLoop(
            space, study, memo, budget=budget, measure=measure, cost=cost, genes=genes, sampler=chosen,
            seed=seed, evaluations=evaluations, warm_starts=warm_starts,
            patience_from=stored.asks if stored and changed else 0,
        )  # fmt: skip
        if stored and changed:
            progress.message(settings_text(stored, chosen, seed, evaluations - loop.evaluated))
        stopped = _run(loop, evaluations, progress, stop)
    asks = len(study.candidates)
    if (
        stored
        and is_answer(
            stored, asks=asks, references=references, confirm_effort=confirm_effort if confirm else None
        )
        and (confirm_also is None or all(member.confirmed_also for member in stored.front))
    ):
        return stored
    named = {
        label: _reference(arch, study, memo, measure, cost, budget) for label, arch in references.items()
    }
    evaluated = [c for c in study.candidates if c.ap is not None and not c.repeated]
    progress.message(f"search: {loop.evaluated} evaluations in {asks} asks; ranking the front.")
    front, rejected, confirmed = confirm_front(evaluated, budget, confirm, tuple(named.values()))
    if confirm_also and front:
        front = _with_also(front, confirm_also, progress)
    fastest = min(study.candidates, key=lambda c: c.latency.at(budget.percentile))
    fastest_latency = confirmed.get(fastest.arch.id, fastest.latency)
    if not front and rejected:
        nearest = min(rejected, key=lambda m: m.confirmed.at(budget.percentile))
        fastest, fastest_latency = nearest.candidate, nearest.confirmed
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
        rejected=rejected,
        references=tuple(
            Reference(name=label, member=FrontMember(candidate=c, confirmed=confirmed[c.arch.id]))
            for label, c in named.items()
        ),
        fastest_arch=fastest.arch,
        fastest_latency=fastest_latency,
    )
    found.write(folder)
    if not front:
        raise NoFeasibleArchitecture(
            f"{len(rejected)} architectures were within the budget during the search, none when measured again: "
            + no_feasible_text(budget, found.fastest_arch, found.fastest_latency, space)
        )
    return found


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
            task.advance(loop.evaluated - before, best_AP=best_ap, latency_ms=candidate.latency.p50_ms)
    return None


def _with_also(
    front: Sequence[FrontMember], confirm_also: Confirm, progress: Progress
) -> tuple[FrontMember, ...]:
    """Adds the latencies of another runtime, which no result may be lost over."""
    try:
        also = confirm_also([member.candidate.arch for member in front])
    except EnvironmentFault as error:
        progress.message(f"search: no latencies in the other runtime: {error}")
        return tuple(front)
    return tuple(dataclasses.replace(m, confirmed_also=(also[m.candidate.arch.id],)) for m in front)


def _reference(
    arch: Architecture,
    study: SearchStudy,
    memo: AccuracyMemo,
    measure: Callable[[Architecture], Measured],
    cost: Callable[[Architecture], CostLike],
    budget: LatencyBudget,
) -> Candidate:
    """Returns the candidate of a named architecture with its accuracy, also when it was over budget."""
    asked = next((c for c in study.candidates if c.arch == arch), None)
    latency = measure(arch)
    return Candidate(
        trial=asked.trial if asked else -1,
        arch=arch,
        cost=cost(arch).to_plain(),
        latency=latency,
        feasible=budget.allows(latency),
        ap=memo.ap(arch),
        origin=asked.origin if asked else "reference",
        study=study.name,
    )
