"""`bench sampler`: how far each sampler is from a known optimum and a known front, and what a proposal costs.

Three variants of one problem: as it is; with an error of 0.4 AP in every evaluation; with 40 random interactions between
genes, where the best known member comes from a long local search and may not be the best there is. A full run takes CPU
hours, so its runs are rows of a file in the output folder: what is there is not run again, and
`python -m posesearch.bench.sampler_runs` adds rows side by side.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posesearch.bench.registry import BenchContext
from posesearch.bench.result import BenchResult, Goal
from posesearch.bench.sampler_runs import (
    KICKS,
    MARKS,
    ROWS,
    SAMPLERS,
    VARIANTS,
    missing_runs,
    rows_of,
    run_into,
    wanted_runs,
)

SEEDS = 5
QUICK_MARKS = (30,)
QUICK_SAMPLERS = ("random", "random feasible", "nsga2", "surrogate")

GOALS = (
    Goal(key="surrogate plain gap_ap at 200", target=0.1, at_most=True),
    Goal(key="surrogate plain hypervolume at 200", target=0.985),
    Goal(key="surrogate noise smoothed_gap_ap at 200", target=0.1, at_most=True),
    Goal(key="surrogate noise hypervolume at 200", target=0.985),
    Goal(key="surrogate interactions gap_ap at 200", target=0.1, at_most=True),
    Goal(key="surrogate interactions hypervolume at 200", target=0.985),
    Goal(key="surrogate plain cpu_ms at 2000", target=50.0, at_most=True),
)
NOTES = (
    "gap_ap: the most accurate evaluated network within the budget, AP points below the optimum. chosen_gap_ap: the network "
    "with the highest evaluated figure, by its true accuracy. smoothed_gap_ap: the one the surrogate expects most of. "
    "hypervolume: of all evaluated networks by their true accuracy, as a share of that of the exact front. asks: over-budget "
    "and repeated ones included. cpu_ms: CPU time of an evaluation's proposal, mean of the last 50.",
    "interactions: gap and hypervolume are against the best that a long local search found, not against an optimum.",
    "random counts networks over budget as evaluations; all others are told the latency for nothing.",
)


def run(context: BenchContext) -> BenchResult:
    """Runs what is missing in the output folder, and tells the means over seeds."""
    seeds = range(context.seed, context.seed + (1 if context.quick else SEEDS))
    marks = QUICK_MARKS if context.quick else MARKS
    wanted = wanted_runs(VARIANTS, QUICK_SAMPLERS if context.quick else SAMPLERS, seeds, marks)
    with tempfile.TemporaryDirectory(prefix="posesearch-bench-") as folder:
        # Rows of a quick run are no use to anybody.
        out = Path(folder) if context.quick or context.out is None else context.out
        todo = missing_runs(out, wanted)
        with context.progress.task("sampler", len(todo)) as task:
            for key in todo:
                run_into(out, key, kicks=1 if context.quick else KICKS)
                task.advance()
        found = means(rows_of(out, wanted))
    flat = {
        f"{sampler} {variant} {figure} at {count}": value
        for variant, samplers in found.items()
        for sampler, figures in samplers.items()
        for figure, values in figures.items()
        for count, value in zip(figures["evaluations"], values, strict=True)
    }
    goals = tuple(goal for goal in GOALS if goal.key in flat)
    return BenchResult(
        name="sampler",
        ratios=ratios(found),
        figures={
            "seeds": len(seeds),
            **({} if context.quick else {"rows": ROWS}),
            **{goal.key: flat[goal.key] for goal in goals},
            **found,
        },
        goals=goals,
        notes=NOTES,
    )


def means(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Returns the mean over seeds of each figure, by variant, sampler and name; one value for each mark."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for variant in VARIANTS:
        for sampler in SAMPLERS:
            runs = [row["figures"] for row in rows if (row["variant"], row["sampler"]) == (variant, sampler)]
            if runs:
                found.setdefault(variant, {})[sampler] = {
                    name: np.mean([[mark[name] for mark in figures] for figures in runs], axis=0).tolist()
                    for name in runs[0][0]
                }
    return found


def ratios(found: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]) -> dict[str, float]:
    """Returns by how much the surrogate's gap is smaller than that of feasible random members, after as many evaluations."""
    return {
        f"{variant}: gap of random feasible over gap of surrogate at {count:.0f}": ours and theirs / ours
        for variant, samplers in found.items()
        for count, theirs, ours in zip(
            samplers["surrogate"]["evaluations"],
            samplers["random feasible"]["gap_ap"],
            samplers["surrogate"]["gap_ap"],
            strict=True,
        )
    }
