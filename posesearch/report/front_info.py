"""The Pareto front as marks: what lies where in its figure, on which axes, and how much of them is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from posesearch.report.axes import Axes, axes_of
from posesearch.report.points import Point
from posesearch.report.rows import RunRows
from posesearch.report.words import budget_text, count_text, footnote, listed_words, short_name

Kind = Literal["over budget", "evaluated", "predicted", "front", "reference"]
KIND_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "unknown": "over budget: timed, AP not evaluated",
        "guessed": "over budget by prediction: AP not evaluated",
        "counted": "over budget: AP not evaluated",
        "over budget": "over budget",
        "evaluated": "evaluated, within budget",
        "predicted": "evaluated, latency only predicted",
        "front": "Pareto front",
        "reference": "preset, same supernet and device",
    }
)
MAX_MARKS = 1500
"""Marks of one kind drawn; a browser takes about a second for more. The front is never thinned."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """One mark in the plot.

    Attributes:
        x: Its figure along the bottom, such as the latency in milliseconds.
        y: Its figure upwards, such as AP; None for an ask over budget that was not evaluated, drawn as a tick at the
            bottom.
        minus: From `x` down to the lower end of its interval; 0 when unknown.
        plus: From `x` up to the upper end.
        label: Names of the picks ("knee, best") or of the reference; empty for others.
        text: Both figures in short, a predicted latency with `~`.
        colour: Its figure of a third objective.
    """

    kind: Kind
    point: Point
    x: float
    y: float | None
    minus: float = 0.0
    plus: float = 0.0
    label: str = ""
    text: str = ""
    colour: float | None = None

    @property
    def measured(self) -> bool:
        """Whether the latency is measured; else it is predicted and must be shown as that."""
        return self.point.latency is not None

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end of the interval around `x`."""
        return self.x - self.minus, self.x + self.plus


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontInfo:
    """What the front's figure, its PNG and its takeaway are made of.

    Attributes:
        marks: In drawing order.
        axes: The objectives along the axes.
        budget: The budget on the figure along the bottom; None without one.
        budget_text: It in words.
        x_range: Shown part of the axis along the bottom; asks above it lie outside.
        y_range: Shown part of the other; its ends change places where less is better, so that better is up.
        outside: Asks above the shown part.
        left_out: Marks thinned away to keep the page fast.
        footnote: What the star behind the name of a preset stands for; empty without one.
        label: "predicted for DEVICE, unverified" where nothing was measured; else empty.
    """

    marks: tuple[Mark, ...]
    axes: Axes
    budget: float | None
    budget_text: str
    percentile: str
    where: str
    conditions: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
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
        """Where the ticks of asks without accuracy stand."""
        return self.y_range[0] + 0.02 * (self.y_range[1] - self.y_range[0])

    @property
    def x_title(self) -> str:
        """Title of the axis along the bottom."""
        if not self.axes.timed:
            return self.axes.x.title
        if self.label:
            return f"latency of one image, {self.label} (ms)"
        return f"measured latency of one image, {'median' if self.percentile == 'p50' else 'p90'} (ms)"

    def name_of(self, kind: str) -> str:
        """Returns what the legend calls a kind of mark; an ask that was not evaluated was timed, or only counted."""
        if kind == "front" and self.provisional:
            return f"{KIND_NAMES[kind]} (provisional)"
        if kind in ("unknown", "guessed") and not self.axes.timed:
            return KIND_NAMES["counted"]
        return KIND_NAMES[kind]


def front_info(rows: RunRows) -> FrontInfo | None:
    """Returns the marks of the front's figure; None when nothing has been measured."""
    axes = axes_of(rows.objectives)
    on_front = {point.arch_id for point in rows.front}
    by_id = {point.arch_id: point for point in rows.points if axes.x.of(point) is not None}
    others = [point for point in by_id.values() if point.arch_id not in on_front]
    percentile = rows.budget.percentile if rows.budget else "p50"
    over = [point for point in others if not point.feasible]
    evaluated = [point for point in others if point.feasible and point.ap is not None]
    kept_over, kept = (members[:: -(-len(members) // MAX_MARKS) or 1] for members in (over, evaluated))
    left_out = len(over) + len(evaluated) - len(kept_over) - len(kept)
    marks = [_mark("over budget", point, axes, percentile) for point in kept_over]
    for point in kept:
        known = point.latency is not None or not axes.timed
        marks.append(_mark("evaluated" if known else "predicted", point, axes, percentile))
    # A line joins them, so they stand in the order of the axis; latencies do already.
    for point in rows.front if axes.timed else sorted(rows.front, key=lambda point: axes.x.of(point) or 0.0):
        marks.append(_mark("front", point, axes, percentile, listed_words(rows.pick_names(point.arch_id))))
    marks += [
        _mark("reference", point, axes, percentile, short_name(point.name)) for point in rows.references
    ]
    marks = [mark for mark in marks if mark.x > 0]
    if not marks:
        return None
    budget, budget_words = _budget(rows, axes)
    x_range = _x_range(marks, budget)
    measured = next((mark.point.latency for mark in reversed(marks) if mark.point.latency is not None), None)
    return FrontInfo(
        marks=tuple(marks),
        axes=axes,
        budget=budget,
        budget_text=budget_words,
        percentile=percentile,
        where=measured.where if measured is not None else rows.label or "predicted",
        conditions=rows.search_accuracy.conditions if rows.search_accuracy else "",
        x_range=x_range,
        y_range=_y_range(marks, axes),
        outside=sum(mark.x > x_range[1] for mark in marks),
        left_out=left_out,
        provisional=not rows.finished,
        footnote=footnote(point.name for point in rows.references),
        label=rows.label,
    )


def _budget(rows: RunRows, axes: Axes) -> tuple[float | None, str]:
    """Returns the budget on the figure along the bottom, and its words."""
    if axes.timed:
        return (rows.budget.latency_ms, budget_text(rows.budget.latency_ms)) if rows.budget else (None, "")
    for limit in rows.limits:
        if limit.name == axes.x.name:
            return limit.at_most / 1e6, count_text(limit.at_most)
    return None, ""


def _mark(kind: Kind, point: Point, axes: Axes, percentile: str, label: str = "") -> Mark:
    x, minus, plus = _latency_of(point, percentile) if axes.timed else (axes.x.of(point) or 0.0, 0.0, 0.0)
    y = axes.y.of(point) if point.ap is not None else None
    rough = "~" if axes.timed and point.latency is None else ""
    return Mark(
        kind=kind,
        point=point,
        x=x,
        y=y,
        minus=minus,
        plus=plus,
        label=label,
        text=f"{axes.y.text(y)} · {rough}{axes.x.text(x)}",
        colour=axes.colour.of(point) if axes.colour is not None else None,
    )


def _latency_of(point: Point, percentile: str) -> tuple[float, float, float]:
    """Returns a latency and how far its interval reaches below and above, milliseconds."""
    latency = point.latency
    if latency is None:
        predicted = point.predicted
        if predicted is None:
            return 0.0, 0.0, 0.0
        return (
            point.figure_ms,
            predicted.latency_ms - predicted.low_ms,
            predicted.high_ms - predicted.latency_ms,
        )
    if percentile == "p90":
        # The interval is that of the median; the 90th percentile has none.
        return latency.p90_ms or 0.0, 0.0, 0.0
    low, high = latency.ci_low_ms, latency.ci_high_ms
    return (
        latency.p50_ms,
        0.0 if low is None else max(latency.p50_ms - low, 0.0),
        0.0 if high is None else max(high - latency.p50_ms, 0.0),
    )


def _x_range(marks: list[Mark], budget: float | None) -> tuple[float, float]:
    shown = [mark.x for mark in marks if mark.kind != "over budget"]
    shown = shown or [mark.x for mark in marks]
    low, high = min(shown), max([*shown, budget or 0.0])
    low = min(low, budget) if budget else low
    # A third beyond the budget shows where the asks thin out; the names of picks need room on the left.
    reach = max(high - low, 0.1 * high)
    return max(low - 0.38 * reach, 0.0), high + 0.3 * reach


def _y_range(marks: list[Mark], axes: Axes) -> tuple[float, float]:
    values = [mark.y for mark in marks if mark.y is not None]
    low, high = (min(values), max(values)) if values else (0.0, 0.8)
    reach = max(high - low, 0.02)
    if axes.y.more:
        return max(low - 0.08 * reach, 0.0), high + 0.2 * reach
    return high + 0.08 * reach, max(low - 0.2 * reach, 0.0)
