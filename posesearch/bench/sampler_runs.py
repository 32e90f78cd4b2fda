"""One search of a known problem with one sampler: the real loop and the real samplers, accuracy by formula.

    python -m posesearch.bench.sampler_runs --out bench --samplers gp --seeds 0 1

runs a part of `posesearch bench sampler`, which reads what it finds in the folder and runs only what is missing; so the
parts may run side by side, and a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posesearch import rng
from posesearch.bench.sampler_front import ExactFront, best_known_front, exact_front
from posesearch.bench.sampler_problem import BUDGET_MS, INTERACTIONS, Floats, Indices, Problem
from posesearch.bench.sampler_search import Answers, search_answers
from posesearch.bench.sampler_space import wide_space
from posesearch.files import append_jsonl, read_jsonl
from posesearch.search.front import hypervolume
from posesearch.search.surrogate_smooth import smoothed_scores

ROWS = "sampler-runs.jsonl"
SAMPLERS = ("random", "random feasible", "nsga2", "tpe", "gp", "surrogate")
VARIANTS = ("plain", "noise", "interactions")
NOISE_AP = 0.4
MARKS = (100, 200, 500, 2000)
GP_UP_TO = 200
"""GP costs seconds a proposal from here on."""

KICKS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """A problem with its answer.

    Attributes:
        problem: The problem.
        noise_ap: Standard deviation of the error of an evaluation, AP points.
        front: The front within the budget: exact, or the best known.
        floor_ap: Accuracy of the smallest member, where hypervolume begins.
    """

    problem: Problem
    noise_ap: float
    front: ExactFront
    floor_ap: float

    def share(self, ap: Floats, latency_ms: Floats) -> float:
        """Returns the hypervolume of members as a share of that of the front."""
        corner = (self.floor_ap, math.nextafter(BUDGET_MS, math.inf))
        own = hypervolume(list(zip(ap.tolist(), latency_ms.tolist(), strict=True)), corner)
        points = zip(self.front.ap.tolist(), self.front.latency_ms.tolist(), strict=True)
        return own / hypervolume(list(points), corner)


@functools.cache
def known(variant: str, kicks: int = KICKS) -> Known:
    """Returns the problem of a variant: "plain", "noise" or "interactions"."""
    problem = Problem(wide_space(), interactions=INTERACTIONS if variant == "interactions" else 0)
    front = (
        best_known_front(problem, kicks=kicks) if problem.pairs else exact_front(problem).within(BUDGET_MS)
    )
    smallest = np.zeros((1, len(problem.names)), np.int64)
    return Known(
        problem=problem,
        noise_ap=NOISE_AP if variant == "noise" else 0.0,
        front=front,
        floor_ap=float(problem.ap(smallest)[0]),
    )


def run(case: Known, sampler: str, seed: int, marks: Sequence[int]) -> list[dict[str, Any]]:
    """Runs one search up to the last mark and returns one row of figures for each mark."""
    evaluations = max(marks)
    if sampler.startswith("random"):
        answers = _random(case, seed, evaluations, feasible=sampler != "random")
    else:
        answers = search_answers(
            case.problem, sampler, seed=seed, evaluations=evaluations, noise_ap=case.noise_ap
        )
    return [_figures(case, answers, count) for count in marks]


def _random(case: Known, seed: int, evaluations: int, *, feasible: bool) -> Answers:
    """Draws uniformly; over-budget members count as evaluations, or are skipped."""
    generator = rng.generator(seed, "random sampler")
    start_s = time.process_time()
    members = case.problem.draws(evaluations * (40 if feasible else 1), generator)
    if feasible:
        members = members[case.problem.latency_ms(members) <= BUDGET_MS][:evaluations]
    cpu_ms = 1e3 * (time.process_time() - start_s) / evaluations
    return Answers(
        members_NG=members,
        noisy_ap=case.problem.noisy_ap(members, case.noise_ap, seed),
        asks=np.arange(1, len(members) + 1),
        repeated=np.zeros(len(members), np.int64),
        cpu_ms=np.full(len(members), cpu_ms),
    )


def _figures(case: Known, answers: Answers, count: int) -> dict[str, Any]:
    """Returns how good the first `count` evaluations are."""
    members: Indices = answers.members_NG[:count]
    ap, latency_ms = case.problem.ap(members), case.problem.latency_ms(members)
    within = latency_ms <= BUDGET_MS
    best_ap = float(case.front.ap[-1])
    noisy = np.where(within, answers.noisy_ap[:count], -np.inf)
    smoothed = noisy
    if case.noise_ap:
        archs = [case.problem.arch(member_G) for member_G in members]
        believed = smoothed_scores(case.problem.space, archs, answers.noisy_ap[:count].tolist())
        smoothed = np.where(within, [believed[arch].mean for arch in archs], -np.inf)
    return {
        "evaluations": len(members),
        "gap_ap": best_ap - float(ap[within].max()),
        "hypervolume": case.share(ap[within], latency_ms[within]),
        "chosen_gap_ap": best_ap - float(ap[int(noisy.argmax())]),
        "smoothed_gap_ap": best_ap - float(ap[int(smoothed.argmax())]),
        "asks": int(answers.asks[count - 1]),
        "over_budget_evaluations": int((~within).sum()),
        "repeated": int(answers.repeated[count - 1]),
        "cpu_ms": float(answers.cpu_ms[max(0, count - 50) : count].mean()),
    }


def wanted_runs(
    variants: Iterable[str], samplers: Iterable[str], seeds: Iterable[int], marks: Sequence[int]
) -> list[dict[str, Any]]:
    """Returns the keys of all runs, seed by seed; GP is run to `GP_UP_TO` and no further."""
    keys = [
        {
            "variant": variant,
            "sampler": sampler,
            "seed": seed,
            "marks": [mark for mark in marks if sampler != "gp" or mark <= GP_UP_TO],
        }
        for seed, variant, sampler in itertools.product(seeds, variants, samplers)
    ]
    return [key for key in keys if key["marks"]]


def rows_of(out: Path, wanted: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows of these runs that are in the folder."""
    return [row for row in read_jsonl(out / ROWS) if _key(row) in wanted]


def missing_runs(out: Path, wanted: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns the keys of the runs that are not in the folder yet."""
    done = [_key(row) for row in rows_of(out, wanted)]
    return [key for key in wanted if key not in done]


def run_into(out: Path, key: Mapping[str, Any], kicks: int = KICKS) -> None:
    """Makes one run and appends its row."""
    figures = run(known(key["variant"], kicks), key["sampler"], key["seed"], key["marks"])
    append_jsonl(out / ROWS, {**key, "figures": figures})


def _key(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("variant", "sampler", "seed", "marks")}


def main() -> None:
    """Runs the parts that the command line names."""
    parser = argparse.ArgumentParser(description="Runs a part of `posesearch bench sampler`.")
    parser.add_argument("--out", type=Path, default=Path("bench"))
    parser.add_argument("--samplers", nargs="+", default=SAMPLERS, choices=SAMPLERS)
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--seeds", nargs="+", type=int, default=range(5))
    parser.add_argument("--marks", nargs="+", type=int, default=MARKS)
    options = parser.parse_args()
    wanted = wanted_runs(options.variants, options.samplers, options.seeds, options.marks)
    for key in missing_runs(options.out, wanted):
        start_s = time.process_time()
        run_into(options.out, key)
        spent_s = time.process_time() - start_s
        print(f"{key['variant']} {key['sampler']} seed {key['seed']}: {spent_s:.0f} CPU s", flush=True)


if __name__ == "__main__":
    main()
