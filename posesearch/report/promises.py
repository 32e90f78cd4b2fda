"""What the supernet promised and what the models became: supernet, extracted and retrained AP side by side."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from posesearch.report.rows import Accuracy, RunRows
from posesearch.report.style import FRONT, GRID, SECOND, SEEN, figure
from posesearch.report.words import ap_text, axis_format

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Stage = Literal["supernet", "extracted", "retrained"]
_STAGES: tuple[tuple[Stage, str, str, str], ...] = (
    ("supernet", "supernet weights", "circle-open", SEEN),
    ("extracted", "extracted, not retrained", "diamond", SECOND),
    ("retrained", "retrained", "circle", FRONT),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PromiseRow:
    """The AP of one model at one stage of its life, with the conditions it holds under."""

    model: str
    stage: Stage
    accuracy: Accuracy


def promises_info(rows: RunRows) -> tuple[PromiseRow, ...]:
    """Returns one row for each evaluation of each model."""
    table = []
    for model in rows.models:
        stages: dict[Stage, Accuracy | None] = {
            "supernet": model.supernet,
            "extracted": model.extracted,
            "retrained": model.retrained,
        }
        table += [
            PromiseRow(model=model.name, stage=stage, accuracy=accuracy)
            for stage, accuracy in stages.items()
            if accuracy is not None
        ]
    return tuple(table)


def promises_takeaway(table: tuple[PromiseRow, ...]) -> str:
    """Returns the one sentence that the evaluations say; APs of different splits are never subtracted."""
    retrained = [row for row in table if row.stage == "retrained"]
    if not retrained:
        return (
            "No model has been retrained yet: the APs below are those of weights shared with the whole space."
        )
    best = max(retrained, key=lambda row: row.accuracy.ap)
    told = f"Retrained, {best.model} reaches AP {ap_text(best.accuracy.ap)} ({best.accuracy.conditions})"
    before = next((row for row in table if row.model == best.model and row.stage == "extracted"), None)
    if before is not None and before.accuracy.conditions == best.accuracy.conditions:
        told += f", {best.accuracy.ap - before.accuracy.ap:+.3f} against its extracted weights there"
    return f"{told}. The supernet's AP is on another split: compare its order, not its value."


def promises_plot(table: tuple[PromiseRow, ...]) -> Figure:
    """Draws one line of marks for each model."""
    models = list(dict.fromkeys(row.model for row in table))
    plot = figure(x_title="AP (0 to 1)", y_title="model", height=max(240, 150 + 52 * len(models)))
    for model in models:
        # Only APs of equal conditions are joined: a line across splits would read as a gain.
        after = [row.accuracy for row in table if row.model == model and row.stage != "supernet"]
        if len({accuracy.conditions for accuracy in after}) != 1:
            continue
        values = [accuracy.ap for accuracy in after]
        plot.add_scatter(
            x=[min(values), max(values)], y=[html.escape(model)] * 2, mode="lines",
            line={"color": GRID, "width": 4}, showlegend=False, hoverinfo="skip",
        )  # fmt: skip
    for stage, label, symbol, colour in _STAGES:
        members = [row for row in table if row.stage == stage]
        if members:
            splits = " / ".join(dict.fromkeys(row.accuracy.split for row in members if row.accuracy.split))
            plot.add_scatter(
                x=[row.accuracy.ap for row in members],
                y=[html.escape(row.model) for row in members],
                mode="markers+text",
                text=[ap_text(row.accuracy.ap) for row in members],
                textposition="top center",
                marker={"symbol": symbol, "color": colour, "size": 12, "line": {"width": 2, "color": colour}},
                name=f"{label}{f' ({html.escape(splits)} split)' if splits else ''}",
                hovertext=[
                    f"{html.escape(row.model)}: AP {ap_text(row.accuracy.ap)}<br>{html.escape(row.accuracy.conditions)}"
                    for row in members
                ],
                hoverinfo="text",
            )
    plot.update_yaxes(showgrid=False, range=[len(models) - 0.5, -0.7])
    plot.update_xaxes(tickformat=axis_format([row.accuracy.ap for row in table]))
    return plot
