"""The Pareto front as a PNG by matplotlib, from the same rows as the interactive figure; no browser is needed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from posesearch.report.front_info import AP_TITLE, BETTER, KIND_NAMES, FrontInfo, Mark
from posesearch.report.placing import Canvas, Place, better_on_left, budget_on_right, notes_of, place_names
from posesearch.report.style import BUDGET, FAINT, FRONT, GRID, INK, MUTED, PAPER, REFERENCE, SEEN
from posesearch.report.words import ap_text, budget_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE_INCHES, _DPI = (9.0, 5.6), 160
# What constrained layout leaves for the axes, measured with three legend rows: names fit with room to spare.
_AXES_POINTS = (540.0, 280.0)


def front_png(info: FrontInfo, title: str) -> bytes:
    """Returns the front as PNG, 1440 x 896 pixels."""
    # Figure without pyplot: no global list of figures, and saving a PNG picks the Agg canvas by itself.
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot()
    _frame(axes, info)
    _draw_asks(axes, info)
    _draw_front(axes, info)
    _draw_references(axes, info)
    _draw_guides(axes, info)
    wide, high = _AXES_POINTS
    notes = notes_of(info, width=wide, height=high, better=0.36 * wide, budget=0.2 * wide)
    for place in place_names(info, Canvas(width=wide, height=high, size=_text_size, notes=notes)):
        _draw_name(axes, place)
    figure.suptitle(title, x=0.012, ha="left", fontsize=14, fontweight="bold", color=INK)
    axes.set_title(info.where, loc="left", fontsize=9, color=MUTED)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9, labelcolor=INK)
    with io.BytesIO() as stream:
        figure.savefig(stream, format="png", dpi=_DPI)
        return stream.getvalue()


def _frame(axes: Axes, info: FrontInfo) -> None:
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlim(*info.latency_range_ms)
    axes.set_ylim(*info.ap_range)
    axes.set_xlabel(info.latency_title, color=INK)
    axes.set_ylabel(AP_TITLE, color=INK)
    axes.tick_params(colors=MUTED)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)


def _draw_asks(axes: Axes, info: FrontInfo) -> None:
    over = info.of("over budget")
    for measured, name, size in ((True, "unknown", 13), (False, "guessed", 6)):
        ticks = [mark.latency_ms for mark in over if mark.ap is None and mark.measured == measured]
        if ticks:
            axes.plot(
                ticks,
                [info.rug_height] * len(ticks),
                linestyle="",
                marker="|",
                markersize=size,
                color=SEEN,
                alpha=0.6,
                label=KIND_NAMES[name],
            )
    x, y = _columns(over)
    if x:
        axes.scatter(x, y, s=22, facecolors="none", edgecolors=FAINT, label=KIND_NAMES["over budget"])
    x, y = _columns(info.of("evaluated"))
    if x:
        axes.scatter(x, y, s=16, color=SEEN, alpha=0.5, linewidths=0, label=KIND_NAMES["evaluated"])
    x, y = _columns(info.of("predicted"))
    if x:
        axes.scatter(
            x, y, s=18, marker="s", facecolors="none", edgecolors=SEEN, label=KIND_NAMES["predicted"]
        )


def _draw_front(axes: Axes, info: FrontInfo) -> None:
    marks = [mark for mark in info.of("front") if mark.ap is not None]
    x, y = _columns(marks)
    if not x:
        return
    _draw_bars(axes, marks)
    axes.plot(
        x,
        y,
        drawstyle="steps-post",
        color=FRONT,
        linewidth=2,
        marker="o",
        markersize=7,
        markeredgecolor=PAPER,
        zorder=4,
        label="Pareto front" + (" (provisional)" if info.provisional else ""),
    )
    x, y = _columns([mark for mark in marks if mark.label])
    axes.scatter(x, y, s=190, facecolors="none", edgecolors=FRONT, linewidths=2, zorder=5)


def _draw_bars(axes: Axes, marks: Sequence[Mark]) -> None:
    x, y = _columns(marks)
    bars = [[mark.minus_ms for mark in marks], [mark.plus_ms for mark in marks]]
    axes.errorbar(x, y, xerr=bars, fmt="none", ecolor=MUTED, elinewidth=1, capsize=2.5, zorder=3)


def _draw_references(axes: Axes, info: FrontInfo) -> None:
    marks = [mark for mark in info.of("reference") if mark.ap is not None]
    x, y = _columns(marks)
    if x:
        _draw_bars(axes, marks)
        label = KIND_NAMES["reference"] + (f" ({info.footnote})" if info.footnote else "")
        axes.scatter(x, y, s=64, marker="D", color=REFERENCE, zorder=4, label=label)


def _draw_name(axes: Axes, place: Place) -> None:
    mark, (across, up) = place.mark, place.side
    axes.annotate(
        "\n".join(_lines(mark)),
        (mark.latency_ms, mark.ap or 0.0),
        xytext=(across * place.gap, up * place.gap),
        textcoords="offset points",
        ha=("center", "left", "right")[across],
        va=("center", "bottom", "top")[up],
        multialignment=("center", "left", "right")[across],
        color=REFERENCE if mark.kind == "reference" else INK,
        fontsize=_font_size(mark),
        fontweight="normal" if mark.kind == "reference" else "bold",
        linespacing=1.25,
        arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.8, "shrinkB": 7} if place.far else None,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.2, "alpha": 0.75},
        zorder=6,
    )


def _lines(mark: Mark) -> list[str]:
    figures = f"{ap_text(mark.ap)} · {mark.latency_text}"
    return [mark.label] if mark.kind == "reference" else [mark.label, figures]


def _font_size(mark: Mark) -> float:
    return 9.0 if mark.kind == "reference" else 10.0


def _text_size(mark: Mark) -> tuple[float, float]:
    # DejaVu Sans takes 0.51 of its size a character, bold 0.58; a little more for the paper around it.
    size, lines = _font_size(mark), _lines(mark)
    wide = (0.55 if mark.kind == "reference" else 0.62) * size * max(map(len, lines))
    return wide, 1.35 * size * len(lines)


def _draw_guides(axes: Axes, info: FrontInfo) -> None:
    right = budget_on_right(info)
    if info.budget_ms is not None:
        axes.axvline(info.budget_ms, color=BUDGET, linewidth=1.8, linestyle="--")
        axes.annotate(
            f"budget {budget_text(info.budget_ms)}",
            (info.budget_ms, 0.06),
            xycoords=("data", "axes fraction"),
            xytext=(6 if right else -6, 0),
            ha="left" if right else "right",
            textcoords="offset points",
            color=BUDGET,
            fontsize=10,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.2, "alpha": 0.75},
        )
    left = 0.0 if better_on_left(info) else 0.62
    # Drawn rather than written: not every font has a slanted arrow.
    axes.annotate(
        "",
        xy=(left + 0.012, 0.985),
        xytext=(left + 0.04, 0.935),
        xycoords="axes fraction",
        arrowprops={"arrowstyle": "->", "color": MUTED, "linewidth": 1.5},
    )
    axes.text(left + 0.047, 0.975, BETTER, transform=axes.transAxes, color=MUTED, va="top", fontsize=10)


def _columns(marks: Sequence[Mark]) -> tuple[list[float], list[float]]:
    known = [(mark.latency_ms, mark.ap) for mark in marks if mark.ap is not None]
    return [x for x, _ in known], [y for _, y in known]
