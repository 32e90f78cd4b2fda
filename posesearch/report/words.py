"""Numbers as the report writes them: one way for each unit, and an em dash for what was not measured."""

from __future__ import annotations

from posesearch.report.rows import Latency

NONE = "—"


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


def count_text(value: int | None) -> str:
    """Returns a count with three significant digits and K, M or G."""
    if value is None:
        return NONE
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " K")):
        if value >= limit:
            return f"{significant(value / limit)}{unit}"
    return str(value)


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
