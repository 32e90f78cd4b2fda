"""Latency questions for a GPU: runtimes, kernel counts against the reference, the predictor in graph mode.

Everything here also runs on a CPU, where runtimes that need a GPU are skipped with the reason; on a GPU it is untried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from posesearch.bench.deploy import networks
from posesearch.bench.gpu_questions import Clock, Part
from posesearch.bench.registry import BenchContext
from posesearch.bench.result import BenchResult, Goal
from posesearch.bench.workload import stirred
from posesearch.errors import EnvironmentFault
from posesearch.latency.build import make_table
from posesearch.latency.choose import choose_nets
from posesearch.latency.deploy import deploy
from posesearch.latency.effort import BRIEF, FAST
from posesearch.latency.kernels import kernels_per_forward
from posesearch.latency.measure import measure_many
from posesearch.latency.process import measure_fresh
from posesearch.latency.runtimes import check_conditions
from posesearch.latency.survey import DeviceBench, Journal, settings_id, survey
from posesearch.latency.types import Conditions
from posesearch.models.deploy import deployed
from posesearch.models.pose import PoseModel
from posesearch.spaces import SearchSpace, load_preset, load_space

RUNTIMES = ("eager", "cudagraph", "compile")
PRECISIONS = ("fp32", "fp16")
PREDICTOR = Goal(key="mape", target=0.01, at_most=True)

# Calls and kernels of one forward by tracing and by reading PyTorch's source, never seen on a GPU. Kernels are a
# lower bound: cuDNN may add some of its own.
EXPECTED_LAUNCHES = {
    "starnet-pose-t": {"published": (188, 239), "folded": (153, 204), "merged": (138, 174)},
    "starnet-pose-s": {"published": (342, 420), "folded": (293, 383), "merged": (277, 351)},
}


def runtime_parts(context: BenchContext, _clock: Clock) -> Mapping[str, Part]:
    """T and S in eager, CUDA graph and compile, fp32 and fp16, both networks in the same rounds; compile comes last."""
    return {
        f"{runtime} {precision}": partial(_runtime, context, runtime, precision)
        for runtime in RUNTIMES
        for precision in PRECISIONS
    }


def _runtime(context: BenchContext, runtime: str, precision: str) -> BenchResult:
    conditions = Conditions(device=str(context.device), runtime=runtime, precision=precision)
    check_conditions(conditions)
    archs = networks(quick=context.quick)
    # The demo's largest network has another input size, and is no part of the question.
    names = [name for name in archs if context.quick or not name.startswith("demo")]
    models = {
        name: deploy(stirred(PoseModel(archs[name]), context.seed).eval(), conditions) for name in names
    }
    measured = measure_many(
        models,
        input_size=archs[names[0]].input_size,
        conditions=conditions,
        effort=FAST if context.quick else BRIEF,
        seed=context.seed,
    )
    return BenchResult(
        name="runtime", ratios={}, figures={name: value.to_plain() for name, value in measured.items()}
    )


def noise_parts(context: BenchContext, _clock: Clock) -> Mapping[str, Part]:
    """How far fresh processes disagree on T and S, eager and as a CUDA graph."""
    return {runtime: partial(_noise, context, runtime) for runtime in ("eager", "cudagraph")}


def _noise(context: BenchContext, runtime: str) -> BenchResult:
    conditions = Conditions(device=str(context.device), runtime=runtime)
    check_conditions(conditions)
    presets = [load_preset(name) for name in ("starnet-pose-t", "starnet-pose-s")]
    archs = [load_space("demo").smallest()] if context.quick else presets
    measured = measure_fresh(
        archs, conditions, processes=2, effort="fast" if context.quick else "brief", seed=context.seed
    )
    values = list(measured.values())
    return BenchResult(
        name="noise",
        ratios={"process_spread": max(value.process_spread for value in values)},
        figures={"networks": [value.to_plain() for value in values]},
    )


def kernel_parts(context: BenchContext, _clock: Clock) -> Mapping[str, Part]:
    """What one forward launches in each form, beside the reference's count."""
    names = ("starnet-pose-t",) if context.quick else tuple(EXPECTED_LAUNCHES)
    return {name: partial(_kernels, context, name) for name in names}


def _kernels(context: BenchContext, name: str) -> BenchResult:
    arch = load_preset(name)
    model = PoseModel(arch).eval()
    conditions = Conditions(device=str(context.device))
    on_gpu = context.device.type == "cuda"
    ratios: dict[str, float] = {}
    figures: dict[str, Any] = {}
    for form in ("published", "folded", "merged"):
        found = kernels_per_forward(deployed(model, form=form), arch.input_size, conditions)
        expected = EXPECTED_LAUNCHES[name][form][on_gpu]
        ratios[f"{form}_over_expected"] = found.count / expected
        figures[form] = {**found.to_plain(), "expected": expected}
    if on_gpu:
        for runtime in ("cudagraph", "compile"):
            graph = Conditions(device=str(context.device), runtime=runtime)
            try:
                figures[f"merged, {runtime}"] = kernels_per_forward(
                    deployed(model), arch.input_size, graph
                ).to_plain()
            except EnvironmentFault as fault:
                figures[f"merged, {runtime}"] = str(fault)
    return BenchResult(name="kernels", ratios=ratios, figures=figures)


def predictor_parts(context: BenchContext, clock: Clock) -> Mapping[str, Part]:
    """Fits a small latency table of a part of space `demo` in graph mode and tests it on other networks in another run."""
    runtime = "cudagraph" if context.device.type == "cuda" else "eager"
    return {runtime: partial(_predictor, context, clock, runtime)}


def _predictor(context: BenchContext, clock: Clock, runtime: str) -> BenchResult:
    space = _fewer_blocks(load_space("demo"), context)
    conditions = Conditions(device=str(context.device), runtime=runtime)
    check_conditions(conditions)
    nets, held_out = (10, 5) if context.quick else (18, 6)
    plan = choose_nets(space, nets=nets, held_out=held_out, seed=context.seed)
    bench = DeviceBench(space, conditions, "fast")
    with TemporaryDirectory(prefix="posesearch-bench-") as folder:
        journal = Journal(Path(folder) / "table.jsonl", settings_id(space, bench.fingerprint, "fast"))
        figures = survey(
            space, plan, bench, journal, seed=context.seed, progress=context.progress, stop=clock.is_up
        )
    table = make_table(space, plan, figures, measured_on=bench.fingerprint, effort="fast", seed=context.seed)
    score = table.scores.other_run
    values: dict[str, Any] = {
        **score.to_plain(),
        "noise": table.noise.mape,
        "runtime": runtime,
        "nets": nets,
        "held_out": held_out,
    }
    return BenchResult(
        name="predictor",
        ratios={"mape": score.mape, "mape_after_scale": score.mape_after_scale, "noise": table.noise.mape},
        figures=values,
        goals=(PREDICTOR,),
        notes=(
            f"{nets} networks fitted on one run, {held_out} others tested in a second; the goal allows 100 to fit on. For "
            "that: posesearch latency build --runtime cudagraph",
        ),
    )


def _fewer_blocks(space: SearchSpace, context: BenchContext) -> SearchSpace:
    """Returns a part of a space with the smallest and largest kernel and ratio, or quickly one each: blocks cost minutes."""

    def ends(choices: tuple[int, ...]) -> tuple[int, ...]:
        return choices[:1] if context.quick else (choices[0], choices[-1])

    stages = (replace(stage, kernel=ends(stage.kernel), ratio=ends(stage.ratio)) for stage in space.stages)
    return replace(space, name=f"{space.name}-part", stages=tuple(stages))
