"""Measuring in fresh processes: what a printed latency claim rests on.

A process has its own memory layout, allocator state and cuDNN choices; between processes the same network differs by
6-13 % on a busy machine, which no interval from within one process shows. `python -m posesearch.latency.process` is the
process that answers (see `child`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from posesearch.child import ask, serve
from posesearch.config import parse_stored
from posesearch.latency.deploy import deploy
from posesearch.latency.effort import EFFORTS, EffortName
from posesearch.latency.measure import measure_many
from posesearch.latency.statistics import QUIET
from posesearch.latency.types import Conditions, Measured, measured_from_plain
from posesearch.models.pose import PoseModel
from posesearch.spaces.arch import Architecture

START_S = 120.0
"""Allowance for starting Python, importing torch and, on a GPU, making a context on a loaded machine."""

BUILD_S = {"compile": 180.0, "onnxruntime": 30.0, "tensorrt": 300.0}
"""Allowance a network for compiling, exporting or building an engine; torch's eager and graph modes need none."""


def measure_fresh(
    archs: Sequence[Architecture],
    conditions: Conditions,
    *,
    processes: int = 2,
    effort: EffortName = "full",
    seed: int = 0,
) -> dict[str, Measured]:
    """Measures architectures side by side in one fresh process after another.

    Args:
        archs: Architectures of one input size; duplicates are measured once.
        conditions: Device, runtime, precision, threads, batch, memory format.
        processes: How many processes, at least 1; two are the protocol's minimum.
        effort: A key of `effort.EFFORTS`: "full", or "brief" where minutes count.
        seed: Key of the visiting order; each process has its own.

    Returns:
        Latency by `Architecture.id`: the median of the processes' medians, and an interval that spans all of theirs.

    Raises:
        EnvironmentFault: A process died; the message ends with the last lines it wrote.
    """
    unique = {arch.id: arch for arch in archs}
    if not unique:
        return {}
    runs = [_one_process(list(unique.values()), conditions, effort, seed + n) for n in range(processes)]
    return {key: combine([run[key] for run in runs]) for key in unique}


def combine(runs: Sequence[Measured]) -> Measured:
    """Joins the figures of one network from several processes.

    The interval runs from the lowest to the highest end of any process: the difference between processes is part of
    the error.
    """
    p50_ms = float(np.median([run.p50_ms for run in runs]))
    spread = (max(run.p50_ms for run in runs) - min(run.p50_ms for run in runs)) / p50_ms
    noisy = spread > QUIET or any(run.noise == "noisy" for run in runs)
    first = runs[0]
    return Measured(
        p50_ms=p50_ms,
        p90_ms=float(np.median([run.p90_ms for run in runs])),
        ci_low_ms=min(run.ci_low_ms for run in runs),
        ci_high_ms=max(run.ci_high_ms for run in runs),
        runtime=first.runtime,
        precision=first.precision,
        device=first.device,
        threads=first.threads,
        batch=first.batch,
        memory_format=first.memory_format,
        device_ms=_median(run.device_ms for run in runs),
        first_call_ms=_median(run.first_call_ms for run in runs),
        over_sentinel=float(np.median([run.over_sentinel for run in runs])),
        notes=tuple(dict.fromkeys(note for run in runs for note in run.notes)),
        rounds=sum(run.rounds for run in runs),
        processes=len(runs),
        noise="noisy" if noisy else "quiet",
        process_spread=spread,
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _one_process(
    archs: Sequence[Architecture], conditions: Conditions, effort: EffortName, seed: int
) -> dict[str, Measured]:
    request = {
        "archs": [arch.to_plain() for arch in archs],
        "conditions": conditions.to_plain(),
        "effort": effort,
        "seed": seed,
    }
    # A network needs its warm-up and its rounds; ten times the usual covers a slow device.
    each_s = 10.0 * (EFFORTS[effort].max_s + EFFORTS[effort].max_warm_up_s)
    answer = ask(
        "posesearch.latency.process",
        request,
        process="latency process",
        work=f"{len(archs)} networks",
        limit_s=START_S + len(archs) * (each_s + BUILD_S.get(conditions.runtime, 0.0)),
        when_late="The machine is too busy to measure: close other programs and run the same command again.",
        when_dead="Free memory or choose another --device, then run the same command again.",
    )
    return {key: measured_from_plain(plain, "latency process") for key, plain in answer.items()}


def answer_request(request: Mapping[str, Any]) -> dict[str, Any]:
    """Measures what a request asks for, in this process."""
    archs = [Architecture.from_plain(plain, "latency request") for plain in request["archs"]]
    conditions = parse_stored(Conditions, request["conditions"], "latency request")
    measured = measure_many(
        {arch.id: deploy(PoseModel(arch), conditions) for arch in archs},
        input_size=archs[0].input_size,
        conditions=conditions,
        effort=EFFORTS[request["effort"]],
        seed=int(request["seed"]),
    )
    return {key: value.to_plain() for key, value in measured.items()}


def main() -> int:
    """Answers one request from standard input."""
    return serve(answer_request)


if __name__ == "__main__":
    sys.exit(main())
