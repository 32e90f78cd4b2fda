"""How good predictions are, in the figures that papers print, beside predictors that know almost nothing.

A high hit rate alone says little: in a narrow space a constant is within 10 % of nine networks in ten.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from posesearch.config import to_plain
from posesearch.latency.calibrate import fit_line


@dataclass(frozen=True, kw_only=True, slots=True)
class Baselines:
    """Mean absolute relative error of trivial predictors, fitted on the same networks as the table.

    Attributes:
        constant: The same latency for every network.
        depth: A line in the number of star blocks.
        macs: A line in the multiply-accumulates.
    """

    constant: float
    depth: float
    macs: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Errors of predictions, relative to the measured latency.

    Attributes:
        nets: Networks.
        mape: Mean absolute relative error.
        bias: Mean signed relative error; below 0 the predictions are too small.
        p95: 95th percentile of the absolute relative error.
        max: Largest absolute relative error.
        hits_5: Share of networks predicted within 5 %.
        hits_10: Share of networks predicted within 10 %.
        spearman: Rank correlation; 0 where it is not defined.
        kendall: Kendall's tau-b; 0 where it is not defined.
        mape_after_scale: `mape` after one common factor is taken out, as the noise floor has it.
    """

    nets: int
    mape: float
    bias: float
    p95: float
    max: float
    hits_5: float
    hits_10: float
    spearman: float
    kendall: float
    mape_after_scale: float

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as JSON-ready dict."""
        plain: dict[str, Any] = to_plain(self)
        return plain


def score(predicted_ms_N: np.ndarray, measured_ms_N: np.ndarray) -> Scores:
    """Compares predictions with measurements of the same networks, one at least."""
    errors_N = predicted_ms_N / measured_ms_N - 1.0
    absolute_N = np.abs(errors_N)
    scale = common_factor(predicted_ms_N, measured_ms_N)
    spearman, kendall = rank_correlations(predicted_ms_N, measured_ms_N)
    return Scores(
        nets=len(errors_N),
        mape=float(absolute_N.mean()),
        bias=float(errors_N.mean()),
        p95=float(np.percentile(absolute_N, 95)),
        max=float(absolute_N.max()),
        hits_5=float((absolute_N <= 0.05).mean()),
        hits_10=float((absolute_N <= 0.10).mean()),
        spearman=spearman,
        kendall=kendall,
        mape_after_scale=float(np.abs(scale * predicted_ms_N / measured_ms_N - 1.0).mean()),
    )


def common_factor(first_ms_N: np.ndarray, second_ms_N: np.ndarray) -> float:
    """Returns the factor that, taken times the first figures, gives the second ones best: the mean log ratio."""
    return math.exp(float(np.log(second_ms_N / first_ms_N).mean()))


def rank_correlations(first_N: np.ndarray, second_N: np.ndarray) -> tuple[float, float]:
    """Returns Spearman's rho and Kendall's tau-b; 0 for fewer than two networks or figures that are all equal."""
    from scipy import stats  # half a second to import: not at the start of every command

    if len(first_N) < 2 or np.ptp(first_N) == 0 or np.ptp(second_N) == 0:
        return 0.0, 0.0
    return float(stats.spearmanr(first_N, second_N)[0]), float(stats.kendalltau(first_N, second_N)[0])


def baseline_errors(
    fitted: tuple[np.ndarray, np.ndarray, np.ndarray], tested: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[Baselines, Baselines]:
    """Fits the trivial predictors by relative least squares, as the predictor itself, and scores them.

    Args:
        fitted: Depths, MACs and latencies of the networks to fit on.
        tested: The same of the networks to test on.

    Returns:
        Their errors as they are, and after one common factor is taken out, as `Scores.mape_after_scale` has it.
    """
    depths_N, macs_N, fitted_ms_N = (np.asarray(values, dtype=float) for values in fitted)
    tested_depths_M, tested_macs_M, tested_ms_M = (np.asarray(values, dtype=float) for values in tested)
    nothing_N, nothing_M = np.zeros(len(fitted_ms_N)), np.zeros(len(tested_ms_M))

    def scored(x_N: np.ndarray, x_M: np.ndarray) -> Scores:
        constant, slope = fit_line(x_N, fitted_ms_N)
        return score(constant + slope * x_M, tested_ms_M)

    constant = scored(nothing_N, nothing_M)
    depth, macs = scored(depths_N, tested_depths_M), scored(macs_N, tested_macs_M)
    return (
        Baselines(constant=constant.mape, depth=depth.mape, macs=macs.mape),
        Baselines(
            constant=constant.mape_after_scale,
            depth=depth.mape_after_scale,
            macs=macs.mape_after_scale,
        ),
    )
