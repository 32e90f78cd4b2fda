"""The Pareto front as an interactive figure: better is up and left."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from posesearch.report.front_info import FrontInfo, Kind, Mark
from posesearch.report.placing import Canvas, Place, better_on_left, budget_on_right, notes_of, place_names
from posesearch.report.style import (
    BUDGET,
    CLEAR,
    FAINT,
    FRONT,
    INK,
    MUTED,
    PAPER,
    RAMP,
    REFERENCE,
    SEEN,
    VEIL,
    figure,
)
from posesearch.report.words import (
    ap_text,
    axis_format,
    count_text,
    fps_text,
    interval_text,
    megabytes_text,
    ms_text,
    predicted_text,
    significant,
)

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

BAR_WIDTH = 80.0
"""Pixels that the scale of a third objective takes beside the plot."""


def front_plot(info: FrontInfo) -> Figure:
    """Draws the front; better is up and left."""
    plot = figure(x_title=info.x_title, y_title=info.axes.y.title, height=520)
    styles: dict[Kind, dict[str, object]] = {
        "over budget": {"color": FAINT, "size": 7, "symbol": "circle-open"},
        "evaluated": {"color": SEEN, "size": 6, "opacity": 0.7},
        "predicted": {"color": SEEN, "size": 6, "symbol": "square-open"},
        "front": {"color": FRONT, "size": 10, "line": {"color": PAPER, "width": 1.5}},
        "reference": {"color": REFERENCE, "size": 12, "symbol": "diamond"},
    }
    for kind, marker in styles.items():
        marks = info.of(kind)
        if not marks:
            continue
        ticks = [mark for mark in marks if mark.y is None]
        drawn = [mark for mark in marks if mark.y is not None]
        if drawn:
            plot.add_scatter(
                x=[mark.x for mark in drawn],
                y=[mark.y for mark in drawn],
                mode="lines+markers" if kind == "front" and info.axes.colour is None else "markers",
                line={"color": FRONT, "width": 2, "shape": "hv"},
                marker={**marker, **_colours(drawn, info)} if kind == "front" else marker,
                error_x=_bars(drawn) if kind in ("front", "reference") else None,
                name=info.name_of(kind),
                hovertext=[hover(mark, info) for mark in drawn],
                hoverinfo="text",
            )
        for timed, name, size in ((True, "unknown", 12), (False, "guessed", 6)):
            shown = [mark for mark in ticks if mark.measured == timed]
            if shown:
                plot.add_scatter(
                    x=[mark.x for mark in shown],
                    y=[info.rug_height] * len(shown),
                    mode="markers",
                    marker={"symbol": "line-ns-open", "size": size, "color": SEEN, "opacity": 0.8},
                    name=info.name_of(name),
                    hovertext=[hover(mark, info) for mark in shown],
                    hoverinfo="text",
                )
    picks = [mark for mark in info.of("front") if mark.label and mark.y is not None]
    if picks:
        plot.add_scatter(
            x=[mark.x for mark in picks],
            y=[mark.y for mark in picks],
            mode="markers",
            marker={"symbol": "circle-open", "size": 19, "color": FRONT, "line": {"width": 2.5}},
            name="pick",
            hoverinfo="skip",
        )
    left, right = better_on_left(info), budget_on_right(info)
    plot.add_annotation(
        name="↖ better", text=f"↖ {info.axes.better}",
        xref="paper", yref="paper", x=0.01 if left else 0.99, y=0.99,
        xanchor="left" if left else "right", yanchor="top",
        showarrow=False, font={"color": MUTED, "size": 13},
    )  # fmt: skip
    if info.budget is not None:
        plot.add_vline(x=info.budget, line={"color": BUDGET, "width": 2, "dash": "dash"})
        plot.add_annotation(
            text=f"budget {info.budget_text}", x=info.budget, yref="paper", y=0.04,
            xanchor="left" if right else "right", yanchor="bottom", xshift=6 if right else -6,
            showarrow=False, bgcolor=VEIL, font={"color": BUDGET},
        )  # fmt: skip
    desk, phone = _canvases(info)
    for place in place_names(info, desk):
        plot.add_annotation(_name(place))
    # The script moves the names to these places on a phone.
    plot.update_layout(
        meta={"phone": {html.escape(place.mark.label): _offset(place) for place in place_names(info, phone)}}
    )
    plot.update_xaxes(range=list(info.x_range))
    plot.update_yaxes(range=list(info.y_range), tickformat=axis_format(info.y_range))
    return plot


def hover(mark: Mark, info: FrontInfo) -> str:
    """Returns the hover text of a mark: name, architecture code, objectives, latency with interval, FPS and cost."""
    point, latency = mark.point, mark.point.latency
    interval = interval_text(latency)
    ap = ap_text(point.ap) if point.ap is not None else "not evaluated"
    loss = "" if point.loss is None else f" · loss {significant(point.loss)}"
    head = (
        f"<b>{html.escape(mark.label)}</b><br>{html.escape(point.code)}<br>"
        if mark.label
        else (f"{html.escape(point.code)}<br>")
    )
    size = f"<br>{count_text(point.params)} params · {count_text(point.macs)} MACs"
    if point.memory_bytes is not None:
        size += f" · {megabytes_text(point.memory_bytes)} calculated"
    if latency is None:
        told = f" · {predicted_text(point.predicted)} predicted" if point.predicted else ""
        return f"{head}AP {ap}{loss}{told}{size}"
    shown_ms = mark.x if info.axes.timed else latency.p50_ms
    return (
        f"{head}AP {ap}{loss} · {ms_text(shown_ms)}"
        f"{f' [{interval}]' if interval else ''}{' noisy' if latency.noisy else ''} · {fps_text(latency)} images/s"
        f"{size}{'<br>latency confirmed in a fresh process' if point.confirmed else ''}"
    )


def _colours(marks: Sequence[Mark], info: FrontInfo) -> dict[str, object]:
    """Returns how the front's marks show the third objective; nothing where there are two."""
    third = info.axes.colour
    if third is None:
        return {}
    # Dark is better, as it is seen first.
    scale = [[place / (len(RAMP) - 1), tone] for place, tone in enumerate(RAMP if third.more else RAMP[::-1])]
    return {
        "color": [mark.colour for mark in marks],
        "colorscale": scale,
        "showscale": True,
        "size": 11,
        "colorbar": {
            "title": {"text": third.title, "side": "right"},
            "thickness": 12,
            "tickfont": {"color": MUTED, "size": 11},
            "outlinewidth": 0,
        },
    }


def _bars(marks: Sequence[Mark]) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [mark.plus for mark in marks],
        "arrayminus": [mark.minus for mark in marks],
        "thickness": 1,
        "width": 4,
        "color": MUTED,
    }


def _name(place: Place) -> dict[str, object]:
    mark, across = place.mark, place.side[0]
    reference = mark.kind == "reference"
    name = html.escape(mark.label)
    return {
        "name": name,
        "text": name if reference else f"<b>{name}</b><br>{mark.text}",
        "x": mark.x, "y": mark.y,
        **_offset(place),
        "align": ("center", "left", "right")[across],
        "showarrow": True, "arrowhead": 0, "arrowwidth": 1,
        "standoff": 8, "bgcolor": VEIL, "borderpad": 1,
        "font": {"color": REFERENCE if reference else INK, "size": 12 if reference else 13},
    }  # fmt: skip


def _offset(place: Place) -> dict[str, object]:
    across, up = place.side
    return {
        "ax": across * place.gap, "ay": -up * place.gap,
        "xanchor": ("center", "left", "right")[across], "yanchor": ("middle", "bottom", "top")[up],
        "arrowcolor": MUTED if place.far else CLEAR,
    }  # fmt: skip


def _canvases(info: FrontInfo) -> tuple[Canvas, Canvas]:
    """Returns the plot on a desk, and on a phone, where the script leaves only the name of each text."""
    bar = BAR_WIDTH if info.axes.colour is not None else 0.0
    desk, phone = (1020.0 - bar, 410.0), (290.0 - bar, 370.0)
    return (
        Canvas(
            width=desk[0], height=desk[1], size=_desk_size,
            notes=notes_of(info, width=desk[0], height=desk[1], better=240, budget=110),
        ),
        Canvas(
            width=phone[0], height=phone[1], size=_phone_size,
            notes=notes_of(info, width=phone[0], height=phone[1], better=66, budget=90),
        ),
    )  # fmt: skip


def _desk_size(mark: Mark) -> tuple[float, float]:
    if mark.kind == "reference":
        return 6.8 * len(mark.label) + 4, 20
    return 7.6 * max(len(mark.label), len(mark.text)) + 4, 38


def _phone_size(mark: Mark) -> tuple[float, float]:
    return 6.4 * len(mark.label) + 4, 18
