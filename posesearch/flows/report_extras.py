"""What the report cannot read from the run folder: the picks by their latency table, and kernels a forward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from posesearch.errors import DataError, EnvironmentFault
from posesearch.files import read_json_object, write_json_atomic
from posesearch.flows.latency import TABLES
from posesearch.flows.tables import build_id
from posesearch.latency.device import block_source
from posesearch.latency.kernels import KernelCount, kernels_per_forward
from posesearch.latency.parts import latency_parts
from posesearch.latency.predictor import LatencyPredictor
from posesearch.latency.table import LatencyTable, read_table
from posesearch.latency.types import Conditions, Measured
from posesearch.models.cost import cost
from posesearch.models.deploy import deployed
from posesearch.models.pose import PoseModel
from posesearch.run import MANIFEST, Run
from posesearch.search.outcome import RESULT, SearchOutcome, read_outcome
from posesearch.spaces import Architecture, SearchSpace

KERNELS = "kernels.json"
"""The kernel counts of earlier reports, in the search folder."""


def report_extras(opened: Run) -> dict[str, Any]:
    """Returns what `report.extras.extras_of` reads; empty before a search has ended.

    Raises:
        DataError: The run's manifest or result is damaged.
        EnvironmentFault: The counts cannot be kept.
    """
    if not opened.path("search", RESULT).is_file():
        return {}
    outcome = read_outcome(opened.path("search"))
    space = SearchSpace.from_plain(opened.manifest.get("space"), f"space in {opened.path(MANIFEST)}")
    picks = list(dict.fromkeys(outcome.picks.values()))
    shown = [*picks, *(reference.member.candidate.arch for reference in outcome.references)]
    extras: dict[str, Any] = {"kernels": _kernels(opened, picks, outcome.conditions or Conditions())}
    found = table_of(outcome, space)
    if found is not None:
        file, table = found
        predictor = LatencyPredictor(table)
        extras |= {
            "table": {"id": table.id, "file": file},
            "priced": [
                {
                    "arch_id": arch.id,
                    "predicted_ms": predictor.predict(arch).latency_ms,
                    "parts": [part.to_plain() for part in latency_parts(arch, predictor)],
                }
                for arch in dict.fromkeys(shown)
            ],
            "nets": _timed_nets(table),
        }
    return extras


def table_of(outcome: SearchOutcome, space: SearchSpace) -> tuple[str, LatencyTable] | None:
    """Returns file and content of the latency table a search went by, else of the newest one that fits its figures.

    A damaged table is passed over: the report is about the run, and `posesearch latency show` tells of the table.
    """
    latency = outcome.fastest_latency
    device = latency.device if isinstance(latency, Measured) else outcome.predicted_for
    fitting = []
    for path in sorted(TABLES.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            table = read_table(path)
        except DataError:
            continue
        stored = table.fingerprint
        if (
            table.space.id == space.id
            and stored.device == device
            and _same(outcome.conditions, stored.conditions)
        ):
            fitting.append((str(path), table))
    used = [(file, table) for file, table in fitting if outcome.table and build_id(table) == outcome.table]
    return next(iter((*used, *fitting)), None)


def _same(searched: Conditions | None, stored: Conditions) -> bool:
    """Says whether figures of both are comparable; which of its GPUs a machine used does not matter."""
    names = ("runtime", "precision", "threads", "batch", "memory_format")
    return searched is not None and all(getattr(searched, name) == getattr(stored, name) for name in names)


def _timed_nets(table: LatencyTable) -> list[dict[str, Any]]:
    """Returns the networks of the first run with their counts; those a search selected lie at its budget alone."""
    rows = []
    for net in table.nets:
        if net.role != "selected":
            counted = cost(table.space.arch_from_code(net.code))
            rows.append({"operators": counted.operators, "macs": counted.macs, "p50_ms": net.runs_ms[0]})
    return rows


def _kernels(opened: Run, archs: Sequence[Architecture], conditions: Conditions) -> list[dict[str, Any]]:
    """Returns what one forward of each architecture launches, counted once and kept."""
    path = opened.path("search", KERNELS)
    on_gpu = torch.device(conditions.device).type == "cuda" and torch.cuda.is_available()
    # Operators are the same in every precision and memory format, and float32 runs on any CPU.
    asked = conditions if on_gpu else Conditions(batch=conditions.batch)
    basis = {"conditions": asked.to_plain(), "block_source": block_source(), "torch": str(torch.__version__)}
    kept = (
        read_json_object(path, "kernel counts", "Delete it: it is counted again.") if path.is_file() else {}
    )
    counts: dict[str, Any] = dict(kept.get("counts", {})) if kept.get("basis") == basis else {}
    missing = [arch for arch in archs if arch.id not in counts]
    for arch in missing:
        counts[arch.id] = _count(arch, asked).to_plain()
    if missing:
        write_json_atomic(path, {"basis": basis, "counts": counts})
    return [{"arch_id": arch.id, **counts[arch.id]} for arch in archs]


def _count(arch: Architecture, conditions: Conditions) -> KernelCount:
    network = deployed(PoseModel(arch))
    try:
        return kernels_per_forward(network, arch.input_size, conditions)
    except EnvironmentFault:
        # A GPU that is full or a runtime that is no longer there: a report is drawn all the same.
        return kernels_per_forward(network, arch.input_size, Conditions(batch=conditions.batch))
