"""Reading stored latencies: measured and predicted ones become different values, and neither is taken for the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posesearch.report.fields import mapping, number, text
from posesearch.report.points import Latency, Prediction


def latency_of(plain: Any, where: str) -> Latency | None:
    """Returns a measured latency; None where there is none or only a prediction, which is another thing."""
    if not plain:
        return None
    plain = mapping(plain, where)
    median = number(plain, "p50_ms", where)
    if plain.get("kind") != "measured" or median is None or median <= 0:
        return None
    threads = plain.get("threads")
    words = [text(plain, key) for key in ("runtime", "precision", "device")]
    words.append(f"{threads} thread{'s' if threads != 1 else ''}" if threads else "")
    words.append(f"batch {plain['batch']}" if plain.get("batch") else "")
    return Latency(
        p50_ms=median,
        p90_ms=number(plain, "p90_ms", where),
        ci_low_ms=number(plain, "ci_low_ms", where),
        ci_high_ms=number(plain, "ci_high_ms", where),
        where=", ".join(word for word in words if word),
        noisy=plain.get("noise") == "noisy",
        runtime=text(plain, "runtime"),
        device_ms=number(plain, "device_ms", where),
    )


def prediction_of(plain: Any, where: str) -> Prediction | None:
    """Returns a predicted latency; None where there is none or a measured one."""
    if not plain:
        return None
    plain = mapping(plain, where)
    latency_ms = number(plain, "latency_ms", where)
    if plain.get("kind") != "predicted" or latency_ms is None or latency_ms <= 0:
        return None
    low_ms, high_ms = number(plain, "low_ms", where), number(plain, "high_ms", where)
    return Prediction(
        latency_ms=latency_ms,
        low_ms=latency_ms if low_ms is None else low_ms,
        high_ms=latency_ms if high_ms is None else high_ms,
        source=text(plain, "source"),
        factor=number(plain, "factor", where) or 1.0,
    )


def also_of(plain: Any, where: str) -> tuple[tuple[str, Latency], ...]:
    """Returns the latencies in further runtimes by the runtime's name."""
    if not plain:
        return ()
    found: Mapping[str, Any] = mapping(plain, where)
    timed = ((runtime, latency_of(value, f"{where}: {runtime}")) for runtime, value in found.items())
    return tuple((runtime, latency) for runtime, latency in timed if latency is not None)
