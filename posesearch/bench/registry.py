"""The benchmarks by name, each in a module of its own that is imported when it runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from posesearch.bench.result import BenchResult
from posesearch.errors import UsageError, did_you_mean
from posesearch.progress import Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchContext:
    """What a benchmark is given.

    Attributes:
        device: Where it computes.
        seed: Key of everything random.
        data: Folder of a COCO-format data set with a training and a validation split: the user's, or generated people.
            None only for benchmarks that need no people.
        quick: The same code on sizes that take seconds; its figures are no claims.
        progress: Where to report.
        out: Folder of the results, for a benchmark so long that it keeps its parts there; None keeps nothing.
    """

    device: torch.device
    seed: int
    data: Path | None
    quick: bool
    progress: Progress
    out: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """One benchmark.

    Attributes:
        name: What the command line calls it, and the stem of its JSON file.
        summary: What it compares, in one line.
        target: "module:function" of a `Callable[[BenchContext], BenchResult]`.
        gpu_only: It needs a GPU and is no part of a run of all benchmarks.
        needs_people: It works on a data set.
        by_name_only: It takes hours and is no part of a run of all benchmarks.
    """

    name: str
    summary: str
    target: str
    gpu_only: bool = False
    needs_people: bool = True
    by_name_only: bool = False

    def run(self, context: BenchContext) -> BenchResult:
        """Imports the benchmark and runs it."""
        module, function = self.target.split(":")
        run = cast(
            "Callable[[BenchContext], BenchResult]", getattr(importlib.import_module(module), function)
        )
        return run(context)


BENCHES = (
    Bench(
        name="pipeline",
        summary="Training batches: our loader against per-sample objects and worker processes.",
        target="posesearch.bench.pipeline:run",
    ),
    Bench(
        name="step",
        summary="One training step: subnet against static network, eager against compiled.",
        target="posesearch.bench.step:run",
    ),
    Bench(
        name="sandwich",
        summary="A step of four subnets against a step of the largest network.",
        target="posesearch.bench.sandwich:run",
    ),
    Bench(
        name="evaluate",
        summary="The ten COCO figures: our evaluator against pycocotools, and the whole metric step.",
        target="posesearch.bench.evaluate:run",
        needs_people=False,
    ),
    Bench(
        name="recalibrate",
        summary="BatchNorm recalibration against a full evaluation.",
        target="posesearch.bench.recalibrate:run",
    ),
    Bench(
        name="memory",
        summary="Bytes: image store, training step, sandwich against plain.",
        target="posesearch.bench.memory:run",
    ),
    Bench(
        name="deploy",
        summary="The deployed form of a network against the form it was trained in.",
        target="posesearch.bench.deploy:run",
        needs_people=False,
    ),
    Bench(
        name="sampler",
        summary="Samplers of the search on a problem whose optimum is known; hours, kept run by run.",
        target="posesearch.bench.sampler:run",
        needs_people=False,
        by_name_only=True,
    ),
    Bench(
        name="gpu",
        summary="All questions that need a GPU, in under 8 minutes.",
        target="posesearch.bench.gpu:run",
        gpu_only=True,
    ),
)


def find_benches(name: str | None) -> tuple[Bench, ...]:
    """Returns the benchmark of this name, or all that run without a GPU and within an hour.

    Raises:
        UsageError: There is none of this name.
    """
    if name is None:
        return tuple(bench for bench in BENCHES if not (bench.gpu_only or bench.by_name_only))
    names = [bench.name for bench in BENCHES]
    if name not in names:
        raise UsageError(
            f"benchmark '{name}' is not known. Allowed: {', '.join(names)}, or no name for all that run on a CPU but sampler."
            f"{did_you_mean(name, names)}"
        )
    return (BENCHES[names.index(name)],)
