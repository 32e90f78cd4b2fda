"""The commands of the main path: demo, supernet-train, search, extract, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from posesearch.cli.context import Ctx, planned
from posesearch.cli.options import (
    DataOptions,
    MemoryFormat,
    Overrides,
    Store,
    StrategyOptions,
    Switch,
    WantedOptions,
)
from posesearch.cli.output import Answer, counted
from posesearch.cli.rank import ranking_line
from posesearch.cli.results import evaluation_lines, label_lines, model_grid, plan_lines, search_grids
from posesearch.cli.second_looks import refined_lines, shortlist_grids
from posesearch.errors import UsageError
from posesearch.progress import format_duration

Percentile = Literal["p50", "p90"]


def demo(*, run: str = "demo", fresh: Switch = False, ctx: Ctx) -> Answer:
    """Runs the whole path on generated people: supernet, search, extract, train, report.

    Args:
        run: Name of the run folder below runs/.
        fresh: Start again, even where an earlier demo is there.
        ctx: Global options.
    """
    from posesearch.flows import demo as flow
    from posesearch.flows.inputs import RUNS

    if ctx.dry_run:
        return planned("demo", {"run": run, "fresh": fresh, "seed": ctx.seed})
    if ctx.device not in ("auto", "cpu"):
        raise UsageError(
            f"--device '{ctx.device}': the demo runs on the CPU. Leave --device out, or take the steps one by one, "
            f"beginning with: posesearch supernet-train --device {ctx.device}"
        )
    result = flow.demo(fresh=fresh, seed=ctx.seed, run=run, progress=ctx.progress)
    return Answer(
        document=result.to_plain(),
        text=(
            *search_grids(RUNS / result.run / "search"),
            model_grid(result.models),
            f"done in {format_duration(result.elapsed_s)}",
        ),
        files=tuple(map(str, result.files)),
        next_command=result.next_command,
    )


def supernet_train(
    *,
    space: str = "demo",
    data: DataOptions | None = None,
    recipe: str | None = None,
    overrides: Overrides = (),
    run: str | None = None,
    init: Path | None = None,
    store: Store = "auto",
    fresh: Switch = False,
    ctx: Ctx,
) -> Answer:
    """Trains the weight-shared supernet; running it again goes on where it stopped.

    Args:
        data: The data set.
        space: Search space: a name (see 'posesearch space list') or a YAML file.
        recipe: Training recipe: demo, small-data, starnet-pose, or a YAML file; by default chosen by the data.
        overrides: Change one entry of the recipe, KEY=VALUE, e.g. optimizer.lr=0.002; may be repeated.
        run: Name of the run folder below runs/; the space's name by default.
        init: Weights to start from: official StarNet weights, or a model or supernet file of posesearch.
        store: Where the images are kept: gpu, host (memory), jpeg (files, decoded at each use); auto goes by free memory.
        fresh: Start again, even where the run exists.
        ctx: Global options.
    """
    from posesearch.flows import supernet as flow

    result = flow.supernet_train(
        space=space,
        data=(data or DataOptions()).source(),
        recipe=recipe,
        overrides=overrides,
        run=run,
        init=init,
        store=store,
        seed=ctx.seed,
        device=ctx.device,
        fresh=fresh,
        dry_run=ctx.dry_run,
        progress=ctx.progress,
    )
    if ctx.dry_run:
        return Answer(document=result.to_plain(), text=plan_lines(result.plan))
    return Answer(
        document=result.to_plain(),
        text=(
            f"run {result.run}: supernet of space '{result.plan['space']}', {counted(result.plan['steps'], 'step')}",
            *evaluation_lines(result.evaluations),
        ),
        files=tuple(map(str, result.files)),
        next_command=result.next_command,
    )


def search(
    *,
    latency_ms: float | None = None,
    percentile: Percentile = "p50",
    wanted: WantedOptions | None = None,
    runtime: str = "eager",
    precision: str = "fp32",
    trials: int | None = None,
    sampler: str = "auto",
    strategy: StrategyOptions | None = None,
    threads: int = 1,
    batch: int = 1,
    memory_format: MemoryFormat = "contiguous",
    table: str | None = None,
    unverified: Switch = False,
    earlier: Literal["none", "same", "all"] = "same",
    refine: int = 0,
    storage: str | None = None,
    run: str | None = None,
    ctx: Ctx,
) -> Answer:
    """Searches the trained supernet for the most accurate subnets within budgets of latency and size.

    Args:
        latency_ms: The latency budget: of one call (one image, see --batch) on this device, in milliseconds. May be left
            out where there is another budget.
        percentile: Which measured latency must meet the budget.
        wanted: Objectives and further budgets.
        runtime: How networks are run when they are timed: eager, cudagraph (GPU), compile, onnxruntime or tensorrt (GPU).
        precision: Number format when they are timed: fp32, or on a GPU fp16 or bf16.
        trials: Accuracy evaluations, 100 by default; networks over the budget are not evaluated and do not count.
        sampler: auto (surrogate), surrogate, gp (seconds a proposal beyond 200 trials), nsga2, tpe or random.
        strategy: What goes before the sampler.
        threads: CPU threads of a timed network.
        batch: Images in one timed call; the budget is for the whole call.
        memory_format: Order of images and weights in memory when networks are timed.
        table: Latency table to go by: a name in latency/, a file, or none to measure every candidate; by default
            that of this space, runtime and precision, where it is of this machine.
        unverified: With --table: search for a device that is not here. The front is predicted, nothing is measured.
        earlier: Ask first what earlier searches found best: those of this run (same), of every run of this space (all),
            or none. Only architectures are taken over, each is evaluated anew.
        refine: Then train a copy of the supernet for so many epochs on what the search visited, and search again with it.
        storage: Search together with other workers on one storage: sqlite for workers on this machine, or
            postgresql://USER@HOST/DATABASE for workers on any; start this same command once for each.
        run: Name of the run; the newest by default.
        ctx: Global options.
    """
    from posesearch.flows import search as flow

    result = flow.search(
        run=run,
        latency_ms=latency_ms,
        percentile=percentile,
        wanted=(wanted or WantedOptions()).wanted(),
        runtime=runtime,
        precision=precision,
        trials=trials,
        sampler=sampler,
        strategy=(strategy or StrategyOptions()).chosen(),
        threads=threads,
        batch=batch,
        memory_format=memory_format,
        table=table,
        unverified=unverified,
        earlier=earlier,
        refine=refine,
        storage=storage,
        seed=ctx.seed,
        device=ctx.device,
        dry_run=ctx.dry_run,
        progress=ctx.progress,
    )
    document: dict[str, Any] = result.to_plain()
    if ctx.dry_run:
        return Answer(document=document, text=plan_lines(result.plan))
    if result.outcome is None:
        return Answer(
            document=document, text=("another worker ranks the front",), next_command=result.next_command
        )
    return Answer(
        document=document,
        text=(
            *search_grids(result.folder),
            *refined_lines(document),
            *label_lines(document.get("label")),
            ranking_line(result.folder),
            f"{counted(result.evaluations, 'subnet')} evaluated. Pick by name or rank: posesearch extract --pick 1",
        ),
        next_command=result.next_command,
    )


def extract(
    *,
    pick: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    arch: str | None = None,
    name: str | None = None,
    shortlist: int = 0,
    shortlist_epochs: int | None = None,
    run: str | None = None,
    ctx: Ctx,
) -> Answer:
    """Cuts subnets out of the supernet; without --pick and --arch: T (the knee) and S (the most accurate).

    Args:
        pick: best, knee, fastest, or a rank on the front (1 is the fastest); may be repeated.
        arch: A preset name or architecture code instead of a pick.
        name: Name of the model; by default T, S, or that of the pick.
        shortlist: Train so many members of the front near each pick alone first, briefly, and pick by that; 0 does not.
        shortlist_epochs: For so many epochs each; by default a quarter of the recipe's.
        run: Name of the run; the newest by default.
        ctx: Global options.
    """
    from posesearch.flows import extract as flow
    from posesearch.flows.shortlist import shortlist_of

    asked = shortlist_of(shortlist, shortlist_epochs)
    if ctx.dry_run:
        options = {"run": run or "(newest)", "pick": list(pick) or None, "arch": arch, "name": name}
        listed = {"shortlist": shortlist, "shortlist_epochs": shortlist_epochs} if asked else {}
        return planned("extract", {**options, **listed})
    # '#2' is the rank's own spelling; a shell takes an unquoted one for a comment, so the bare number works too.
    picks = tuple(f"#{word}" if word.isdigit() else word for word in pick)
    result = flow.extract(
        run=run,
        picks=picks,
        arch=arch,
        name=name,
        shortlist=asked,
        device=ctx.device,
        progress=ctx.progress,
    )
    return Answer(
        document=result.to_plain(),
        text=(*shortlist_grids(result.shortlist), model_grid(result.models)),
        files=_model_files(result.run, result.models),
        next_command=result.next_command,
    )


def _model_files(run: str, models: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    from posesearch.flows.inputs import RUNS

    return tuple(str(RUNS / run / model["file"]) for model in models)


def report(*, run: str | None = None, ctx: Ctx) -> Answer:
    """Draws the run: Pareto front, search history, training curves, latency, as one HTML page that works offline.

    Args:
        run: Name of the run; the newest by default.
        ctx: Global options.
    """
    from posesearch.flows import report as flow

    if ctx.dry_run:
        return planned("report", {"run": run or "(newest)"})
    result = flow.report(run=run)
    return Answer(
        document=result.to_plain(), text=(f"report of run {result.run}",), files=tuple(map(str, result.files))
    )
