"""Training curves: loss and AP over the epochs, of the supernet by kind of subnet and of each retrained model."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Literal

from posesearch.report.rows import CurvePoint, RunRows
from posesearch.report.style import DASHES, SERIES, figure
from posesearch.report.words import listed_words

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Phase = Literal["supernet", "retraining"]
Measure = Literal["loss", "AP"]


def curves_info(rows: RunRows, phase: Phase, measure: Measure) -> dict[str, tuple[CurvePoint, ...]]:
    """Returns {line: its points by epoch} of the lines with two points or more; empty when there is none."""
    chosen = [
        point
        for point in rows.curves
        if point.measure == measure and (point.phase == "supernet") == (phase == "supernet")
    ]
    names = dict.fromkeys(point.series for point in chosen)
    lines = {
        name: tuple(sorted((p for p in chosen if p.series == name), key=lambda p: p.epoch)) for name in names
    }
    return {name: points for name, points in lines.items() if len(points) > 1}


def curves_takeaway(lines: dict[str, tuple[CurvePoint, ...]], measure: Measure) -> str:
    """Returns the one sentence that the curves say."""
    last = {name: points[-1].value for name, points in lines.items()}
    epochs = max(points[-1].epoch for points in lines.values())
    if measure == "AP":
        ends = [f"{name} {value:.3f}" for name, value in last.items()]
        return f"AP after {epochs:g} epochs: {listed_words(ends)}."
    ends = [f"{name} {points[0].value:.2f} → {points[-1].value:.2f}" for name, points in lines.items()]
    return f"Loss over {epochs:g} epochs: {listed_words(ends)}."


def curves_plot(lines: dict[str, tuple[CurvePoint, ...]], measure: Measure) -> Figure:
    """Draws one line for each kind of subnet or model."""
    y_title = "AP (0 to 1)" if measure == "AP" else "loss (nats a joint, x + y)"
    plot = figure(x_title="epoch", y_title=y_title, height=320)
    for index, (name, points) in enumerate(lines.items()):
        plot.add_scatter(
            x=[point.epoch for point in points],
            y=[point.value for point in points],
            mode="lines",
            line={"color": SERIES[index % len(SERIES)], "width": 2, "dash": DASHES[index % len(DASHES)]},
            name=html.escape(name),
            hovertemplate="epoch %{x}: %{y:.3f}<extra>" + html.escape(name) + "</extra>",
        )
    return plot
