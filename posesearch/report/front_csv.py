"""The front as a table for other programs: one row an architecture, units in the column names."""

from __future__ import annotations

from posesearch.report.points import Point
from posesearch.report.rows import RunRows


def front_csv(rows: RunRows) -> str:
    """Returns the front and the references as CSV; `rank` is empty for references."""
    import pandas as pd

    lines = [_line(rows, point, rank) for rank, point in enumerate(rows.front, 1)]
    lines += [_line(rows, point, None) for point in rows.references]
    table = pd.DataFrame(lines, columns=list(_line(rows, _EMPTY, None)))
    whole = [name for name in ("rank", "params", "macs", "calculated_memory_bytes") if name in table]
    table[whole] = table[whole].astype("Int64")
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text


MEMORY = "memory_bytes"
_EMPTY = Point(arch_id="", code="", ap=None, latency=None, feasible=False)


def _line(rows: RunRows, point: Point, rank: int | None) -> dict[str, object]:
    latency = point.latency
    limited = any(limit.name == MEMORY for limit in rows.limits)
    return {
        "rank": rank,
        "pick": "+".join(rows.pick_names(point.arch_id)) if rank is not None else "",
        "reference": point.name,
        "supernet_ap": point.ap,
        "latency_p50_ms": latency.p50_ms if latency else None,
        "latency_ci_low_ms": latency.ci_low_ms if latency else None,
        "latency_ci_high_ms": latency.ci_high_ms if latency else None,
        "latency_p90_ms": latency.p90_ms if latency else None,
        "fps": latency.fps if latency else None,
        "latency_confirmed": point.confirmed,
        "noisy": latency.noisy if latency else None,
        "params": point.params,
        "macs": point.macs,
        "arch_id": point.arch_id,
        "code": point.code,
        "predicted_latency_ms": point.predicted.latency_ms if point.predicted else None,
        **({"supernet_loss": point.loss} if "loss" in rows.objectives else {}),
        **({"calculated_memory_bytes": point.memory_bytes} if limited else {}),
    }
