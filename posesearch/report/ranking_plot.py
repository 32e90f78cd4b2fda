"""The ranking drawn: supernet AP against the AP of the same network trained alone, one mark a network."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from posesearch.report.ranking import RankedNet, Ranking
from posesearch.report.style import INK, MUTED, RAMP, figure
from posesearch.report.tables import TableRow
from posesearch.report.words import NONE, ap_text, axis_format, count_text

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SYMBOLS = ("circle", "square", "diamond", "triangle-up")
COLUMNS = ("score", "tau-b", "95 % interval", "tau-b among networks of like size")
NAMES = {
    "supernet_ap": "supernet AP",
    "uncalibrated_ap": "supernet AP, one set of BN statistics for all",
    "supernet_loss": "supernet loss",
    "macs": "MACs alone",
    "params": "parameters alone",
}
TWO_SIDED = 1.96


def ranking_plot(ranking: Ranking) -> Figure:
    """Draws one mark a network, by size; bars are the 95 % interval of its AP over seeds, where seeds were compared."""
    plot = figure(
        x_title="supernet AP on the search split (0 to 1)", y_title="AP trained alone, same split", height=440
    )
    bins = sorted({net.bin for net in ranking.nets})
    for number, place in enumerate(bins):
        members = [net for net in ranking.nets if net.bin == place]
        plot.add_scatter(
            x=[net.supernet_ap for net in members],
            y=[net.alone_ap for net in members],
            error_y=_bars(ranking, members),
            mode="markers",
            marker={
                "color": RAMP[min(place, len(RAMP) - 1)],
                "symbol": SYMBOLS[number % len(SYMBOLS)],
                "size": 10,
                "line": {"color": INK, "width": 1},
            },
            name=_size_words(members),
            hovertext=[_hover(net) for net in members],
            hoverinfo="text",
        )
    plot.update_xaxes(tickformat=axis_format([net.supernet_ap for net in ranking.nets]))
    plot.update_yaxes(tickformat=axis_format([net.alone_ap for net in ranking.nets]))
    return plot


def ranking_table(ranking: Ranking) -> tuple[TableRow, ...]:
    """Returns how each score orders the networks; cells in the order of `COLUMNS`."""
    return tuple(
        TableRow(
            key=f"rank-{told.score}",
            cells=(
                NAMES.get(told.score, told.score),
                _two(told.tau),
                NONE if told.tau_low is None else f"{_two(told.tau_low)} to {_two(told.tau_high)}",
                _two(told.within_bins),
            ),
        )
        for told in ranking.agreements
    )


def ranking_note(ranking: Ranking) -> str:
    """Returns how the networks were trained and what the bars are."""
    long = f" for {ranking.epochs} epochs" if ranking.epochs is not None else ""
    bars = (
        f"Bars: 95 % interval over seeds (standard deviation {ranking.seed_sd:.4f} AP)."
        if ranking.seed_sd is not None
        else "No bars: no network was trained with a second seed."
    )
    return (
        f"Each network was trained alone{long} on what the supernet was trained on, start: {ranking.start or 'not noted'}. "
        f"{bars} Kendall's tau-b: 1 is the same order, 0 none."
    )


def _bars(ranking: Ranking, nets: list[RankedNet]) -> dict[str, object]:
    if ranking.seed_sd is None:
        return {"visible": False}
    return {
        "type": "data",
        "array": [TWO_SIDED * ranking.seed_sd / len(net.alone) ** 0.5 for net in nets],
        "color": MUTED,
        "thickness": 1,
    }


def _size_words(nets: list[RankedNet]) -> str:
    known = [net.macs for net in nets if net.macs is not None]
    return f"{count_text(min(known))} to {count_text(max(known))} MACs" if known else "size not noted"


def _hover(net: RankedNet) -> str:
    seeds = ", ".join(ap_text(ap) for ap in net.alone)
    return (
        f"{html.escape(net.code)}<br>supernet AP {ap_text(net.supernet_ap)}<br>trained alone {seeds}"
        f"<br>{count_text(net.macs)} MACs"
    )


def _two(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"
