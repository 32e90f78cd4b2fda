"""Search history: how the best AP within budget grew with the evaluations spent."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from posesearch.report.rows import RunRows
from posesearch.report.style import FRONT, SEEN, figure
from posesearch.report.words import ap_text, axis_format, counted, ms_text

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryRow:
    """One evaluation: its number from 1, its AP, and the best AP so far."""

    evaluation: int
    ap: float
    best_ap: float
    code: str
    latency_ms: float | None


def history_info(rows: RunRows) -> tuple[HistoryRow, ...]:
    """Returns one row for each distinct architecture evaluated within budget, in the order of the search."""
    history: list[HistoryRow] = []
    seen: set[str] = set()
    best = 0.0
    for point in rows.points:
        if not point.feasible or point.ap is None or point.arch_id in seen:
            continue
        seen.add(point.arch_id)
        best = max(best, point.ap)
        history.append(
            HistoryRow(
                evaluation=len(history) + 1,
                ap=point.ap,
                best_ap=best,
                code=point.code,
                latency_ms=point.latency.p50_ms if point.latency else None,
            )
        )
    return tuple(history)


def history_takeaway(history: tuple[HistoryRow, ...], asks: int) -> str:
    """Returns the one sentence that the history says."""
    last = history[-1]
    best = next(row for row in history if row.ap == last.best_ap)
    since = last.evaluation - best.evaluation
    told = f"The best AP, {ap_text(best.ap)}, came at evaluation {best.evaluation} of {last.evaluation}"
    told += f" ({counted(asks, 'ask')}, repeats and over-budget ones included)"
    # A third without progress is where more of the same search rarely pays; the reader decides.
    if since >= max(10, last.evaluation // 3):
        return f"{told}; the last {since} evaluations brought no improvement."
    return f"{told}; it was still improving near the end, so more trials may help."


def history_plot(history: tuple[HistoryRow, ...]) -> Figure:
    """Draws every evaluation and the best so far."""
    plot = figure(x_title="evaluations within budget (number)", y_title="supernet AP (0 to 1)", height=340)
    numbers = [row.evaluation for row in history]
    plot.add_scatter(
        x=numbers,
        y=[row.ap for row in history],
        mode="markers",
        marker={"color": SEEN, "size": 6, "opacity": 0.7},
        name="one evaluation",
        hovertext=[
            f"{html.escape(row.code)}<br>AP {ap_text(row.ap)} · {ms_text(row.latency_ms)}" for row in history
        ],
        hoverinfo="text",
    )
    plot.add_scatter(
        x=numbers,
        y=[row.best_ap for row in history],
        mode="lines",
        line={"color": FRONT, "width": 2.5, "shape": "hv"},
        name="best so far",
        hovertemplate="best after %{x}: %{y:.3f}<extra></extra>",
    )
    plot.update_yaxes(tickformat=axis_format([row.ap for row in history]))
    return plot
