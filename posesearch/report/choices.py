"""Which choices matter: the share of the variance of AP and of latency that each single choice explains.

A ridge regression on one-hot choices is fitted in ten folds; the share of a choice is the covariance of its *held-out*
contribution with the target, over the target's variance. That is Pratt's partition of R² ("Dividing the indivisible",
1987), cross-validated so that a choice that only fits noise gets about zero. Interactions between choices, and noise,
are what stays unexplained. A search visits good regions more often than others, so the shares describe the
architectures visited, not the whole space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from posesearch.report.points import Point
from posesearch.report.rows import RunRows
from posesearch.report.style import FRONT, MUTED, SECOND, VEIL, figure
from posesearch.report.words import counted
from posesearch.rng import generator

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MIN_ROWS = 20
"""Below this, one choice has a handful of rows a value and its share is mostly chance."""
FOLDS = 10
PENALTIES = (0.1, 1.0, 10.0, 100.0)
SHUFFLES = 40

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceRow:
    """The share of one choice.

    Attributes:
        gene: Such as `stage2.width`.
        ap_share: Share of the variance of AP it explains, 0 to 1; below zero means nothing was found.
        ap_effect: AP at its largest value minus AP at its smallest, all else equal.
        latency_share: Share of the variance of latency; None when too few were measured.
        latency_effect_ms: Milliseconds at its largest value minus those at its smallest.
    """

    gene: str
    ap_share: float
    ap_effect: float
    latency_share: float | None = None
    latency_effect_ms: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """The rows, most important for AP first.

    Attributes:
        rows: One for each choice that varies; empty when there is too little to say.
        chance: The share that the luckiest choice gets in 1 of 20 searches when AP has nothing to do with any.
    """

    rows: tuple[ChoiceRow, ...]
    chance: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shares:
    """For each gene its share and its effect from smallest to largest value, and the share that chance gives."""

    of: dict[str, tuple[float, float]]
    chance: float


def choices_info(rows: RunRows) -> Choices:
    """Returns the shares of each choice that varies; no rows under `MIN_ROWS` evaluations."""
    distinct = {point.arch_id: point for point in rows.points if point.genes}
    accuracy = _shares([point for point in distinct.values() if point.ap is not None], _ap)
    latency = _shares([point for point in distinct.values() if point.latency is not None], _latency_ms)
    table = [
        ChoiceRow(
            gene=gene,
            ap_share=share,
            ap_effect=effect,
            latency_share=latency.of.get(gene, (None, None))[0],
            latency_effect_ms=latency.of.get(gene, (None, None))[1],
        )
        for gene, (share, effect) in accuracy.of.items()
    ]
    ordered = tuple(sorted(table, key=lambda row: -row.ap_share))
    return Choices(rows=ordered, chance=accuracy.chance)


def evaluated_count(rows: RunRows) -> int:
    """Returns how many distinct architectures have an AP."""
    return len({point.arch_id for point in rows.points if point.ap is not None})


def too_few_text(count: int) -> str:
    """Returns what to say instead of the figure."""
    return (
        f"Too few evaluations to say: {counted(count, 'architecture')} {'has' if count == 1 else 'have'} an AP, "
        f"at least {MIN_ROWS} are needed. "
        "Search with more trials."
    )


def choices_takeaway(choices: Choices) -> str:
    """Returns the one sentence that the shares say."""
    table = choices.rows
    explained = min(sum(max(row.ap_share, 0.0) for row in table), 1.0)
    top = table[0]
    if top.ap_share <= choices.chance:
        return (
            f"No single choice stands out for AP: the largest share, {max(top.ap_share, 0.0):.0%}, is within what "
            f"chance gives ({choices.chance:.0%}). More evaluations would tell."
        )
    told = (
        f"{top.gene} matters most for AP: it explains {top.ap_share:.0%} of its variance "
        f"({top.ap_effect:+.3f} AP from smallest to largest)"
    )
    timed = [row for row in table if row.latency_share is not None]
    if timed:
        slow = max(timed, key=lambda row: row.latency_share or 0.0)
        if (slow.latency_share or 0.0) >= 0.05:
            told += f"; for latency it is {slow.gene} ({slow.latency_share:.0%})"
    return f"{told}. All choices one by one explain {explained:.0%} of AP."


def choices_plot(choices: Choices) -> Figure:
    """Draws two bars for each choice."""
    table = choices.rows
    plot = figure(
        x_title="share of variance explained (%)", y_title="choice", height=max(260, 120 + 34 * len(table))
    )
    genes = [row.gene for row in table]
    bars = (
        ("AP", FRONT, [row.ap_share for row in table], [f"{row.ap_effect:+.3f} AP" for row in table]),
        (
            "latency",
            SECOND,
            [row.latency_share or 0.0 for row in table],
            [f"{row.latency_effect_ms or 0.0:+.2f} ms" for row in table],
        ),
    )
    for name, colour, shares, effects in bars:
        plot.add_bar(
            orientation="h",
            y=genes,
            x=[100 * max(share, 0.0) for share in shares],
            marker={"color": colour},
            name=name,
            customdata=effects,
            hovertemplate=f"%{{y}}: %{{x:.0f}}% of {name}<br>smallest to largest: %{{customdata}}<extra></extra>",
        )
    if choices.chance > 0:
        plot.add_vline(x=100 * choices.chance, line={"color": MUTED, "width": 1.5, "dash": "dot"})
        plot.add_annotation(
            text="chance, for AP", x=100 * choices.chance, yref="paper", y=0.0, xanchor="left", yanchor="bottom",
            xshift=5, showarrow=False, bgcolor=VEIL, font={"color": MUTED, "size": 12},
        )  # fmt: skip
    plot.update_layout(barmode="group", bargap=0.3, bargroupgap=0.05)
    plot.update_yaxes(autorange="reversed", showgrid=False)
    plot.update_xaxes(rangemode="tozero", ticksuffix="%")
    return plot


def _ap(point: Point) -> float:
    return point.ap if point.ap is not None else 0.0


def _latency_ms(point: Point) -> float:
    return point.latency.p50_ms if point.latency is not None else 0.0


def _shares(points: Sequence[Point], target: Callable[[Point], float]) -> _Shares:
    genes = dict.fromkeys(gene for point in points for gene, _ in point.genes)
    values = {gene: np.array([dict(point.genes).get(gene, -1) for point in points]) for gene in genes}
    values = {gene: column for gene, column in values.items() if len(np.unique(column)) > 1}
    y_N = np.array([target(point) for point in points], dtype=np.float64)
    if len(points) < MIN_ROWS or not values or float(y_N.var()) <= 1e-12:
        return _Shares(of={}, chance=0.0)
    columns = {gene: _one_hot(column) for gene, column in values.items()}
    owners_P = np.repeat(np.arange(len(columns)), [block.shape[1] for block in columns.values()])
    x_NP = np.concatenate(list(columns.values()), axis=1)
    fold_N = generator(0, "report folds").permutation(len(points)) % FOLDS
    # The target, then the target shuffled: what a share comes to when there is nothing to explain.
    shuffled = [generator(0, "report chance", index).permutation(y_N) for index in range(SHUFFLES)]
    y_NM = np.stack([y_N, *shuffled], axis=1)
    y_NM -= y_NM.mean(axis=0)
    parts = [_held_out(x_NP, y_NM, fold_N, owners_P, penalty) for penalty in PENALTIES]
    errors = np.stack([((y_NM - part_GNM.sum(axis=0)) ** 2).sum(axis=0) for part_GNM in parts])
    best_M = errors.argmin(axis=0)
    shares_GM = np.stack(
        [(parts[best][:, :, m] * y_NM[:, m]).mean(axis=1) / y_N.var() for m, best in enumerate(best_M)],
        axis=1,
    )
    whole_P = _ridge(x_NP - x_NP.mean(axis=0), y_NM[:, :1], PENALTIES[best_M[0]])[:, 0]
    table = {}
    for index, gene in enumerate(columns):
        levels = whole_P[owners_P == index]
        table[gene] = (float(shares_GM[index, 0]), float(levels[-1] - levels[0]))
    return _Shares(of=table, chance=float(np.quantile(shares_GM[:, 1:].max(axis=0), 0.95)))


def _one_hot(column: NDArray[np.int64]) -> Array:
    return np.asarray(column[:, None] == np.unique(column)[None, :], dtype=np.float64)


def _held_out(
    x_NP: Array, y_NM: Array, fold_N: NDArray[np.int64], owners_P: NDArray[np.int64], penalty: float
) -> Array:
    """Returns what each choice adds to the prediction of each row (G, N, M), fitted on the folds without that row."""
    parts_GNM = np.zeros((int(owners_P.max()) + 1, *y_NM.shape))
    for fold in range(FOLDS):
        inside, outside = fold_N != fold, fold_N == fold
        mean_P = x_NP[inside].mean(axis=0)
        beta_PM = _ridge(x_NP[inside] - mean_P, y_NM[inside] - y_NM[inside].mean(axis=0), penalty)
        for index in range(len(parts_GNM)):
            own = owners_P == index
            parts_GNM[index, outside] = (x_NP[outside][:, own] - mean_P[own]) @ beta_PM[own]
    return parts_GNM


def _ridge(x_NP: Array, y_NM: Array, penalty: float) -> Array:
    gram_PP = x_NP.T @ x_NP + penalty * np.eye(x_NP.shape[1])
    return np.asarray(np.linalg.solve(gram_PP, x_NP.T @ y_NM), dtype=np.float64)
