"""Numbers as the report writes them: one way for each unit, and an em dash for what was not measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from posesearch.report.points import Latency, Prediction

NONE = "—"
RUNTIME_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "eager": "eager",
        "cudagraph": "CUDA graph",
        "compile": "torch.compile",
        "onnxruntime": "ONNX Runtime",
        "tensorrt": "TensorRT",
    }
)


def ap_text(value: float | None) -> str:
    """Returns an AP or PCK (0 to 1) with three decimals."""
    return NONE if value is None else f"{value:.3f}"


def ms_text(value: float | None) -> str:
    """Returns milliseconds with three significant digits, and the unit."""
    return NONE if value is None else f"{significant(value)} ms"


def budget_text(value: float) -> str:
    """Returns a budget as the user wrote it, in milliseconds with the unit."""
    return f"{value:g} ms"


def interval_text(latency: Latency | None) -> str:
    """Returns the ends of the interval around a median, such as `2.88-2.95`; empty when unknown."""
    if latency is None or latency.ci_low_ms is None or latency.ci_high_ms is None:
        return ""
    return f"{significant(latency.ci_low_ms)}-{significant(latency.ci_high_ms)}"


def measured_text(latency: Latency | None) -> str:
    """Returns a latency with its interval and whether it is noisy: `1.44 ms [1.38-1.53] noisy`."""
    if latency is None:
        return NONE
    interval = interval_text(latency)
    return (
        f"{ms_text(latency.p50_ms)}{f' [{interval}]' if interval else ''}{' noisy' if latency.noisy else ''}"
    )


def predicted_text(predicted: Prediction, unit: str = " ms") -> str:
    """Returns a prediction with its bound, marked as one: `~1.44 ms [1.38-1.53]`."""
    bound = f"{significant(predicted.low_ms)}-{significant(predicted.high_ms)}"
    return f"~{significant(predicted.latency_ms)}{unit} [{bound}]"


def claimed_text(latency: Latency) -> str:
    """Returns a latency in a sentence: `1.44 ms (1.38-1.53, noisy, 697 images/s)`."""
    words = (interval_text(latency), "noisy" if latency.noisy else "", f"{fps_text(latency)} images/s")
    return f"{ms_text(latency.p50_ms)} ({', '.join(word for word in words if word)})"


def counted(count: int, noun: str) -> str:
    """Returns a count with its noun: `1 ask`, `1,200 asks`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def short_name(name: str) -> str:
    """Returns the name of a preset for a plot: `starnet-pose-t scaled to demo` is `starnet-pose-t*`."""
    preset, _, changed = name.partition(" ")
    return f"{preset}*" if changed else preset


def footnote(names: Iterable[str]) -> str:
    """Returns what the stars of `short_name` stand for: `* scaled to demo`; empty without one."""
    changes = dict.fromkeys(name.partition(" ")[2] for name in names)
    told = " / ".join(change for change in changes if change)
    return f"* {told}" if told else ""


def axis_format(values: Sequence[float]) -> str:
    """Returns the number format of an axis over these values: as many decimals as about eight ticks need to differ."""
    span = max(values) - min(values) if values else 0.0
    digits = math.ceil(-math.log10(span / 8)) if span > 0 else 2
    return f".{min(max(digits, 2), 5)}f"


def count_text(value: int | None) -> str:
    """Returns a count with three significant digits and K, M or G."""
    if value is None:
        return NONE
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " K")):
        if value >= limit:
            return f"{significant(value / limit)}{unit}"
    return str(value)


def megabytes_text(value: int) -> str:
    """Returns bytes as millions of bytes: `12.3 MB`."""
    return f"{significant(value / 1e6)} MB"


def fps_text(latency: Latency | None) -> str:
    """Returns images a second without decimals (one decimal under ten)."""
    if latency is None:
        return NONE
    return f"{latency.fps:,.0f}" if latency.fps >= 10 else f"{latency.fps:.1f}"


def significant(value: float) -> str:
    """Returns three significant digits without an exponent: 0.0512, 2.91, 34.5, 812."""
    if value == 0:
        return "0"
    digits = 3
    magnitude = abs(value)
    while magnitude >= 1 and digits > 0:
        magnitude /= 10
        digits -= 1
    return f"{value:.{max(digits, 0)}f}" if abs(value) >= 0.1 else f"{value:.3g}"


def listed_words(words: tuple[str, ...] | list[str]) -> str:
    """Returns `a`, `a and b` or `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def runtime_name(runtime: str) -> str:
    """Returns a runtime as it is called."""
    return RUNTIME_NAMES.get(runtime, runtime)
