"""`demo`: the whole path on generated people, on a CPU in a few minutes, each step as the user would run it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posesearch.flows.extract import extract
from posesearch.flows.inputs import RUNS
from posesearch.flows.report import report
from posesearch.flows.runs import open_run, read_summary
from posesearch.flows.search import search
from posesearch.flows.supernet import supernet_train
from posesearch.flows.tables import NONE
from posesearch.flows.train import train
from posesearch.latency.process import measure_fresh
from posesearch.latency.types import Conditions
from posesearch.progress import Progress, format_duration
from posesearch.run import Run
from posesearch.spaces import SearchSpace

EVALUATIONS = 40
RETRAIN_EPOCHS = 6
STEPS = ("supernet-train", "search", "extract", "train T and S", "report")
# Of the way from the smallest to the largest network: tight enough to rule some out, wide enough for a front.
BUDGET_POSITION = 0.8


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoResult:
    """What the demo made.

    Attributes:
        run: Name of the run.
        budget_ms: The latency budget it chose for this machine.
        front: Rows of the Pareto front.
        models: Summaries of the extracted and retrained models.
        files: Report, picture, table and model files.
        elapsed_s: Seconds it took.
        next_command: What to run next.
    """

    run: str
    budget_ms: float
    front: tuple[dict[str, Any], ...]
    models: tuple[dict[str, Any], ...]
    files: tuple[Path, ...]
    elapsed_s: float
    next_command: str

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as a JSON-ready dict."""
        return {
            "run": self.run,
            "budget_ms": self.budget_ms,
            "front": list(self.front),
            "models": list(self.models),
            "files": [str(path) for path in self.files],
            "elapsed_s": self.elapsed_s,
            "next_command": self.next_command,
        }


def demo(*, fresh: bool = False, seed: int = 0, run: str = "demo", progress: Progress) -> DemoResult:
    """Runs every step of the main path; an interrupted demo goes on where it stopped.

    Args:
        fresh: Start again; an earlier demo is kept under another name.
        seed: Key of all random numbers.
        run: Name of the run.
        progress: Where to report.

    Raises:
        PosesearchError: As the steps do.
    """
    started_s = time.monotonic()
    progress.message(
        f"{len(STEPS)} steps, 3 to 5 minutes on 2 CPU cores, 30 MB in {RUNS / run}: {', '.join(STEPS)}."
    )
    progress.message(f"1/{len(STEPS)}  posesearch supernet-train --space demo --run {run}")
    trained = supernet_train(space="demo", run=run, seed=seed, device="cpu", fresh=fresh, progress=progress)
    opened = open_run(trained.run)
    opened, budget_ms = _budget(opened, progress)
    progress.message(
        f"2/{len(STEPS)}  posesearch search --run {run} --latency-ms {budget_ms:g} --trials {EVALUATIONS}"
    )
    found = search(
        run=run,
        latency_ms=budget_ms,
        trials=EVALUATIONS,
        seed=seed,
        device="cpu",
        effort="brief",
        table=NONE,
        progress=progress,
    )
    progress.message(f"3/{len(STEPS)}  posesearch extract --run {run}")
    extracted = extract(run=run, device="cpu", progress=progress)
    for model in extracted.models:
        file = opened.path(model["file"])
        overrides = (f"epochs={RETRAIN_EPOCHS}",)
        progress.message(f"4/{len(STEPS)}  posesearch train {file} --set {overrides[0]}")
        train(model=str(file), overrides=overrides, seed=seed, device="cpu", progress=progress)
    progress.message(f"5/{len(STEPS)}  posesearch report --run {run}")
    written = report(run=run)
    summaries = tuple(read_summary(opened, model["name"]) for model in extracted.models)
    elapsed_s = time.monotonic() - started_s
    progress.message(f"demo finished in {format_duration(elapsed_s)}.")
    best = summaries[-1]
    return DemoResult(
        run=run,
        budget_ms=budget_ms,
        front=tuple(found.front),
        models=summaries,
        files=(*written.files, *(opened.path(model["retrained_file"]) for model in summaries)),
        elapsed_s=elapsed_s,
        next_command=f"posesearch evaluate {opened.path(best['retrained_file'])} --flip",
    )


def _budget(opened: Run, progress: Progress) -> tuple[Run, float]:
    """Returns a budget between the fastest and the slowest network on this machine, the same for every call."""
    if "demo_budget_ms" in opened.manifest:
        return opened, float(opened.manifest["demo_budget_ms"])
    space = SearchSpace.from_plain(opened.manifest.get("space"), f"space of run '{opened.name}'")
    # In fresh processes, like the figures the front will be held to: on a busy machine those are up to twice as long as
    # what a search measures in its own process, and a budget laid by the latter left a front of four after six rounds.
    ends = (space.smallest(), space.largest())
    measured = measure_fresh(ends, Conditions(), effort="brief")
    low_ms, high_ms = (measured[arch.id].p50_ms for arch in ends)
    budget_ms = float(f"{low_ms + BUDGET_POSITION * (high_ms - low_ms):.2g}")
    progress.message(
        f"The demo's networks take {low_ms:.2f} to {high_ms:.2f} ms on one thread of this machine; "
        f"the budget is {budget_ms:g} ms."
    )
    with opened.lock() as opened:
        return opened.updated(demo_budget_ms=budget_ms), budget_ms
