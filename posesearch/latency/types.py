"""Latency as a value: what was measured, what was only predicted, and the budget that accepts the first alone.

`Predicted` and `Measured` are different types on purpose. A search may be steered by predictions, but a budget is met
by a measurement or not at all, so `LatencyBudget` refuses anything else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from posesearch.config import parse_stored, to_plain
from posesearch.errors import DataError, UsageError, did_you_mean

PROTOCOL = "v1"
"""Name of the measuring protocol; figures of different protocols are not comparable."""

PRECISIONS = ("fp32", "fp16", "bf16")
MEMORY_FORMATS = ("contiguous", "channels_last")

NOISY_ROOM = 0.1
"""By how much a noisy figure's interval must stay below a budget to be within it: the coarsest claim of `latency check`."""

Noise = Literal["quiet", "noisy"]
Percentile = Literal["p50", "p90"]
Verdict = Literal["within", "within noise", "over"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """Under which circumstances a latency holds.

    Attributes:
        device: A torch device, "cpu" or "cuda:0".
        runtime: A key of `runtimes.RUNTIMES`.
        precision: "fp32", "fp16" or "bf16".
        threads: CPU threads the runtime may use; one is the figure that does not depend on the neighbours.
        batch: Images in one call.
        memory_format: Order of images and weights in memory, "contiguous" (NCHW) or "channels_last" (NHWC).
    """

    device: str = "cpu"
    runtime: str = "eager"
    precision: str = "fp32"
    threads: int = 1
    batch: int = 1
    memory_format: str = "contiguous"

    def __post_init__(self) -> None:
        for option, value, known in (
            ("--precision", self.precision, PRECISIONS),
            ("--memory-format", self.memory_format, MEMORY_FORMATS),
        ):
            if value not in known:
                raise UsageError(
                    f"{option} '{value}' is not known.{did_you_mean(value, known)} Allowed: {', '.join(known)}."
                )
        for name in ("threads", "batch"):
            if getattr(self, name) < 1:
                raise UsageError(
                    f"--{name} {getattr(self, name)}: expected at least 1. Try --{name} 1 or leave it out."
                )

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as JSON-ready dict."""
        plain: dict[str, Any] = to_plain(self)
        return plain


@dataclass(frozen=True, kw_only=True, slots=True)
class Predicted:
    """A latency nobody has measured yet.

    Attributes:
        latency_ms: The predicted median, milliseconds.
        low_ms: Lower end of the prediction interval.
        high_ms: Upper end of the prediction interval.
        source: What predicted it, e.g. the identity of a latency table.
        factor: By what the figures of the table were multiplied, because the machine was that much slower (above 1) or
            faster when the search began (see `live`); 1 where that was not clear.
    """

    latency_ms: float
    low_ms: float
    high_ms: float
    source: str
    factor: float = 1.0

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as JSON-ready dict with `kind: predicted`."""
        return {"kind": "predicted", **to_plain(self)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Latency of one network, from the call to the moment its result is there (host wall clock).

    Attributes:
        p50_ms: Median over all recorded calls, milliseconds.
        p90_ms: 90th percentile over the same calls.
        ci_low_ms: Lower end of the 95 % interval of the median, by bootstrap over rounds (and, with several
            processes, over all of them).
        ci_high_ms: Upper end of the same interval.
        runtime: How the network was run.
        precision: "fp32", "fp16" or "bf16".
        device: The name of the GPU, or of the CPU.
        threads: CPU threads.
        batch: Images in one call.
        rounds: Recorded rounds, all processes together.
        processes: Fresh processes measured in; 0 means inside the calling process.
        noise: "quiet" when the interval and the sentinel stayed within 3 %.
        drift: By what factor the sentinel was slower than its best and the figures were divided; 1 when not.
        yardstick_ms: The sentinel's best latency, to which the figures were related; 0 when there was no yardstick.
        process_spread: (slowest - fastest) / median between processes; 0 for a single one.
        memory_format: "contiguous" or "channels_last".
        device_ms: Median of the GPU's own clock (CUDA events) over calls of their own, milliseconds; what `p50_ms` has
            above it is the host's launching. None on a CPU, and where the runtime has a stream of its own.
        first_call_ms: From the network to its first result, milliseconds: choosing kernels, capturing, compiling or
            building an engine included. None where nobody looked.
        over_sentinel: How many times as long as the sentinel it took, round by round (see `statistics.relative_to`); 0
            where nobody looked.
        notes: What the machine said of itself: why it was busy, the GPU's clocks, temperature and throttling.
        protocol: The measuring protocol.
    """

    p50_ms: float
    p90_ms: float
    ci_low_ms: float
    ci_high_ms: float
    runtime: str
    precision: str
    device: str
    threads: int
    batch: int
    rounds: int
    processes: int
    noise: Noise
    drift: float = 1.0
    yardstick_ms: float = 0.0
    process_spread: float = 0.0
    memory_format: str = "contiguous"
    device_ms: float | None = None
    first_call_ms: float | None = None
    over_sentinel: float = 0.0
    notes: tuple[str, ...] = ()
    protocol: str = PROTOCOL

    @property
    def fps(self) -> float:
        """Images a second when calls follow each other, 1000 * batch / p50."""
        return 1000.0 * self.batch / self.p50_ms

    def at(self, percentile: Percentile) -> float:
        """Returns the latency at a percentile, milliseconds."""
        return self.p50_ms if percentile == "p50" else self.p90_ms

    def beside(self, sentinel_ms: float) -> float:
        """Returns the median, milliseconds, as if the sentinel had taken `sentinel_ms` in every round."""
        return self.over_sentinel * sentinel_ms if self.over_sentinel else self.p50_ms

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as JSON-ready dict with `kind: measured` and `fps`."""
        return {"kind": "measured", **to_plain(self), "fps": self.fps}


Latency = Predicted | Measured


def latency_from_plain(values: Any, source: str) -> Latency:
    """Rebuilds the value that `to_plain` gave, by its `kind`.

    Raises:
        DataError: The kind is neither "measured" nor "predicted", or the fields do not fit it.
    """
    kind = values.get("kind") if isinstance(values, Mapping) else None
    if kind not in ("measured", "predicted"):
        raise DataError(
            f"{source}: latency kind {kind!r} is not known. Allowed: measured, predicted. "
            "The file was changed or written by another version of posesearch."
        )
    fields = {key: value for key, value in values.items() if key not in ("kind", "fps")}
    if kind == "measured":
        return parse_stored(Measured, fields, source)
    return parse_stored(Predicted, fields, source)


def measured_from_plain(values: Any, source: str) -> Measured:
    """Like `latency_from_plain` where only a measurement will do.

    Raises:
        DataError: It is a prediction, or no latency at all.
    """
    latency = latency_from_plain(values, source)
    if not isinstance(latency, Measured):
        raise DataError(f"{source}: expected a measured latency, found a predicted one. Measure it first.")
    return latency


@dataclass(frozen=True, kw_only=True, slots=True)
class LatencyBudget:
    """An upper limit on measured latency; meaningless without the runtime and precision it holds for.

    While searching, the percentile itself decides (`allows`). A claim that is printed at the end rests on
    `verdict`: "within" needs a quiet measurement with the upper end of its interval below the limit, "within noise"
    says that the percentile is below it, but the interval is not or the measurement was noisy.

    Attributes:
        latency_ms: The limit, milliseconds, more than 0.
        percentile: "p50" or "p90".
        runtime: The runtime it holds for.
        precision: The precision it holds for.
    """

    latency_ms: float
    percentile: Percentile = "p50"
    runtime: str = "eager"
    precision: str = "fp32"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.latency_ms) and self.latency_ms > 0):
            raise UsageError(
                f"--latency-ms {self.latency_ms:g}: the budget must be a finite number of milliseconds above 0. "
                "Try --latency-ms 3.5."
            )
        if self.percentile not in ("p50", "p90"):
            raise UsageError(f"percentile '{self.percentile}' is not known. Allowed: p50, p90.")

    def check_comparable(self, measured: Measured) -> None:
        """Refuses everything that cannot stand against this budget.

        Raises:
            TypeError: The latency is not a `Measured`; only a measurement can satisfy a budget.
            UsageError: It was measured with another runtime or precision.
        """
        if not isinstance(measured, Measured):
            raise TypeError(
                f"only a Measured latency can satisfy a budget, got {type(measured).__name__}. "
                "Measure the architecture first."
            )
        for name in ("runtime", "precision"):
            if getattr(self, name) != getattr(measured, name):
                raise UsageError(
                    f"the budget is for {name} '{getattr(self, name)}', the latency was measured with "
                    f"'{getattr(measured, name)}'. Measure with the {name} of the budget."
                )

    def excess_ms(self, measured: Measured) -> float:
        """Returns how far the percentile lies above the limit, milliseconds; 0 or less is allowed."""
        self.check_comparable(measured)
        return measured.at(self.percentile) - self.latency_ms

    def allows(self, measured: Measured) -> bool:
        """Says whether the percentile is within the limit."""
        return self.excess_ms(measured) <= 0.0

    def verdict(self, measured: Measured) -> Verdict:
        """Says how firmly the budget is met.

        The interval is that of the median; for p90 its relative upper half is applied to p90. A noisy figure makes no fine
        claim: it must leave room for `NOISY_ROOM`, or for the difference between its processes where that is more.
        """
        if not self.allows(measured):
            return "over"
        upper_ms = measured.at(self.percentile) * measured.ci_high_ms / measured.p50_ms
        if measured.noise == "noisy":
            upper_ms *= 1.0 + max(NOISY_ROOM, measured.process_spread)
        return "within" if upper_ms <= self.latency_ms else "within noise"

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as JSON-ready dict."""
        plain: dict[str, Any] = to_plain(self)
        return plain
