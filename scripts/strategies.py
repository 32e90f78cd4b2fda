"""Differentiable search against sampling alone, on one trained run, at equal CPU time.

    posesearch latency build --run RUN
    python scripts/strategies.py RUN latency/demo-eager-fp32.json --latency-ms 1.6

For each seed the sampler makes `--evaluations` evaluations, and the CPU time that took, its own proposals included, is what
the other strategy has for everything: learning its distributions, evaluating what they gave, and the sampler after that.
Latencies are the table's upper bounds for both, and nothing is measured, so that accuracies alone differ. All in folders
of its own; the run is only read. One thread, so that CPU time is time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from posesearch.errors import Interrupted
from posesearch.files import read_jsonl
from posesearch.flows.differentiable import Strategy, fitting, limits_of
from posesearch.flows.material import Material
from posesearch.flows.runs import open_run, settings_of
from posesearch.flows.supernet import evaluate_subnet, load_supernet
from posesearch.flows.tables import TableChoice, build_id
from posesearch.latency.predictor import read_predictor
from posesearch.latency.types import LatencyBudget
from posesearch.models.cost import cost
from posesearch.progress import PlainProgress
from posesearch.search.differentiable import search_by_gradient
from posesearch.search.front import hypervolume
from posesearch.search.objectives import Budgets
from posesearch.search.question import Question
from posesearch.search.search import run_search
from posesearch.spaces import Architecture

MANY = 100_000


def main() -> None:
    """Runs the comparison and prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="a run with a trained supernet")
    parser.add_argument("table", type=Path, help="a latency table of its space")
    parser.add_argument("--latency-ms", type=float, required=True)
    parser.add_argument("--evaluations", type=int, default=100, help="of the sampler alone")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--theta-epochs", type=int)
    parser.add_argument("--sampler", default="auto")
    options = parser.parse_args()
    torch.set_num_threads(1)
    comparison = Comparison(options)
    rows = [row for seed in range(options.seeds) for row in comparison.of_seed(seed)]
    print(json.dumps({"budget_ms": options.latency_ms, "run": options.run, "rows": rows}, indent=2))


class Comparison:
    """Both strategies on one run.

    Args:
        options: The command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        opened = open_run(options.run, kind="supernet")
        settings = settings_of(opened)
        self.options, self.recipe = options, settings.recipe
        self.supernet, _ = load_supernet(opened)
        self.space = self.supernet.space
        predictor = read_predictor(options.table, space=self.space)
        self.table = TableChoice(
            path=options.table, predictor=predictor, build_id=build_id(predictor.table), absent=True
        )
        conditions = predictor.fingerprint.conditions
        self.budgets = Budgets(
            latency=LatencyBudget(
                latency_ms=options.latency_ms, runtime=conditions.runtime, precision=conditions.precision
            )
        )
        self.material = Material.prepare(
            settings.data.load("train"), self.recipe, input_size=self.space.input_size, seed=settings.seed,
            device=torch.device("cpu"), progress=PlainProgress(),
        )  # fmt: skip

    def of_seed(self, seed: int) -> list[dict[str, Any]]:
        """Returns a row of either strategy."""
        with tempfile.TemporaryDirectory() as folder:
            began_s = time.process_time()
            self._search(Path(folder) / "sample", seed, self.options.evaluations)
            limit_s = time.process_time() - began_s
            sample = self._row("sample", Path(folder) / "sample", seed, limit_s, 0.0)

            began_s = time.process_time()
            spent: Callable[[], float] = lambda: time.process_time() - began_s  # noqa: E731
            config = Strategy(name="differentiable", epochs=self.options.theta_epochs).config(
                self.recipe, self.options.evaluations
            )
            found = search_by_gradient(
                self.supernet, self.material.fit_part, self.material.store, self.recipe,
                limits_of(self.budgets, self.table, self.space), fitting(self.budgets, self.table),
                config=config, folder=Path(folder) / "theta", seed=seed, progress=PlainProgress(),
            )  # fmt: skip
            learning_s = spent()
            warm = [(arch, "differentiable") for arch in found.archs]
            with contextlib.suppress(Interrupted):
                # So many that the sampler is the same one, and the time decides.
                self._search(
                    Path(folder) / "both", seed, self.options.evaluations, warm, lambda: spent() >= limit_s
                )
            both = self._row("differentiable", Path(folder) / "both", seed, spent(), learning_s)
        return [sample, both]

    def _search(
        self,
        folder: Path,
        seed: int,
        evaluations: int,
        warm: Sequence[tuple[Architecture, str]] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        run_search(
            self.space, folder=folder, question=Question(budgets=self.budgets), evaluations=evaluations,
            evaluate=lambda arch: evaluate_subnet(
                self.supernet, arch, self.material, torch.device("cpu")
            ).to_plain(),
            meter=None, predictor=self.table.predictor, table=self.table.build_id, cost=cost, weights_id="one run",
            progress=PlainProgress(), stop=stop, warm=warm, sampler=self.options.sampler, seed=seed,
        )  # fmt: skip

    def _row(self, name: str, folder: Path, seed: int, cpu_s: float, learning_s: float) -> dict[str, Any]:
        rows = [row for row in read_jsonl(folder / "candidates.jsonl") if row["AP"] is not None]
        budget_ms = self.options.latency_ms
        points = [(row["AP"], row["latency"]["latency_ms"]) for row in rows]
        derived = [row["AP"] for row in rows if row["origin"] == "differentiable"]
        best = max(rows, key=lambda row: row["AP"])
        return {
            "strategy": name,
            "seed": seed,
            "cpu_s": round(cpu_s, 1),
            "learning_cpu_s": round(learning_s, 1),
            "evaluations": len(rows),
            "best_AP": best["AP"],
            "best_code": best["code"],
            "best_origin": best["origin"],
            "best_of_derived_AP": max(derived, default=None),
            "hypervolume": hypervolume(points, (0.0, budget_ms)),
        }


if __name__ == "__main__":
    main()
