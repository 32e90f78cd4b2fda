"""The Pareto front as rows: which architectures give the most accuracy at each latency, and where the picks lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from posesearch.report.rows import Point, RunRows
from posesearch.report.words import (
    ap_text,
    budget_text,
    claimed_text,
    counted,
    footnote,
    listed_words,
    measured_text,
    ms_text,
    predicted_text,
    short_name,
)

Kind = Literal["over budget", "evaluated", "predicted", "front", "reference"]
KIND_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "unknown": "over budget: timed, AP not evaluated",
        "guessed": "over budget by prediction: AP not evaluated",
        "over budget": "over budget",
        "evaluated": "evaluated, within budget",
        "predicted": "evaluated, latency only predicted",
        "front": "Pareto front",
        "reference": "preset, same supernet and device",
    }
)
AP_TITLE = "supernet AP on the search split (0 to 1)"
BETTER = "better: faster and more accurate"
MAX_MARKS = 1500
"""Marks of one kind drawn; a browser takes about a second for more. The front is never thinned."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """One mark in the plot.

    Attributes:
        ap: None for an ask over budget whose accuracy was not evaluated; drawn as a tick at the bottom.
        minus_ms: From the latency down to the lower end of its interval; 0 when unknown.
        plus_ms: From the latency up to the upper end.
        label: Names of the picks ("knee, best") or of the reference; empty for others.
    """

    kind: Kind
    point: Point
    latency_ms: float
    ap: float | None
    minus_ms: float = 0.0
    plus_ms: float = 0.0
    label: str = ""

    @property
    def measured(self) -> bool:
        """Whether the latency is measured; else it is predicted and must be shown as that."""
        return self.point.latency is not None

    @property
    def latency_text(self) -> str:
        """The latency with its unit, a predicted one with `~`."""
        return f"{'' if self.measured else '~'}{ms_text(self.latency_ms)}"

    @property
    def interval_ms(self) -> tuple[float, float]:
        """Lower and upper end of the interval."""
        return self.latency_ms - self.minus_ms, self.latency_ms + self.plus_ms


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontInfo:
    """What the front's figure, its PNG and its takeaway are made of.

    Attributes:
        marks: In drawing order.
        latency_range_ms: Shown part of the latency axis; slower asks lie outside.
        ap_range: Shown part of the AP axis.
        outside: Asks slower than the shown part.
        left_out: Marks thinned away to keep the page fast.
        footnote: What the star behind the name of a preset stands for; empty without one.
        label: "predicted for DEVICE, unverified" where nothing was measured; else empty.
    """

    marks: tuple[Mark, ...]
    budget_ms: float | None
    percentile: str
    where: str
    conditions: str
    latency_range_ms: tuple[float, float]
    ap_range: tuple[float, float]
    outside: int
    left_out: int
    provisional: bool
    footnote: str = ""
    label: str = ""

    def of(self, kind: Kind) -> tuple[Mark, ...]:
        """Returns the marks of one kind."""
        return tuple(mark for mark in self.marks if mark.kind == kind)

    @property
    def rug_height(self) -> float:
        """AP at which asks without one are ticked off: just above the latency axis."""
        low, high = self.ap_range
        return low + 0.018 * (high - low)

    @property
    def latency_title(self) -> str:
        """Title of the latency axis: percentile and unit."""
        if self.label:
            return f"median latency of one image, {self.label} (ms)"
        return f"measured latency of one image, {'median' if self.percentile == 'p50' else 'p90'} (ms)"


def front_info(rows: RunRows) -> FrontInfo | None:
    """Returns the marks of the front's figure; None when nothing has been measured."""
    on_front = {point.arch_id for point in rows.front}
    by_id = {point.arch_id: point for point in rows.points if point.figure_ms > 0}
    others = [point for point in by_id.values() if point.arch_id not in on_front]
    percentile = rows.budget.percentile if rows.budget else "p50"
    over = [point for point in others if not point.feasible]
    evaluated = [point for point in others if point.feasible and point.ap is not None]
    kept_over, kept = (members[:: -(-len(members) // MAX_MARKS) or 1] for members in (over, evaluated))
    left_out = len(over) + len(evaluated) - len(kept_over) - len(kept)
    marks = [_mark("over budget", point, percentile) for point in kept_over]
    marks += [_mark("evaluated" if point.latency else "predicted", point, percentile) for point in kept]
    for point in rows.front:
        marks.append(_mark("front", point, percentile, listed_words(rows.pick_names(point.arch_id))))
    marks += [_mark("reference", point, percentile, short_name(point.name)) for point in rows.references]
    marks = [mark for mark in marks if mark.latency_ms > 0]
    if not marks:
        return None
    budget_ms = rows.budget.latency_ms if rows.budget else None
    latency_range = _latency_range(marks, budget_ms)
    measured = next((mark.point.latency for mark in reversed(marks) if mark.point.latency is not None), None)
    return FrontInfo(
        marks=tuple(marks),
        budget_ms=budget_ms,
        percentile=percentile,
        where=measured.where if measured is not None else rows.label or "predicted",
        conditions=rows.search_accuracy.conditions if rows.search_accuracy else "",
        latency_range_ms=latency_range,
        ap_range=_ap_range(marks),
        outside=sum(mark.latency_ms > latency_range[1] for mark in marks),
        left_out=left_out,
        provisional=not rows.finished,
        footnote=footnote(point.name for point in rows.references),
        label=rows.label,
    )


def front_takeaway(rows: RunRows) -> str:
    """Returns the one sentence that the front says."""
    best = _best(rows)
    if best is not None and best.latency is None and best.predicted is not None:
        return (
            f"The most accurate architecture, AP {ap_text(best.ap)}, is predicted at {predicted_text(best.predicted)}"
            f"{f': {rows.label}' if rows.label else ''}. No budget is met before it is measured."
        )
    if best is None or best.latency is None:
        if rows.budget is None:
            return "The search has evaluated no architecture within the budget yet."
        told = f"No architecture was measured within {budget_text(rows.budget.latency_ms)}"
        if rows.fastest is not None and rows.fastest.latency is not None:
            told += f"; the fastest of {counted(len(rows.points), 'ask')} takes {measured_text(rows.fastest.latency)}"
        return f"{told}."
    name = "The best pick" if rows.picks else "The most accurate architecture so far"
    told = f"{name} reaches AP {ap_text(best.ap)} at {claimed_text(best.latency)}"
    note = rows.budget_note(best)
    if rows.budget is not None and note:
        told += f", {note} ({budget_text(rows.budget.latency_ms)})"
    elif rows.budget is not None and rows.budget.percentile == "p50":
        spare = 1 - best.latency.p50_ms / rows.budget.latency_ms
        if spare >= 0.005:
            told += f", {spare:.0%} under the {budget_text(rows.budget.latency_ms)} budget"
    quick = rows.front[0]
    if quick.latency is not None and quick.arch_id != best.arch_id and quick.ap is not None and best.ap:
        less = f"{best.ap - quick.ap:.3f} less AP"
        if best.latency.overlaps(quick.latency):
            told += f"; the fastest, with {less}, is within noise of its latency"
        else:
            told += f"; the fastest runs {best.latency.p50_ms / quick.latency.p50_ms:.1f} times as fast for {less}"
    return f"{told}."


def against_references(rows: RunRows) -> str:
    """Returns how the best pick compares with each preset measured and evaluated the same way; empty without one."""
    best = _best(rows)
    told = []
    for other in rows.references:
        if best is None or best.ap is None or other.ap is None:
            continue
        if best.latency is None or other.latency is None:
            continue
        accuracy = best.ap - other.ap
        time_ms = best.latency.p50_ms - other.latency.p50_ms
        told.append(
            f"against {other.name}, {abs(accuracy):.3f} AP {'more' if accuracy >= 0 else 'less'} and "
            f"{ms_text(abs(time_ms))} {'faster' if time_ms <= 0 else 'slower'}"
            f"{' (within noise)' if best.latency.overlaps(other.latency) else ''}"
        )
    return f"The best pick under the same conditions: {'; '.join(told)}." if told else ""


def _best(rows: RunRows) -> Point | None:
    best = next((point for point in rows.front if "best" in rows.pick_names(point.arch_id)), None)
    return best or (rows.front[-1] if rows.front else None)


def _mark(kind: Kind, point: Point, percentile: str, label: str = "") -> Mark:
    latency = point.latency
    if latency is None:
        predicted = point.predicted
        return Mark(
            kind=kind,
            point=point,
            latency_ms=point.figure_ms,
            ap=point.ap,
            minus_ms=predicted.latency_ms - predicted.low_ms if predicted else 0.0,
            plus_ms=predicted.high_ms - predicted.latency_ms if predicted else 0.0,
            label=label,
        )
    if percentile == "p90":
        # The interval is that of the median; the 90th percentile has none.
        return Mark(kind=kind, point=point, latency_ms=latency.p90_ms or 0.0, ap=point.ap, label=label)
    low, high = latency.ci_low_ms, latency.ci_high_ms
    return Mark(
        kind=kind,
        point=point,
        latency_ms=latency.p50_ms,
        ap=point.ap,
        minus_ms=0.0 if low is None else max(latency.p50_ms - low, 0.0),
        plus_ms=0.0 if high is None else max(high - latency.p50_ms, 0.0),
        label=label,
    )


def _latency_range(marks: list[Mark], budget_ms: float | None) -> tuple[float, float]:
    shown = [mark.latency_ms for mark in marks if mark.kind != "over budget"]
    shown = shown or [mark.latency_ms for mark in marks]
    low, high = min(shown), max([*shown, budget_ms or 0.0])
    low = min(low, budget_ms) if budget_ms else low
    # A third beyond the budget shows where the asks thin out; the names of picks need room on the left.
    reach = max(high - low, 0.1 * high)
    return max(low - 0.38 * reach, 0.0), high + 0.3 * reach


def _ap_range(marks: list[Mark]) -> tuple[float, float]:
    values = [mark.ap for mark in marks if mark.ap is not None]
    low, high = (min(values), max(values)) if values else (0.0, 0.8)
    reach = max(high - low, 0.02)
    return max(low - 0.08 * reach, 0.0), high + 0.2 * reach
