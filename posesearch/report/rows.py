"""The typed rows everything in the report is drawn from: one value for each thing a run folder can hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from posesearch.report.extras import Extras
from posesearch.report.points import Latency, Point, Prediction
from posesearch.report.ranking import Ranking

NOISY_ROOM = 0.1
"""`latency.types.NOISY_ROOM`, which a report does not import; a test holds the two rules equal."""


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
class Limit:
    """A budget on a counted figure.

    Attributes:
        name: "params", "macs" or "memory_bytes".
        at_most: The largest value allowed.
        told: How it was calculated, where that must be said.
    """

    name: str
    at_most: int
    told: str = ""

    @property
    def text(self) -> str:
        """The budget in words: `at most 0.4 M parameters`."""
        if self.name == "memory_bytes":
            return f"at most {self.at_most / 1e6:.10g} MB of memory (calculated)"
        return f"at most {self.at_most / 1e6:.10g} M {'parameters' if self.name == 'params' else 'MACs'}"

    @property
    def note(self) -> str:
        """What is said of a network above it."""
        words = {"params": "parameters", "macs": "MACs", "memory_bytes": "calculated memory"}
        return f"over the budget of {words[self.name]}"

    def allows(self, point: Point) -> bool:
        """Says whether a point is within it; one of which the figure is not known is."""
        value: int | None = getattr(point, self.name)
        return value is None or value <= self.at_most


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
        objectives: What the search made large or small, by name.
        limits: Budgets on counted figures.
        ranking: How far the supernet's order can be trusted; None where that was not measured.
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
    objectives: tuple[str, ...] = ("AP", "latency_ms")
    limits: tuple[Limit, ...] = ()
    ranking: Ranking | None = None

    def pick_names(self, arch_id: str) -> tuple[str, ...]:
        """Returns the picks that this architecture is, e.g. ("knee", "best")."""
        return tuple(pick for pick, chosen in self.picks if chosen == arch_id)

    def budget_note(self, point: Point) -> str:
        """Returns what must be said of this point and the budgets; empty where it lies firmly within."""
        notes = [self.budget.note(point)] if self.budget is not None else []
        notes += [limit.note for limit in self.limits if not limit.allows(point)]
        return ", ".join(note for note in notes if note)
