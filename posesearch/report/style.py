"""Colours and layout shared by all figures; every light colour has a dark twin that the page swaps in.

Colours carry one meaning each across the report and are told apart by shape too. Contrast on their paper is at
least 3:1 for marks and 4.5:1 for text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

INK, MUTED, PAPER, GRID = "#1d2430", "#5d6878", "#ffffff", "#e4e8ee"
CLEAR = "rgba(0,0,0,0)"
VEIL = "rgba(255,255,255,0.75)"
FRONT, SEEN, FAINT = "#0b62d6", "#8592a6", "#c3cad5"
BUDGET, REFERENCE, SECOND, THIRD = "#c8450a", "#7a3fc9", "#b06a00", "#0a7a6c"

RAMP = ("#a9cdf6", "#6ea8ee", "#3580de", "#0f4fa8")

DARK = {
    INK: "#e8ecf2",
    MUTED: "#9aa6b6",
    PAPER: "#12161d",
    GRID: "#2a323e",
    VEIL: "rgba(18,22,29,0.75)",
    FRONT: "#62aaff",
    SEEN: "#76839a",
    FAINT: "#3d4757",
    BUDGET: "#ff9156",
    REFERENCE: "#c29bff",
    SECOND: "#f0b34d",
    THIRD: "#46d1bd",
    **dict(zip(RAMP, ("#d5e7fc", "#9cc6f7", "#5c9ff0", "#2f74d0"), strict=True)),
}

SERIES = (FRONT, SECOND, THIRD, REFERENCE, BUDGET, SEEN)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"


def figure(*, x_title: str, y_title: str, height: int = 400) -> Figure:
    """Returns an empty figure in the report's style; titles carry their unit."""
    import plotly.graph_objects as go

    axis: dict[str, Any] = {
        "gridcolor": GRID,
        "linecolor": MUTED,
        "tickcolor": MUTED,
        "zeroline": False,
        "automargin": True,
        "tickfont": {"color": MUTED},
    }
    return go.Figure(
        layout={
            "template": go.layout.Template(),
            "height": height,
            "paper_bgcolor": CLEAR,
            "plot_bgcolor": CLEAR,
            "font": {"family": FONT, "size": 13, "color": INK},
            "margin": {"l": 56, "r": 16, "t": 32, "b": 48},
            "xaxis": {**axis, "title": {"text": x_title, "standoff": 12}},
            "yaxis": {**axis, "title": {"text": y_title, "standoff": 12}},
            "hoverlabel": {"bgcolor": PAPER, "bordercolor": MUTED, "font": {"color": INK, "size": 13}},
            "legend": {
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "y": 1.0,
                "yanchor": "bottom",
                "traceorder": "normal",
                "font": {"size": 12},
            },
            "hovermode": "closest",
            "showlegend": True,
        }
    )
