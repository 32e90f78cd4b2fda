"""The Pareto front as a PNG by matplotlib, from the same rows as the interactive figure; no browser is needed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from posesearch.report.axes import Axis
from posesearch.report.front_info import FrontInfo, Mark
from posesearch.report.placing import Canvas, Place, better_on_left, budget_on_right, notes_of, place_names
from posesearch.report.style import BUDGET, FAINT, FRONT, GRID, INK, MUTED, PAPER, RAMP, REFERENCE, SEEN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE_INCHES, _DPI = (9.0, 5.6), 160
# What constrained layout leaves for the axes, measured with three legend rows: names fit with room to spare.
_AXES_POINTS = (540.0, 280.0)
_BAR_POINTS = 70.0


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
    wide -= 0.0 if info.axes.colour is None else _BAR_POINTS
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
    axes.set_xlim(*info.x_range)
    axes.set_ylim(*info.y_range)
    axes.set_xlabel(info.x_title, color=INK)
    axes.set_ylabel(info.axes.y.title, color=INK)
    axes.tick_params(colors=MUTED)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)


def _draw_asks(axes: Axes, info: FrontInfo) -> None:
    over = info.of("over budget")
    for measured, name, size in ((True, "unknown", 13), (False, "guessed", 6)):
        ticks = [mark.x for mark in over if mark.y is None and mark.measured == measured]
        if ticks:
            axes.plot(
                ticks,
                [info.rug_height] * len(ticks),
                linestyle="",
                marker="|",
                markersize=size,
                color=SEEN,
                alpha=0.6,
                label=info.name_of(name),
            )
    x, y = _columns(over)
    if x:
        axes.scatter(x, y, s=22, facecolors="none", edgecolors=FAINT, label=info.name_of("over budget"))
    x, y = _columns(info.of("evaluated"))
    if x:
        axes.scatter(x, y, s=16, color=SEEN, alpha=0.5, linewidths=0, label=info.name_of("evaluated"))
    x, y = _columns(info.of("predicted"))
    if x:
        axes.scatter(
            x, y, s=18, marker="s", facecolors="none", edgecolors=SEEN, label=info.name_of("predicted")
        )


def _draw_front(axes: Axes, info: FrontInfo) -> None:
    marks = [mark for mark in info.of("front") if mark.y is not None]
    x, y = _columns(marks)
    if not x:
        return
    _draw_bars(axes, marks)
    third = info.axes.colour
    if third is None:
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
            label=info.name_of("front"),
        )
    else:
        _draw_coloured(axes, marks, third, info.name_of("front"))
    x, y = _columns([mark for mark in marks if mark.label])
    axes.scatter(x, y, s=190, facecolors="none", edgecolors=FRONT, linewidths=2, zorder=5)


def _draw_coloured(axes: Axes, marks: Sequence[Mark], third: Axis, name: str) -> None:
    """Draws the front's marks with a third objective as colour, and the scale beside the plot: dark is better."""
    from matplotlib.colors import LinearSegmentedColormap

    x, y = _columns(marks)
    colours = [mark.colour or 0.0 for mark in marks if mark.y is not None]
    tones = LinearSegmentedColormap.from_list("ramp", RAMP if third.more else RAMP[::-1])
    drawn = axes.scatter(
        x, y, c=colours, cmap=tones, s=62, edgecolors=PAPER, linewidths=0.8, zorder=4, label=name
    )
    assert axes.figure is not None
    scale = axes.figure.colorbar(drawn, ax=axes, pad=0.015, aspect=32)
    scale.set_label(third.title, color=INK)
    scale.ax.tick_params(colors=MUTED)
    scale.outline.set_visible(False)


def _draw_bars(axes: Axes, marks: Sequence[Mark]) -> None:
    x, y = _columns(marks)
    bars = [[mark.minus for mark in marks], [mark.plus for mark in marks]]
    axes.errorbar(x, y, xerr=bars, fmt="none", ecolor=MUTED, elinewidth=1, capsize=2.5, zorder=3)


def _draw_references(axes: Axes, info: FrontInfo) -> None:
    marks = [mark for mark in info.of("reference") if mark.y is not None]
    x, y = _columns(marks)
    if x:
        _draw_bars(axes, marks)
        label = info.name_of("reference") + (f" ({info.footnote})" if info.footnote else "")
        axes.scatter(x, y, s=64, marker="D", color=REFERENCE, zorder=4, label=label)


def _draw_name(axes: Axes, place: Place) -> None:
    mark, (across, up) = place.mark, place.side
    axes.annotate(
        "\n".join(_lines(mark)),
        (mark.x, mark.y or 0.0),
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
    return [mark.label] if mark.kind == "reference" else [mark.label, mark.text]


def _font_size(mark: Mark) -> float:
    return 9.0 if mark.kind == "reference" else 10.0


def _text_size(mark: Mark) -> tuple[float, float]:
    # DejaVu Sans takes 0.51 of its size a character, bold 0.58; a little more for the paper around it.
    size, lines = _font_size(mark), _lines(mark)
    wide = (0.55 if mark.kind == "reference" else 0.62) * size * max(map(len, lines))
    return wide, 1.35 * size * len(lines)


def _draw_guides(axes: Axes, info: FrontInfo) -> None:
    right = budget_on_right(info)
    if info.budget is not None:
        axes.axvline(info.budget, color=BUDGET, linewidth=1.8, linestyle="--")
        axes.annotate(
            f"budget {info.budget_text}",
            (info.budget, 0.06),
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
    axes.text(
        left + 0.047, 0.975, info.axes.better, transform=axes.transAxes, color=MUTED, va="top", fontsize=10
    )


def _columns(marks: Sequence[Mark]) -> tuple[list[float], list[float]]:
    known = [(mark.x, mark.y) for mark in marks if mark.y is not None]
    return [x for x, _ in known], [y for _, y in known]
