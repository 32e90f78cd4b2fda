"""The regime: whether latency goes with the number of operators (launch-bound) or with arithmetic, in one sentence.

On a GPU in eager mode the CUDA graph decides: it runs the same kernels without the host launching them one by one. The
GPU's own clock decides only where it is far below the wall clock, since it also runs while the GPU waits for the host.
Everywhere else, latency = a * operators + b * MACs is fitted to the measured networks (a, b >= 0, relative least
squares), and the operators' mean share of it is judged by its bootstrap interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal

import numpy as np

from posesearch.report.extras import TimedNet
from posesearch.report.rows import RunRows
from posesearch.report.runtimes import each_text, in_sentence, pairs
from posesearch.report.words import significant
from posesearch.rng import generator

if TYPE_CHECKING:
    from numpy.typing import NDArray

Verdict = Literal["launch-bound", "arithmetic-bound", "undecided"]

MIN_NETS = 12
"""Fewer networks leave the two shares open."""

WORST_FIT = 0.15
"""Mean relative error above which two counts do not explain the latency; quiet runs of the demo's space lie at 0.06."""

RESAMPLES = 200
CLEARLY_FASTER = 1.5
"""How many times as fast the CUDA graph must be before eager is called launch-bound."""

FAR_BELOW = 0.7
"""Share of the wall clock below which the GPU's own clock shows that the host decides."""

_FITTED = (
    "Shares: latency = a * operators + b * MACs, fitted to the measured networks, with a 90 % bootstrap interval. What "
    "goes with the operators includes memory traffic that grows with their number."
)
_FEWER = "fewer blocks (less depth, less attention) help more than narrower ones"
_NARROWER = "narrower blocks and smaller kernels help as much as fewer blocks"


@dataclass(frozen=True, kw_only=True, slots=True)
class Regime:
    """What was found, the sentence for the user, and what it rests on where that must be said."""

    verdict: Verdict
    sentence: str
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """Latency by operators and MACs.

    Attributes:
        share: Part of the latency that goes with the number of operators, 0 to 1.
        low: Lower end of its 90 % bootstrap interval over networks.
        high: Upper end.
        error: Mean relative error of the fit.
        nets: Networks it rests on.
    """

    share: float
    low: float
    high: float
    error: float
    nets: int


def regime(rows: RunRows) -> Regime | None:
    """Returns the regime the picks were measured in; None where nothing was measured."""
    return _by_graph(rows) or _by_device_clock(rows) or _by_counts(rows)


def fit_counts(nets: Sequence[TimedNet]) -> Fit:
    """Fits latency to operators and MACs."""
    from scipy.optimize import nnls

    counts_N2 = np.array([(net.operators, net.macs / 1e6) for net in nets], dtype=np.float64)
    counts_N2 /= counts_N2.mean(axis=0).clip(min=1e-12)
    relative_N2 = counts_N2 / np.array([net.p50_ms for net in nets])[:, None]

    def share_of(chosen_N: NDArray[np.int64]) -> tuple[float, float]:
        weights_2, _ = nnls(relative_N2[chosen_N], np.ones(len(chosen_N)))
        parts_N2 = counts_N2 * weights_2
        error = float(np.abs((relative_N2 * weights_2).sum(axis=1) - 1.0).mean())
        return float((parts_N2[:, 0] / parts_N2.sum(axis=1).clip(min=1e-12)).mean()), error

    share, error = share_of(np.arange(len(nets)))
    drawn = [
        share_of(generator(0, "report regime", index).integers(len(nets), size=len(nets)))[0]
        for index in range(RESAMPLES)
    ]
    low, high = np.quantile(drawn, (0.05, 0.95))
    return Fit(share=share, low=float(low), high=float(high), error=error, nets=len(nets))


def timed_nets(rows: RunRows) -> tuple[TimedNet, ...]:
    """Returns the networks to fit: those of the latency table, which cover the space, or else what the search measured."""
    if len(rows.extras.nets) >= MIN_NETS:
        return rows.extras.nets
    found = {}
    for point in rows.points:
        operators = sum(part.operators for part in point.parts)
        if point.latency is not None and operators and point.macs:
            found[point.arch_id] = TimedNet(operators=operators, macs=point.macs, p50_ms=point.latency.p50_ms)
    return tuple(found.values())


def _by_graph(rows: RunRows) -> Regime | None:
    found = [pair for pair in pairs(rows) if (pair[0], pair[2]) == ("eager", "cudagraph")]
    if not found:
        return None
    ratio = median(eager.p50_ms / graph.p50_ms for _, eager, _, graph in found)
    if ratio < CLEARLY_FASTER:
        return None
    launches = _each(rows)
    return Regime(
        verdict="launch-bound",
        sentence=(
            f"Launch-bound: replayed as a CUDA graph the same networks are {ratio:.1f} times as fast, so about "
            f"{1 - 1 / ratio:.0%} of the eager latency is the host launching kernels one by one{launches}; {_FEWER}, and the "
            "CUDA graph helps most."
        ),
    )


def _by_device_clock(rows: RunRows) -> Regime | None:
    shares = [
        latency.device_ms / latency.p50_ms
        for point in rows.front
        if (latency := point.latency) is not None and latency.device_ms is not None
    ]
    if not shares or median(shares) > FAR_BELOW:
        return None
    return Regime(
        verdict="launch-bound",
        sentence=(
            f"Launch-bound: the GPU works for {median(shares):.0%} of the measured latency{_each(rows)} and the host "
            f"decides the rest; {_FEWER}."
        ),
    )


def _by_counts(rows: RunRows) -> Regime | None:
    nets = timed_nets(rows)
    if not nets:
        return None
    if len(nets) < MIN_NETS:
        return Regime(
            verdict="undecided",
            sentence=(
                f"Launch-bound or arithmetic-bound is undecided: {len(nets)} measured networks are too few to tell "
                f"(at least {MIN_NETS})."
            ),
        )
    fit = fit_counts(nets)
    found = f"({fit.low:.0%}-{fit.high:.0%}; {fit.nets} measured networks, {fit.error:.0%} off)"
    if fit.error > WORST_FIT:
        return Regime(
            verdict="undecided",
            sentence=(
                f"Launch-bound or arithmetic-bound is undecided: operators and MACs explain the latency of {fit.nets} "
                f"networks only within {fit.error:.0%}, too little to say which of them decides."
            ),
        )
    if fit.low >= 0.5:
        return Regime(
            verdict="launch-bound",
            sentence=(
                f"Launch-bound{_in(rows)}: about {fit.share:.0%} of the latency goes with the number of operators "
                f"{found}, the rest with the MACs; {_FEWER}."
            ),
            note=_FITTED,
        )
    if fit.high <= 0.5:
        return Regime(
            verdict="arithmetic-bound",
            sentence=(
                f"Arithmetic-bound{_in(rows)}: about {1 - fit.share:.0%} of the latency goes with the MACs and "
                f"{fit.share:.0%} with the number of operators {found}; {_NARROWER}."
            ),
            note=_FITTED,
        )
    return Regime(
        verdict="undecided",
        sentence=(
            f"Between launch-bound and arithmetic-bound{_in(rows)}: about {fit.share:.0%} of the latency goes with the "
            f"number of operators {found}, the rest with the MACs; fewer blocks and narrower ones both help."
        ),
        note=_FITTED,
    )


def _each(rows: RunRows) -> str:
    """Returns what one kernel comes to, such as `, 17.0 µs a kernel`; empty without counts."""
    each_us = [
        1000 * point.latency.p50_ms / count.count
        for point in rows.front
        if point.latency is not None and (count := rows.extras.kernels_of(point.arch_id)) and count.count
    ]
    units = {count.unit for count in rows.extras.kernels}
    return (
        f", {significant(median(each_us))} µs {each_text(units.pop())}" if each_us and len(units) == 1 else ""
    )


def _in(rows: RunRows) -> str:
    runtime = rows.budget.runtime if rows.budget else ""
    return f" in {in_sentence(runtime)}" if runtime else ""
