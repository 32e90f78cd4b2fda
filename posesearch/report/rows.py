"""The typed rows everything in the report is drawn from: one value for each thing a run folder can hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from posesearch.report.extras import Extras

NOISY_ROOM = 0.1
"""`latency.types.NOISY_ROOM`, which a report does not import; a test holds the two rules equal."""


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
    """

    latency_ms: float
    low_ms: float
    high_ms: float
    source: str = ""


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

    @property
    def figure_ms(self) -> float:
        """The measured median, else the predicted one, milliseconds; 0 where there is neither."""
        if self.latency is not None:
            return self.latency.p50_ms
        return self.predicted.latency_ms if self.predicted is not None else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """One evaluation, with everything an AP must be labelled by.

    Attributes:
        ap: OKS average precision, 0 to 1.
        pck: PCK@0.2 of the torso, 0 to 1.
        boxes: "gt" or the name of the detector file.
        flip: Flip test on.
        split: Which persons.
        persons: How many.
        input_size: (height, width) in pixels.
    """

    ap: float
    ap50: float | None = None
    pck: float | None = None
    boxes: str = ""
    flip: bool | None = None
    split: str = ""
    persons: int | None = None
    input_size: tuple[int, int] | None = None

    @property
    def conditions(self) -> str:
        """Split, persons, boxes, flip test and input size in one phrase."""
        words = [self.split and f"{self.split} split"]
        words.append(
            "" if self.persons is None else f"{self.persons:,} person{'' if self.persons == 1 else 's'}"
        )
        words.append({"": "", "gt": "ground-truth boxes"}.get(self.boxes, f"boxes from {self.boxes}"))
        words.append("" if self.flip is None else f"flip test {'on' if self.flip else 'off'}")
        words.append("" if self.input_size is None else f"{self.input_size[0]}x{self.input_size[1]}")
        return ", ".join(word for word in words if word)


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """One extracted model: what the supernet promised and what it became.

    Attributes:
        supernet: AP with supernet weights, on the search split.
        extracted: AP of the extracted weights on the validation set, before retraining.
        retrained: AP after retraining, on the validation set.
        predicted: The latency by a table, where none was measured.
        also: (runtime, latency) in further runtimes.
    """

    name: str
    pick: str
    code: str
    params: int | None
    macs: int | None
    supernet: Accuracy | None
    extracted: Accuracy | None
    retrained: Accuracy | None
    latency: Latency | None
    predicted: Prediction | None = None
    also: tuple[tuple[str, Latency], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """One value of a training curve.

    Attributes:
        phase: "supernet", or the name of the retrained model.
        measure: "loss" or "AP".
        series: Which line: the kind of subnet, or the model.
        epoch: Epochs done.
    """

    phase: str
    measure: Literal["loss", "AP"]
    series: str
    epoch: float
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """The latency asked for; `percentile` is "p50" or "p90"."""

    latency_ms: float
    percentile: str = "p50"
    runtime: str = ""
    precision: str = ""

    def note(self, point: Point) -> str:
        """Returns what must be said of a latency and this budget; empty where it lies firmly within."""
        latency = point.latency
        if latency is None:
            over = point.predicted is not None and point.predicted.high_ms > self.latency_ms
            return "predicted over budget" if over else ""
        # An unfinished search and a result of an earlier version have no verdict.
        verdict = point.verdict or self.verdict(latency)
        if verdict == "over":
            near = self._asked_ms(latency, latency.ci_low_ms) <= self.latency_ms
            return "over budget, within noise of it" if near else "over budget"
        return "within noise of the budget" if verdict == "within noise" else ""

    def verdict(self, latency: Latency) -> str:
        """Returns "within", "within noise" or "over", by the rule of the search (`latency.types.LatencyBudget`)."""
        if self._asked_ms(latency, None) > self.latency_ms:
            return "over"
        room = 1.0 + NOISY_ROOM if latency.noisy else 1.0
        firm = self._asked_ms(latency, latency.ci_high_ms) * room <= self.latency_ms
        return "within" if firm else "within noise"

    def _asked_ms(self, latency: Latency, median_ms: float | None) -> float:
        """Returns the percentile asked for, were the median `median_ms`; the interval is that of the median."""
        asked_ms = latency.p50_ms if self.percentile == "p50" else (latency.p90_ms or latency.p50_ms)
        return asked_ms if median_ms is None else asked_ms * median_ms / latency.p50_ms


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRows:
    """Everything the report knows about a run; what has not run yet is empty or None.

    Attributes:
        facts: (label, text) pairs about how the run was made.
        points: Every ask of the latest study, in order.
        front: The Pareto front, fastest first.
        picks: (pick, arch_id) pairs: fastest, knee, best.
        finished: The search wrote its result; otherwise `front` is provisional and unconfirmed.
        fastest: The fastest architecture measured, told when nothing meets the budget.
        search_accuracy: Conditions of the supernet APs; its `ap` is of no meaning here.
        checks: Architectures the search chose by a prediction and measured then, in that order.
        label: "predicted for DEVICE, unverified" where the device of the search was not there; else empty.
        extras: What was handed over besides the run folder.
    """

    name: str
    facts: tuple[tuple[str, str], ...] = ()
    points: tuple[Point, ...] = ()
    front: tuple[Point, ...] = ()
    picks: tuple[tuple[str, str], ...] = ()
    references: tuple[Point, ...] = ()
    models: tuple[Model, ...] = ()
    curves: tuple[CurvePoint, ...] = ()
    budget: Budget | None = None
    finished: bool = False
    supernet_done: bool = False
    fastest: Point | None = None
    search_accuracy: Accuracy | None = None
    checks: tuple[Point, ...] = ()
    label: str = ""
    extras: Extras = field(default_factory=Extras)

    def pick_names(self, arch_id: str) -> tuple[str, ...]:
        """Returns the picks that this architecture is, e.g. ("knee", "best")."""
        return tuple(pick for pick, chosen in self.picks if chosen == arch_id)

    def budget_note(self, point: Point) -> str:
        """Returns what must be said of this latency and the budget; empty where it lies firmly within."""
        return self.budget.note(point) if self.budget is not None else ""
