"""A run folder as the main path leaves it, with made-up numbers: every row has the keys of the real ones."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from posesearch.models.cost import cost
from posesearch.spaces import Architecture, load_preset, load_space

STUDY = "starnet-2f1c"
BUDGET_MS = 3.5
SPLITS = {"search": 612, "val": 600}
PRESETS = ("starnet-pose-t", "starnet-pose-s")


def build_run(
    folder: Path,
    *,
    asks: int = 160,
    seed: int = 0,
    budget_ms: float = BUDGET_MS,
    search: bool = True,
    finished: bool = True,
    models: bool = True,
    retrained: bool = True,
    name: str | None = None,
    noise: str = "quiet",
) -> Path:
    """Writes the files of a run; each flag leaves out a stage that has not run."""
    space = load_space("starnet")
    rng = np.random.default_rng(seed)
    manifest = {
        "format": 1,
        "name": name or folder.name,
        "created": "2026-02-03T10:11:12Z",
        "kind": "supernet",
        "command": ["posesearch", "supernet-train", "--space", "starnet"],
        "versions": {
            "posesearch": "0.1.0",
            "torch": "2.13.0",
            "numpy": "2.4.6",
            "optuna": "5.0.0",
            "python": "3.11.7",
        },
        "seed": 0,
        "space": space.to_plain(),
        "space_id": space.id,
        "data": {"data": "people", "annotations": None},
        "recipe": {"name": "demo", "epochs": 24},
        "device": "cuda:0 NVIDIA H200",
        "search_split": {"persons": SPLITS["search"], "images": 500},
    }
    write(folder / "run.json", manifest)
    write_lines(
        folder / "supernet" / "metrics.jsonl", supernet_metrics(rng, epochs=24, input_size=space.input_size)
    )
    (folder / "supernet" / "supernet.safetensors").write_bytes(b"weights")
    if not search:
        return folder
    rows = [candidate(space.sample(rng), trial, rng, budget_ms, noise) for trial in range(asks)]
    rows[0] = candidate(space.largest(), 0, rng, budget_ms, noise, origin="largest")
    rows[1] = candidate(space.smallest(), 1, rng, budget_ms, noise, origin="smallest")
    write_lines(folder / "search" / "candidates.jsonl", rows)
    evaluated = [row for row in rows if row["AP"] is not None]
    write_lines(
        folder / "search" / "evaluations.jsonl",
        (
            {key: row[key] for key in ("arch_id", "code", "arch", "cost")}
            | {"evaluation": evaluation(row["AP"], "search"), "seconds": 1.2}
            for row in evaluated
        ),
    )
    if not finished:
        return folder
    front = pareto(evaluated)
    for row in front:
        row["confirmed"] = measured(row["latency"]["p50_ms"] * 1.004, noise)
        row["confirmed_also"] = {"cudagraph": measured(row["latency"]["p50_ms"] / 4, noise)}
    references = [
        candidate(
            load_preset(preset), None, rng, budget_ms, noise, origin=f"reference: {preset}", always=True
        )
        | {"reference": preset}
        for preset in PRESETS
    ]
    picks = (
        {
            "best": front[-1]["arch_id"],
            "knee": front[len(front) // 2]["arch_id"],
            "fastest": front[0]["arch_id"],
        }
        if front
        else {}
    )
    result = {
        "study": STUDY,
        "budget": {
            "latency_ms": budget_ms,
            "percentile": "p50",
            "runtime": "eager",
            "precision": "float32",
        },
        "sampler": "GP",
        "asks": len(rows),
        "evaluations": len(evaluated),
        "status": "ok" if front else "infeasible",
        "front": front,
        "picks": picks,
        "references": references if front else [],
        "fastest": min(rows, key=lambda row: row["latency"]["p50_ms"]),
    }
    write(folder / "search" / "result.json", result)
    if not (models and front):
        return folder
    for model_name, pick in (("T", "knee"), ("S", "best")):
        row = next(row for row in front if row["arch_id"] == picks[pick])
        record = {
            "name": model_name,
            "pick": pick,
            "arch": row["arch"],
            "code": row["code"],
            "cost": row["cost"],
            "supernet": evaluation(row["AP"], "search"),
            "extracted": evaluation(row["AP"] - 0.012, "val"),
            "retrained": evaluation(row["AP"] + 0.061, "val") if retrained else None,
            "latency": row["confirmed"],
            "confirmed_also": row["confirmed_also"],
            "parity": {"max_abs_diff": 0.0},
            "file": f"models/{model_name}.safetensors",
        }
        write(folder / "models" / f"{model_name}.json", record)
        if retrained:
            write_lines(
                folder / "models" / model_name / "metrics.jsonl",
                model_metrics(rng, epochs=24, top=row["AP"] + 0.061),
            )
    return folder


def candidate(
    arch: Architecture,
    trial: int | None,
    rng: np.random.Generator,
    budget_ms: float,
    noise: str = "quiet",
    *,
    origin: str = "sampler",
    always: bool = False,
) -> dict[str, Any]:
    """One row of candidates.jsonl: latency follows depth and MACs, AP follows size with diminishing returns."""
    plain = cost(arch).to_plain()
    latency_ms = 0.35 + 0.0125 * plain["operators"] + 0.9e-9 * plain["macs"] + abs(rng.normal(0, 0.02))
    reach = math.log10(plain["macs"] / 3e7) + 0.05 * sum(stage.kernel for stage in arch.stages) / 7
    reach += 0.05 * sum(stage.attention for stage in arch.stages[2:])
    accuracy = 0.74 - 0.32 * math.exp(-1.15 * reach) + float(rng.normal(0, 0.006))
    feasible = latency_ms <= budget_ms
    return {
        "trial": trial,
        "arch_id": arch.id,
        "code": arch.code,
        "arch": arch.to_plain(),
        "cost": plain,
        "latency": measured(latency_ms, noise),
        "feasible": feasible,
        "AP": accuracy if feasible or always else None,
        "origin": origin,
        "study": STUDY,
    }


def measured(p50_ms: float, noise: str = "quiet") -> dict[str, Any]:
    """A measured latency."""
    return {
        "kind": "measured",
        "p50_ms": p50_ms,
        "p90_ms": p50_ms * 1.03,
        "ci_low_ms": p50_ms * 0.993,
        "ci_high_ms": p50_ms * 1.009,
        "runtime": "eager",
        "precision": "float32",
        "device": "NVIDIA H200",
        "threads": 1,
        "batch": 1,
        "rounds": 20,
        "processes": 1,
        "noise": noise,
        "protocol": "interleaved rounds, warm-up until stable",
        "fps": 1000 / p50_ms,
    }


def evaluation(ap: float, split: str) -> dict[str, Any]:
    """An evaluation with all its labels."""
    figures = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL", "PCK")
    values: dict[str, Any] = {key: min(ap + 0.01 * index, 1.0) for index, key in enumerate(figures)}
    return values | {
        "boxes": "gt",
        "flip": False,
        "input_size": [256, 192],
        "persons": SPLITS[split],
        "split": split,
    }


def supernet_metrics(
    rng: np.random.Generator, epochs: int, input_size: tuple[int, int]
) -> Iterable[dict[str, Any]]:
    """The metrics of a supernet training with probes every four epochs."""
    for epoch in range(1, epochs + 1):
        base = 2.2 + 7.5 * math.exp(-epoch / 6)
        losses = {
            "largest": base + float(rng.normal(0, 0.05)),
            "smallest": base * 1.28 + float(rng.normal(0, 0.05)),
            "random": base * 1.12 + float(rng.normal(0, 0.05)),
            "distil": 0.4 * base,
        }
        yield training_row(epoch, losses["largest"]) | losses
        if epoch % 4 == 0:
            for kind, top in (("largest", 0.71), ("smallest", 0.55)):
                ap = top * (1 - math.exp(-epoch / 7))
                yield {
                    "epoch": epoch,
                    "step": 90 * epoch,
                    "evaluated": kind,
                    "evaluation": evaluation(ap, "search"),
                }


def model_metrics(rng: np.random.Generator, epochs: int, top: float) -> Iterable[dict[str, Any]]:
    """The metrics of a retraining."""
    for epoch in range(1, epochs + 1):
        yield training_row(epoch, 1.9 + 3.5 * math.exp(-epoch / 5) + float(rng.normal(0, 0.04)))
        if epoch % 6 == 0:
            yield {
                "epoch": epoch,
                "step": 90 * epoch,
                "evaluated": "model",
                "evaluation": evaluation(top * (1 - math.exp(-epoch / 6)), "val"),
            }


def training_row(epoch: int, loss: float) -> dict[str, Any]:
    """One epoch's row."""
    return {
        "epoch": epoch,
        "step": 90 * epoch,
        "lr": 0.004,
        "loss": loss,
        "skipped_steps": 0,
        "images_per_s": 310.0,
        "elapsed_s": 9.0 * epoch,
    }


def pareto(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that none beats, fastest first."""
    front: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda row: row["latency"]["p50_ms"]):
        if not front or row["AP"] > front[-1]["AP"]:
            front.append(dict(row))
    return front


def write(file: Path, value: Any) -> None:
    """Writes JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value), encoding="utf-8")


def write_lines(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes JSON lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
