"""Does anything the report calls feasible exceed its budget? The search is asked for the largest networks, then checked.

    posesearch latency build --space demo
    python scripts/winners_curse.py latency/demo-eager-fp32.json

Accuracy is replaced by size, so that the search wants exactly the networks a predictor flatters. The 20 with the most
MACs among those predicted within the budget are asked for as references besides. What the search then claims, after its
checks and its fresh processes, is measured once more in two fresh processes of its own.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from posesearch import rng
from posesearch.latency.meter import LatencyMeter
from posesearch.latency.predictor import LatencyPredictor, load_predictor
from posesearch.latency.process import measure_fresh
from posesearch.latency.table import read_table
from posesearch.latency.types import LatencyBudget
from posesearch.models.cost import cost
from posesearch.progress import PlainProgress
from posesearch.search.question import Question
from posesearch.search.search import run_search
from posesearch.spaces import Architecture

PICKED = 20
DRAWN = 4000
POSITION = 0.5
"""Of the way from the smallest to the largest network's prediction: where the space is dense."""


def largest_predicted(
    predictor: LatencyPredictor, budget: LatencyBudget, *, bounded: bool
) -> list[Architecture]:
    """Returns the `PICKED` random members with the most MACs whose prediction, or its upper bound, is within the budget."""
    draws, space = rng.generator(0, "winners"), predictor.table.space
    drawn = {space.sample(draws) for _ in range(DRAWN)}
    told = {arch: predictor.predict(arch) for arch in drawn}
    within = [
        arch for arch, p in told.items() if (p.high_ms if bounded else p.latency_ms) <= budget.latency_ms
    ]
    return sorted(within, key=lambda arch: -cost(arch).macs)[:PICKED]


def main() -> None:
    """Runs the experiment and prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="a table of this device, from `posesearch latency build`")
    parser.add_argument("--evaluations", type=int, default=60)
    options = parser.parse_args()
    table = read_table(options.table)
    conditions, space = table.fingerprint.conditions, table.space
    predictor = load_predictor(options.table, space=space, conditions=conditions)
    low, high = (predictor.predict(arch).latency_ms for arch in (space.smallest(), space.largest()))
    budget = LatencyBudget(
        latency_ms=round(low + POSITION * (high - low), 2),
        runtime=conditions.runtime,
        precision=conditions.precision,
    )
    picked = {bounded: largest_predicted(predictor, budget, bounded=bounded) for bounded in (False, True)}
    names = {f"picked {n}": arch for n, arch in enumerate(dict.fromkeys(picked[False] + picked[True]))}

    def by_size(arch: Architecture) -> dict[str, float]:
        return {"AP": 1.0 - 1.0 / (1.0 + cost(arch).macs / 1e7)}

    with tempfile.TemporaryDirectory() as folder:
        outcome = run_search(
            space, folder=Path(folder), question=Question.within(budget), evaluations=options.evaluations, evaluate=by_size,
            meter=LatencyMeter(conditions, space.smallest()), predictor=predictor, table=table.id, cost=cost,
            weights_id="size", progress=PlainProgress(), references=names,
            confirm=lambda archs: measure_fresh(archs, conditions), confirm_effort="full",
        )  # fmt: skip
    members = {
        m.candidate.arch: m for m in (*outcome.front, *(reference.member for reference in outcome.references))
    }
    claims = {arch: m for arch, m in members.items() if budget.allows(m.latency)}  # type: ignore[arg-type]
    again = measure_fresh(list(claims), conditions, seed=1000)
    exceed = [arch.code for arch in claims if again[arch.id].ci_low_ms > budget.latency_ms]
    answer = {
        "budget_ms": budget.latency_ms,
        "predictions_multiplied_by": predictor.factor,
        "checked_by_search": len(outcome.checks),
        "front": len(outcome.front),
        "claimed_within_budget": len(claims),
        "exceed_when_measured_again": exceed,
        "median_of_again_over_budget": sum(again[a.id].p50_ms > budget.latency_ms for a in claims),
    }
    for bounded, kind in ((False, "by_prediction"), (True, "by_upper_bound")):
        over = sum(not budget.allows(members[arch].latency) for arch in picked[bounded])  # type: ignore[arg-type]
        answer[f"largest_{kind}"] = {"networks": len(picked[bounded]), "over_budget_when_measured": over}
    print(json.dumps(answer, indent=2))


if __name__ == "__main__":
    main()
