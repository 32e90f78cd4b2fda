"""Latency by block: what each part of a pick adds by the block table, beside what the whole network was measured at."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from posesearch.report.extras import Priced
from posesearch.report.points import Latency
from posesearch.report.rows import RunRows
from posesearch.report.style import FAINT, INK, PAPER, RAMP, REFERENCE, SECOND, SEEN, THIRD, figure
from posesearch.report.tables import picked
from posesearch.report.words import ms_text, short_name

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

THE_CALL = "the call"
_COLOURS = {"stem": SEEN, "downsampling": THIRD, "attention": REFERENCE, "head": SECOND, THE_CALL: FAINT}


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockRow:
    """One pick or reference: its parts by the table, and its measured latency if there is one."""

    name: str
    priced: Priced
    latency: Latency | None


def block_info(rows: RunRows) -> tuple[BlockRow, ...]:
    """Returns the picks and the references that the table priced."""
    named = [*picked(rows), *((short_name(point.name), point) for point in rows.references)]
    table = []
    for name, point in named:
        priced = rows.extras.priced_of(point.arch_id)
        if priced is not None and priced.parts:
            table.append(BlockRow(name=name, priced=priced, latency=point.latency))
    return tuple(table)


def block_takeaway(table: tuple[BlockRow, ...]) -> str:
    """Returns where most of the predicted latency of the best pick (or else the first network) lies."""
    best = next((row for row in table if "best" in row.name.split()), None)
    row = best or table[0]
    top = max(row.priced.parts, key=lambda part: part.latency_ms)
    total_ms = sum(part.latency_ms for part in row.priced.parts)
    told = (
        f"{'The best pick' if best else row.name.capitalize()} spends {top.latency_ms / total_ms:.0%} of its predicted "
        f"{ms_text(row.priced.predicted_ms)} in {part_text(top.name)}"
    )
    return f"{told}; measured, it takes {ms_text(row.latency.p50_ms)}." if row.latency else f"{told}."


def block_note(table: tuple[BlockRow, ...], table_id: str) -> str:
    """Returns whose prediction the bars are."""
    call = any(part.name == THE_CALL for row in table for part in row.priced.parts)
    return (
        f"Bars: predicted from the block table {table_id}, not measured. Marks: measured. Attention is the difference "
        f"between a block with it and without.{' The call is what no block pays for.' if call else ''}"
    )


def block_plot(table: tuple[BlockRow, ...]) -> Figure:
    """Draws a stacked bar for each network and a mark at its measured latency."""
    plot = figure(x_title="latency, median (ms)", y_title="architecture", height=150 + 52 * len(table))
    names = list(dict.fromkeys(part.name for row in table for part in row.priced.parts))
    # A part that some network lacks keeps the place it has in the others.
    names.sort(key=lambda name: (name == THE_CALL, name == "head", _rank(name)))
    for name in names:
        members = [(row, part) for row in table for part in row.priced.parts if part.name == name]
        plot.add_bar(
            orientation="h",
            y=[html.escape(row.name) for row, _ in members],
            x=[part.latency_ms for _, part in members],
            marker={"color": _colour(name)},
            name=part_text(name),
            customdata=[f"{part.latency_ms / row.priced.predicted_ms:.0%}" for row, part in members],
            hovertemplate="%{y}<br>predicted %{x:.3f} ms, %{customdata}<extra>"
            + part_text(name)
            + "</extra>",
        )
    timed = [(row, row.latency) for row in table if row.latency is not None]
    if timed:
        plot.add_scatter(
            x=[latency.p50_ms for _, latency in timed],
            y=[html.escape(row.name) for row, _ in timed],
            mode="markers",
            marker={
                "symbol": "diamond",
                "color": INK,
                "size": 13,
                "line": {"color": PAPER, "width": 1.5},
            },
            name="measured",
            hovertemplate="%{y}<br>measured %{x:.3f} ms<extra></extra>",
        )
    plot.update_layout(barmode="stack", bargap=0.35)
    plot.update_yaxes(autorange="reversed", showgrid=False)
    plot.update_xaxes(rangemode="tozero")
    return plot


def part_text(part: str) -> str:
    """Returns the name of a part as it is shown, `stage 2` for `stage2`."""
    return f"stage {part[5:]}" if part.startswith("stage") else html.escape(part)


def _rank(name: str) -> int:
    order = ("stem", "downsampling", "stage", "attention")
    kind = "stage" if name.startswith("stage") else name
    return 10 * (order.index(kind) if kind in order else len(order)) + (
        int(name[5:]) if kind == "stage" else 0
    )


def _colour(part: str) -> str:
    if part.startswith("stage"):
        return RAMP[int(part[5:]) % len(RAMP)]
    return _COLOURS.get(part, FAINT)
