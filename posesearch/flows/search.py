"""`search`: the most accurate architectures of a trained supernet within budgets of latency and size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from posesearch.checkpoint import weights_id
from posesearch.device import resolve_device
from posesearch.flows.differentiable import SAMPLE, Strategy, check_table, differentiable_starts
from posesearch.flows.earlier import EarlierName, check_earlier, earlier_searches
from posesearch.flows.found import SearchResult
from posesearch.flows.inputs import check_joints
from posesearch.flows.material import Material
from posesearch.flows.question import Wanted, question_of
from posesearch.flows.refine import Workshop, check_epochs, search_refined
from posesearch.flows.runs import open_run, settings_of
from posesearch.flows.supernet import SUPERNET_FILE, calibrated, load_supernet
from posesearch.flows.tables import TableChoice, absent_table, choose_table, load_absent
from posesearch.flows.workers import crew_of
from posesearch.heap import memory_kept
from posesearch.interrupt import stop_on_interrupt
from posesearch.keypoints.skeleton import Skeleton
from posesearch.latency.effort import EffortName
from posesearch.latency.meter import LatencyMeter
from posesearch.latency.process import measure_fresh
from posesearch.latency.runtimes import check_conditions, counterpart
from posesearch.latency.types import Conditions, Measured, Percentile
from posesearch.models.cost import cost
from posesearch.progress import Progress
from posesearch.search.check import Check
from posesearch.search.coordination import RankedElsewhere
from posesearch.search.earlier import Earlier
from posesearch.search.judge import check_sources
from posesearch.search.outcome import SearchOutcome
from posesearch.search.refinement import Refinement
from posesearch.search.samplers import resolve_sampler
from posesearch.search.search import run_search
from posesearch.spaces import Architecture, SearchSpace, load_preset
from posesearch.supernet import Supernet
from posesearch.train.evaluate import evaluate_forward
from posesearch.train.split_loss import SplitLoss

DEFAULT_EVALUATIONS = 100
REFERENCES = ("starnet-pose-t", "starnet-pose-s")


def search(
    *,
    run: str | None = None,
    latency_ms: float | None,
    percentile: Percentile = "p50",
    wanted: Wanted | None = None,
    runtime: str = "eager",
    precision: str = "fp32",
    trials: int | None = None,
    sampler: str = "auto",
    strategy: Strategy = SAMPLE,
    threads: int = 1,
    batch: int = 1,
    memory_format: str = "contiguous",
    table: str | None = None,
    unverified: bool = False,
    earlier: EarlierName = "same",
    refine: int = 0,
    storage: str | None = None,
    seed: int = 0,
    device: str = "auto",
    effort: EffortName = "full",
    dry_run: bool = False,
    progress: Progress,
) -> SearchResult:
    """Searches the space of a run; the same call again continues, or returns at once when all is done.

    Args:
        run: Name of the run; None uses the newest.
        latency_ms: The latency budget; None where there is another one.
        percentile: Which latency must meet it, "p50" or "p90".
        wanted: Objectives and counted budgets; None means AP and latency, and no such budget.
        runtime: How the network is run when its latency is measured.
        precision: In which number format.
        trials: Accuracy evaluations; None means 100.
        sampler: "auto", "surrogate", "gp", "nsga2", "tpe" or "random".
        strategy: Whether a search by gradients goes before the sampler.
        threads: CPU threads while latency is measured.
        batch: Images in one timed call; the budget is for the whole call.
        memory_format: "contiguous" or "channels_last".
        table: The latency table to go by: a name in `latency/`, a file, "none" to measure every candidate, or None for
            the one of this space, runtime and precision where it is of this machine.
        unverified: Search on the table of a device that is not here; its front is predicted and nothing is measured.
        earlier: Whose best architectures are asked first: those of other searches of this run ("same"), of every run of
            this space ("all"), or "none".
        refine: Epochs for which a copy of the supernet is then trained on with what the search visited; the search goes
            on with it, as many evaluations again. 0 leaves that out.
        storage: Where several workers keep one study: "sqlite" (the run's own file), an SQLite or a PostgreSQL URL. None
            searches alone.
        seed: Key of all proposals.
        device: "auto", "cpu", "cuda" or "cuda:N".
        effort: How long the front is measured for the claim: "full", or "brief" where minutes count.
        dry_run: Resolve everything, write nothing.
        progress: Where to report.

    Raises:
        UsageError: No such run or table, or a bad budget, sampler or number of trials.
        NoFeasibleArchitecture: No architecture meets the budget.
        DataError: Supernet, data or latency table cannot be used.
        EnvironmentFault: The run is in use, the runtime is not there, the table is of another device, or the disk is full.
        Interrupted: Stopped by the user; everything is saved.
    """
    place = resolve_device(device)
    conditions = Conditions(
        device=str(place), runtime=runtime, precision=precision, threads=threads, batch=batch,
        memory_format=memory_format,
    )  # fmt: skip
    question = question_of(
        wanted or Wanted(), latency_ms=latency_ms, percentile=percentile, conditions=conditions
    )
    absent = absent_table(table, conditions, unverified=unverified)
    if absent is None:
        check_conditions(conditions)
    evaluations = trials if trials is not None else DEFAULT_EVALUATIONS
    resolve_sampler(sampler, evaluations)
    check_earlier(earlier)
    check_epochs(refine)
    opened = open_run(run, kind="supernet")
    plan = {
        "run": opened.name,
        **question.stored(),
        "conditions": conditions.to_plain(),
        "evaluations": evaluations,
        "sampler": sampler,
        **strategy.to_plain(),
        "table": table,
        "unverified": unverified,
        "earlier": earlier,
        "refine": refine,
    }
    folder = opened.path("search")
    crew = crew_of(storage, folder, place, refine=refine, strategy=strategy)
    if crew.several:
        plan["storage"] = crew.shown
    if dry_run:
        return SearchResult(run=opened.name, folder=folder, plan=plan)
    with opened.lock(together=crew.several) as opened:
        crew.greet(progress)
        settings = settings_of(opened)
        supernet, info = load_supernet(opened)
        supernet.to(place)
        space = supernet.space
        if absent is not None:
            chosen: TableChoice | None = load_absent(absent, space, progress)
        else:
            chosen = choose_table(
                table, space=space, conditions=conditions, budget=question.latency, progress=progress
            )
        if chosen is not None:
            check_sources(question.latency, None, chosen.predictor)
        check_table(strategy, question.budgets, chosen, conditions, space)
        train = settings.data.load("train")
        check_joints(Skeleton.from_plain(info.skeleton).names, opened.path(SUPERNET_FILE), train)
        material = Material.prepare(
            train,
            settings.recipe,
            input_size=space.input_size,
            seed=settings.seed,
            device=place,
            progress=progress,
        )

        held = material.held
        loss = SplitLoss(held.dataset, held.crops, settings.recipe.loss, split_ratio=space.head.split_ratio)

        def evaluate(weights: Supernet, arch: Architecture) -> Mapping[str, Any]:
            with memory_kept(place.type):
                watched = loss.watching(calibrated(weights, arch, material))
                evaluation = evaluate_forward(watched, held.crops, held.dataset, device=place)
            return {**evaluation.to_plain(), "loss": watched.value()}

        def confirm(archs: Sequence[Architecture]) -> Mapping[str, Measured]:
            return measure_fresh(archs, conditions, effort=effort, seed=seed)

        # The front is measured in another runtime as well: a budget in eager mode says little about a CUDA graph, which
        # is several times faster on a GPU, or about ONNX Runtime on a CPU.
        other = counterpart(conditions) if absent is None else None

        def confirm_other(archs: Sequence[Architecture]) -> Mapping[str, Measured]:
            return measure_fresh(archs, other, effort=effort, seed=seed) if other else {}

        def teach(checks: tuple[Check, ...]) -> None:
            if chosen is not None and absent is None:
                chosen.learn(checks, progress)

        def searched(
            weights: Supernet, first: Earlier | None, refined: Refinement | None = None
        ) -> SearchOutcome:
            return run_search(
                space,
                folder=folder,
                question=question,
                evaluations=evaluations,
                evaluate=crew.computing(partial(evaluate, weights)),
                meter=crew.meter(partial(LatencyMeter, conditions, space.smallest()))
                if absent is None
                else None,
                predictor=chosen.predictor if chosen else None,
                table=chosen.build_id if chosen else "",
                cost=cost,
                weights_id=weights_id(weights.state_dict()),
                progress=progress,
                stop=stop,
                references=reference_architectures(space),
                warm=warm,
                earlier=first,
                refined=refined,
                sampler=sampler,
                seed=seed,
                confirm=crew.timing(confirm),
                confirm_effort=effort,
                confirm_also=crew.timing(confirm_other) if other else None,
                teach=teach,
                workers=crew.workers(opened.name, held.dataset),
            )

        heard = earlier_searches(opened, earlier, progress)
        with stop_on_interrupt() as stop:
            warm = differentiable_starts(
                strategy, supernet, material, settings.recipe, budgets=question.budgets, chosen=chosen,
                evaluations=evaluations, opened=opened, seed=seed, progress=progress, stop=stop,
            )  # fmt: skip
            if refine:
                asked = {key: plan[key] for key in ("budget", "objectives", "budgets", "conditions", "table")}
                shop = Workshop(
                    opened=opened, info=info, settings=settings, material=material, device=place, evaluate=evaluate,
                    progress=progress, stop=stop,
                )  # fmt: skip
                outcome = search_refined(shop, supernet, searched, heard, epochs=refine, asked=asked)
            else:
                try:
                    outcome = searched(supernet, heard)
                except RankedElsewhere as end:
                    progress.message(str(end))
                    outcome = None
    return SearchResult(
        run=opened.name,
        folder=folder,
        plan=plan,
        outcome=outcome,
        next_command=f"posesearch extract --run {opened.name}",
    )


def reference_architectures(space: SearchSpace) -> dict[str, Architecture]:
    """Returns the published networks as members of a space: themselves, or the nearest members, named so."""
    found = {}
    for name in REFERENCES:
        preset = load_preset(name)
        arch = space.nearest(preset)
        same = arch.stages == preset.stages and arch.input_size == preset.input_size
        found[name if same else f"{name} scaled to {space.name}"] = arch
    return found
