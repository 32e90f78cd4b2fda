"""A known problem put to the real search: its loop, its study, its samplers; only the networks are formulas."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posesearch.bench.sampler_problem import BUDGET_MS, Floats, Indices, Problem
from posesearch.latency.types import Latency, LatencyBudget, Predicted
from posesearch.search.loop import SearchLoop
from posesearch.search.memo import AccuracyMemo
from posesearch.search.memory import MemoryStorage
from posesearch.search.question import Question
from posesearch.search.samplers import Genes
from posesearch.search.study import SearchStudy, quiet_optuna
from posesearch.spaces.arch import Architecture


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What a search evaluated, in order.

    Attributes:
        members_NG: The members, places among the choices.
        noisy_ap: Their accuracies as they were told, AP points.
        asks: Asks up to each evaluation, those over budget and repeated included.
        repeated: Repeated asks up to each evaluation.
        cpu_ms: CPU time of each evaluation and the asks before it, milliseconds; the formula's own is next to nothing.
    """

    members_NG: Indices
    noisy_ap: Floats
    asks: Indices
    repeated: Indices
    cpu_ms: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class FormulaCost:
    """What the search reads of a cost; latency comes from the formula, so all counts are the same."""

    params: int = 1
    macs: int = 1
    operators: int = 1
    activation_bytes: int = 1

    def to_plain(self) -> dict[str, Any]:
        """Returns JSON-ready values."""
        return {"params": self.params, "macs": self.macs, "operators": self.operators}


def _cost_of(_arch: Architecture) -> FormulaCost:
    return FormulaCost()


class FormulaJudge:
    """Answers as a table without errors would (`search.judge.LatencyJudge`)."""

    predicts = True

    def __init__(self, latency_ms: Callable[[Architecture], float]) -> None:
        self.aim_ms = latency_ms

    def latency(self, arch: Architecture) -> Latency:
        """Returns what decides."""
        return self.prediction(arch)

    def prediction(self, arch: Architecture) -> Predicted:
        """Returns the latency, without an interval."""
        exact_ms = self.aim_ms(arch)
        return Predicted(latency_ms=exact_ms, low_ms=exact_ms, high_ms=exact_ms, source="formula")


def search_answers(
    problem: Problem, sampler: str, *, seed: int, evaluations: int, noise_ap: float = 0.0
) -> Answers:
    """Searches a problem within `BUDGET_MS` and returns all evaluations.

    Args:
        problem: The problem.
        sampler: "surrogate", "gp", "nsga2" or "tpe".
        seed: Key of the proposals and of the noise.
        evaluations: How many to make; fewer where the search finds nothing new.
        noise_ap: Standard deviation of the error of an evaluation, AP points.
    """

    def evaluate(arch: Architecture) -> Mapping[str, Any]:
        return {"AP": float(problem.noisy_ap(problem.places([arch]), noise_ap, seed)[0]) / 100.0}

    latency_ms = functools.lru_cache(maxsize=50_000)(
        lambda arch: float(problem.latency_ms(problem.places([arch]))[0])
    )
    genes, question = Genes(problem.space, sampler), Question.within(LatencyBudget(latency_ms=BUDGET_MS))
    spent_ms: list[float] = []
    asks: list[int] = []
    with tempfile.TemporaryDirectory(prefix="posesearch-sampler-") as folder, quiet_optuna():
        study = SearchStudy(Path(folder), problem.space, "bench", genes, question, MemoryStorage())
        memo = AccuracyMemo(Path(folder) / "evaluations.jsonl", "formula", evaluate, _cost_of)
        loop = SearchLoop(
            problem.space,
            study,
            memo,
            question=question,
            judge=FormulaJudge(latency_ms),  # type: ignore[arg-type]
            cost=_cost_of,
            genes=genes,
            sampler=sampler,
            seed=seed,
            evaluations=evaluations,
            warm_starts=[(problem.space.smallest(), "smallest"), (problem.space.largest(), "largest")],
        )
        start_s = time.process_time()
        while len(asks) < evaluations and loop.why_stop() is None:
            loop.step()
            if loop.evaluated > len(asks):
                now_s = time.process_time()
                spent_ms.append(1e3 * (now_s - start_s))
                asks.append(len(study.candidates))
                start_s = now_s
        candidates = study.candidates
    evaluated = [c for c in candidates if c.ap is not None and not c.repeated]
    repeats = np.cumsum([c.repeated for c in candidates])
    return Answers(
        members_NG=problem.places([c.arch for c in evaluated]),
        noisy_ap=np.array([100.0 * (c.ap or 0.0) for c in evaluated]),
        asks=np.array(asks),
        repeated=repeats[np.array(asks) - 1],
        cpu_ms=np.array(spent_ms),
    )
