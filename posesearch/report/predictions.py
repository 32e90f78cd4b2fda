"""Predicted against measured: what the latency table's predictions were worth where the search relied on them."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from posesearch.report.points import Latency, Point, Prediction
from posesearch.report.rows import RunRows
from posesearch.report.style import FAINT, FRONT, MUTED, PAPER, SEEN, figure
from posesearch.report.words import counted, listed_words, ms_text

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictionRow:
    """One network that was predicted first and measured afterwards.

    Attributes:
        name: The picks that it is, or empty.
        on_front: Whether it is on the front.
    """

    code: str
    predicted: Prediction
    latency: Latency
    name: str = ""
    on_front: bool = False

    @property
    def excess(self) -> float:
        """By what part of the prediction the measurement is longer; the bound is told in the same way."""
        return self.latency.p50_ms / self.predicted.latency_ms - 1.0

    @property
    def error(self) -> float:
        """By what part of the measurement it is longer than predicted, as the scores of a table are told."""
        return 1.0 - self.predicted.latency_ms / self.latency.p50_ms

    @property
    def above(self) -> bool:
        """Whether it took longer than the upper end of its bound."""
        return self.latency.p50_ms > self.predicted.high_ms


def predictions_info(rows: RunRows) -> tuple[PredictionRow, ...]:
    """Returns each network that was predicted and then measured, once, by rising prediction.

    The prediction is the search's last one before it measured; the latency is the one a claim would rest on, of fresh
    processes where there is one.
    """
    known = _with_both((*rows.points, *rows.references, *rows.front))
    checked = _with_both(rows.checks)
    on_front = {point.arch_id for point in rows.front}
    table = []
    for key in {**known, **checked}:
        point = known.get(key) or checked[key]
        predicted, latency = (checked.get(key) or point).predicted, point.latency
        assert predicted is not None and latency is not None
        table.append(
            PredictionRow(
                code=point.code,
                predicted=predicted,
                latency=latency,
                name=listed_words(rows.pick_names(key)) if rows.pick_names(key) else "",
                on_front=key in on_front,
            )
        )
    return tuple(sorted(table, key=lambda row: row.predicted.latency_ms))


def predictions_takeaway(table: tuple[PredictionRow, ...]) -> str:
    """Returns the one sentence that the pairs say."""
    mape = sum(abs(row.error) for row in table) / len(table)
    bias = sum(row.error for row in table) / len(table)
    above = sum(row.above for row in table)
    told = (
        f"Predictions of {counted(len(table), 'network')} were {mape:.1%} off on average "
        f"({abs(bias):.1%} too {'low' if bias >= 0 else 'high'}); {_of(above, len(table))} took longer than the upper bound"
    )
    front = [row for row in table if row.on_front]
    if front:
        told += f", of the front {_of(sum(row.above for row in front), len(front))}"
    return f"{told}. Claims rest on the measurements."


def predictions_note(table: tuple[PredictionRow, ...]) -> str:
    """Returns whose predictions they are and how the bound is drawn."""
    sources = list(dict.fromkeys(row.predicted.source for row in table if row.predicted.source))
    refits = f", refitted {len(sources) - 1} times while it searched" if len(sources) > 1 else ""
    whose = f"Latency table {sources[0]}{refits}. " if sources else ""
    factors = sorted({row.predicted.factor for row in table} - {1.0})
    scaled = (
        f"Its figures are multiplied by {' and '.join(f'{factor:.3f}' for factor in factors)}: the machine was that much "
        "slower (above 1) or faster when the search began. "
        if factors
        else ""
    )
    return (
        f"{whose}{scaled}Each network was predicted before it was measured. The band is the bound, at its widest; whether one "
        "took longer is judged by its own. These are networks the search chose, the ones a prediction flatters most."
    )


def predictions_plot(table: tuple[PredictionRow, ...]) -> Figure:
    """Draws how far each measurement lies from its prediction, and the bound as a band around zero."""
    plot = figure(
        x_title="predicted latency, median (ms)", y_title="measured against predicted (%)", height=400
    )
    latencies = [row.predicted.latency_ms for row in table]
    room = max(0.04 * (max(latencies) - min(latencies)), 0.02 * max(latencies))
    low_ms, high_ms = max(min(latencies) - room, 0.0), max(latencies) + room
    lower, upper = (
        choose(100 * (end(row.predicted) / row.predicted.latency_ms - 1) for row in table)
        for choose, end in (
            (min, lambda predicted: predicted.low_ms),
            (max, lambda predicted: predicted.high_ms),
        )
    )
    plot.add_scatter(
        x=[low_ms, high_ms, high_ms, low_ms], y=[upper, upper, lower, lower],
        mode="lines", fill="toself", fillcolor=FAINT, opacity=0.35, line={"width": 0, "color": FAINT},
        name=f"bound ({lower:+.1f}% to {upper:+.1f}%)", hoverinfo="skip",
    )  # fmt: skip
    plot.add_scatter(
        x=[low_ms, high_ms], y=[0, 0], mode="lines",
        line={"color": MUTED, "width": 1.5, "dash": "dash"}, name="as predicted", hoverinfo="skip",
    )  # fmt: skip
    for on_front, name, marker in (
        (False, "measured by the search", {"color": SEEN, "size": 7, "opacity": 0.85}),
        (True, "Pareto front", {"color": FRONT, "size": 10, "line": {"color": PAPER, "width": 1.5}}),
    ):
        members = [row for row in table if row.on_front == on_front]
        if members:
            plot.add_scatter(
                x=[row.predicted.latency_ms for row in members],
                y=[100 * row.excess for row in members],
                mode="markers",
                marker=marker,
                name=name,
                hovertext=[_hover(row) for row in members],
                hoverinfo="text",
            )
    plot.update_xaxes(range=[low_ms, high_ms])
    plot.update_yaxes(ticksuffix="%")
    return plot


def _with_both(points: Iterable[Point]) -> dict[str, Point]:
    """Returns the points that were predicted and measured by architecture; of equal ones the last."""
    return {point.arch_id: point for point in points if point.predicted and point.latency}


def _hover(row: PredictionRow) -> str:
    head = f"<b>{html.escape(row.name)}</b><br>" if row.name else ""
    bound = f"{ms_text(row.predicted.low_ms)} to {ms_text(row.predicted.high_ms)}"
    return (
        f"{head}{html.escape(row.code)}<br>predicted {ms_text(row.predicted.latency_ms)} ({bound})"
        f"<br>measured {ms_text(row.latency.p50_ms)}, {row.excess:+.1%}{'<br>above its bound' if row.above else ''}"
    )


def _of(count: int, total: int) -> str:
    return f"{count or 'none'} of {total}"
