"""Where the work goes: the share of stem, stages and head in the counted MACs and operators of each pick.

These are computed costs, not timed ones: MACs bound the time on a busy processor, the number of operators bounds it
where each launch costs more than its work, as in eager mode with one image.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from posesearch.report.points import Part
from posesearch.report.rows import RunRows
from posesearch.report.style import RAMP, SECOND, SEEN, figure
from posesearch.report.tables import picked
from posesearch.report.words import listed_words

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Measure = Literal["MACs", "operators"]
_COUNTS: dict[Measure, Callable[[Part], int]] = {
    "MACs": lambda part: part.macs,
    "operators": lambda part: part.operators,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakdownRow:
    """The share (0 to 1) of one part of one architecture in one counted cost."""

    architecture: str
    measure: Measure
    part: str
    count: int
    share: float


def breakdown_info(rows: RunRows) -> tuple[BreakdownRow, ...]:
    """Returns the shares of the picks and the references that have counted parts."""
    named = [*picked(rows), *((point.name, point) for point in rows.references)]
    table = []
    for name, point in named:
        for measure, count in _COUNTS.items():
            total = sum(count(part) for part in point.parts)
            if total:
                table += [
                    BreakdownRow(
                        architecture=name,
                        measure=measure,
                        part=part.name,
                        count=count(part),
                        share=count(part) / total,
                    )
                    for part in point.parts
                ]
    return tuple(table)


def breakdown_takeaway(table: tuple[BreakdownRow, ...]) -> str:
    """Returns the one sentence that the shares of the best pick (or else the first architecture) say."""
    best = [row.architecture for row in table if "best" in row.architecture.split()]
    name = best[0] if best else table[0].architecture
    told = []
    for measure in _COUNTS:
        members = [row for row in table if row.architecture == name and row.measure == measure]
        if members:
            top = max(members, key=lambda row: row.share)
            told.append(f"{top.share:.0%} of its {measure} in {_part_text(top.part)}")
    return (
        f"{'The best pick' if best else name.capitalize()} spends {listed_words(told)}. Counted, not timed."
    )


def breakdown_plot(table: tuple[BreakdownRow, ...]) -> Figure:
    """Draws one stacked bar for each architecture and cost."""
    bars = list(dict.fromkeys((row.architecture, row.measure) for row in table))
    plot = figure(x_title="share of counted cost (%)", y_title="architecture", height=130 + 40 * len(bars))
    for part in dict.fromkeys(row.part for row in table):
        members = [row for row in table if row.part == part]
        plot.add_bar(
            orientation="h",
            y=[_bar_text(row.architecture, row.measure) for row in members],
            x=[100 * row.share for row in members],
            marker={"color": _colour(part)},
            name=_part_text(part),
            customdata=[f"{row.count:,} {row.measure}" for row in members],
            hovertemplate="%{y}<br>%{x:.0f}%: %{customdata}<extra>"
            + html.escape(_part_text(part))
            + "</extra>",
        )
    plot.update_layout(barmode="stack", bargap=0.25)
    plot.update_yaxes(autorange="reversed", showgrid=False)
    plot.update_xaxes(range=[0, 100], ticksuffix="%")
    return plot


def _bar_text(architecture: str, measure: str) -> str:
    return f"{html.escape(architecture)}<br>{measure}"


def _part_text(part: str) -> str:
    return f"stage {part[5:]}" if part.startswith("stage") else part


def _colour(part: str) -> str:
    if part.startswith("stage"):
        return RAMP[int(part[5:]) % len(RAMP)]
    return SEEN if part == "stem" else SECOND
