"""One architecture as a row, with its latencies: what a search asked, measured and found of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """One measured latency.

    Attributes:
        p50_ms: Median over rounds, milliseconds for one image.
        p90_ms: 90th percentile, milliseconds.
        ci_low_ms: Lower end of the interval around the median.
        ci_high_ms: Upper end of that interval.
        fps: Images a second, 1000 / p50_ms.
        where: Runtime, precision, device and threads in one phrase.
        noisy: The machine was busy during the measurement.
        runtime: How the network was run, such as "eager".
        device_ms: Median on the GPU's own clock; None on a CPU.
    """

    p50_ms: float
    p90_ms: float | None = None
    ci_low_ms: float | None = None
    ci_high_ms: float | None = None
    where: str = ""
    noisy: bool = False
    runtime: str = ""
    device_ms: float | None = None

    @property
    def fps(self) -> float:
        """Images a second at the median."""
        return 1000.0 / self.p50_ms

    def overlaps(self, other: Latency) -> bool:
        """Says whether the two intervals meet, so that which one is faster is not certain; unknown ones do not."""
        ends = (self.ci_low_ms, self.ci_high_ms, other.ci_low_ms, other.ci_high_ms)
        if None in ends:
            return False
        low, high, other_low, other_high = (end or 0.0 for end in ends)
        return low <= other_high and other_low <= high


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """A latency that a table predicts: never shown without saying so, and never compared with a budget as if measured.

    Attributes:
        latency_ms: Predicted median, milliseconds.
        low_ms: Lower end of the bound.
        high_ms: Upper end of the bound.
        source: Identity of the table.
        factor: By what its figures were multiplied, the machine being that much slower when the search began.
    """

    latency_ms: float
    low_ms: float
    high_ms: float
    source: str = ""
    factor: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The counted cost of one part of a network: the stem, one stage or the head."""

    name: str
    macs: int
    operators: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One architecture that was asked for, with what is known about it.

    Attributes:
        trial: Number of the ask, in order; None for references.
        ap: Supernet AP on the search split; None when it was not evaluated (over budget).
        feasible: Within the latency budget.
        origin: Who asked: the sampler, or a fixed start point.
        name: Preset name of a reference, else empty.
        confirmed: The latency was measured again in a fresh process.
        genes: Each decision and its value, in the order of the space.
        verdict: What the search said of the confirmed latency: "within", "within noise" or "over"; empty if nothing.
        predicted: What a latency table said before it was measured, if it was.
        also: (runtime, latency) in further runtimes.
        loss: Supernet loss on the search split, where it was recorded.
        memory_bytes: Calculated memory of one call, where the search has a budget for it.
    """

    arch_id: str
    code: str
    ap: float | None
    latency: Latency | None
    feasible: bool
    params: int | None = None
    macs: int | None = None
    parts: tuple[Part, ...] = ()
    genes: tuple[tuple[str, int], ...] = ()
    trial: int | None = None
    origin: str = ""
    name: str = ""
    confirmed: bool = False
    verdict: str = ""
    predicted: Prediction | None = None
    also: tuple[tuple[str, Latency], ...] = ()
    loss: float | None = None
    memory_bytes: int | None = None

    @property
    def figure_ms(self) -> float:
        """The measured median, else the predicted one, milliseconds; 0 where there is neither."""
        if self.latency is not None:
            return self.latency.p50_ms
        return self.predicted.latency_ms if self.predicted is not None else 0.0
