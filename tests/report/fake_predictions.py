"""A run that searched by a latency table: predictions before measurements, and what the flow hands over besides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from fake_run_folder import measured, write, write_lines

TABLE = "0a1b2c3d4e5f"
LOW, HIGH = -0.04, 0.05
PARTS = ("stem", "downsampling", "stage0", "stage1", "stage2", "stage3", "attention", "head", "the call")


def predicted(latency_ms: float, source: str = TABLE) -> dict[str, Any]:
    """A predicted latency with its bound."""
    return {
        "kind": "predicted",
        "latency_ms": latency_ms,
        "low_ms": latency_ms * (1 + LOW),
        "high_ms": latency_ms * (1 + HIGH),
        "source": source,
    }


def searched_by_table(run: Path, *, label: str = "") -> dict[str, Any]:
    """Turns the search of a run into one by a table, and returns the extras of its report.

    Of every three candidates two keep a prediction alone, as those do that are clearly within or over the budget; the
    front is measured. With `label` nothing at all is measured.
    """
    rng = np.random.default_rng(1)
    file = run / "search" / "candidates.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for number, row in enumerate(rows):
        row["predicted"] = predicted(row["latency"]["p50_ms"] * (1 + float(rng.normal(0, 0.02))))
        if label or number % 3:
            row["latency"] = row["predicted"]
    write_lines(file, rows)
    by_id = {row["arch_id"]: row for row in rows}
    result = json.loads((run / "search" / "result.json").read_text())
    for row in result["front"]:
        row["predicted"] = by_id[row["arch_id"]]["predicted"]
        if label:
            row |= {"latency": row["predicted"], "confirmed": None, "verdict": "unverified"}
            row.pop("confirmed_also", None)
    result["checks"] = [] if label else [_check(row) for row in result["front"][:-1]]
    result |= {"table": TABLE, "label": label}
    if label:
        for row in result["references"]:
            row |= {"latency": predicted(row["latency"]["p50_ms"])}
    write(run / "search" / "result.json", result)
    return extras_for(result, rows)


def extras_for(result: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What `flows.report_extras` computes for a run."""
    shown = {row["arch_id"]: row for row in (*result["front"], *result["references"])}
    return {
        "table": {"id": TABLE, "file": "latency/starnet-eager-fp32.json"},
        "priced": [
            {"arch_id": key, "predicted_ms": 4.5, "parts": [_part(name, 0.5) for name in PARTS]}
            for key in shown
        ],
        "nets": [
            {
                "operators": row["cost"]["operators"],
                "macs": row["cost"]["macs"],
                "p50_ms": 0.0125 * row["cost"]["operators"] + 0.9e-9 * row["cost"]["macs"],
            }
            for row in rows[:40]
        ],
        "kernels": [
            {"arch_id": key, "count": 200 + 10 * number, "unit": "ATen calls"}
            for number, key in enumerate(shown)
        ],
    }


def _check(row: dict[str, Any]) -> dict[str, Any]:
    figures = {key: row[key] for key in ("arch_id", "code", "arch", "predicted")}
    return figures | {"measured": measured(row["confirmed"]["p50_ms"] * 0.999), "round": 1}


def _part(name: str, latency_ms: float) -> dict[str, Any]:
    return {"name": name, "latency_ms": latency_ms}
