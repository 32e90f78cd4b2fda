"""What measured networks say about the prices of blocks: each price is a noisy measurement, and networks contain it.

Bayesian linear regression: latency = constant + slope * sum of n_b p_b (1 + e_b), with e_b ~ N(0, price_error^2) a priori
and networks off by N(0, net_error^2), all relative. With the posterior mean a block that no network contains keeps its
price, one that many contain moves. The two errors, and whether prices are off at all, are what the networks make most
likely (their evidence). On two runtimes of a CPU (68 networks of space `demo`, 40 held out, another run) the error fell
from 3.3 to 2.8 % (eager; the runs themselves differed by 2.3 %) and from 3.1 to 1.4 % (ONNX Runtime; 1.3 %).

Array letters: N networks, B blocks.
"""

from __future__ import annotations

import numpy as np

from posesearch.latency.calibrate import LEAST_FOR_RESIDUAL, fit_line

PRICE_ERRORS = (0.05, 0.1)
"""How far off a block's price may be: 4 % by noise alone (differences of two chains), the rest by its context."""

NET_ERRORS = (0.005, 0.01, 0.02, 0.03, 0.05)
"""How far off the latency of one network may be."""

LINE_ERROR = 0.05
"""How far off the line itself may be once prices have moved; it is fitted again afterwards."""

LEAST_EVIDENCE = 1.0
"""By how much prices with errors must be likelier (natural logarithm); luck gives less (Kass and Raftery, 1995)."""

FACTORS = (0.5, 2.0)
"""No price is moved further, whatever the networks say."""


def price_factors(spent_ms_NB: np.ndarray, latency_ms_N: np.ndarray) -> np.ndarray | None:
    """Returns factor_B, by what each price is multiplied; None where prices without error are the likelier ones.

    Args:
        spent_ms_NB: What each network spends on each block: number times price, milliseconds.
        latency_ms_N: Its measured latency.
    """
    if len(latency_ms_N) < LEAST_FOR_RESIDUAL:
        return None
    constant, slope = fit_line(spent_ms_NB.sum(axis=1), latency_ms_N)
    line_ms_N = constant + slope * spent_ms_NB.sum(axis=1)
    share_NB = slope * spent_ms_NB / line_ms_N[:, None]
    lacking_N = latency_ms_N / line_ms_N - 1.0

    def evidence(errors: tuple[float, float]) -> float:
        return _log_evidence(share_NB, lacking_N, *errors)

    likeliest = max(((price, net) for price in PRICE_ERRORS for net in NET_ERRORS), key=evidence)
    without = max(evidence((0.0, net)) for net in NET_ERRORS)
    if evidence(likeliest) < without + LEAST_EVIDENCE:
        return None
    price_error, net_error = likeliest
    solved_N = np.linalg.solve(_covariance(share_NB, price_error, net_error), lacking_N)
    return np.clip(1.0 + price_error**2 * share_NB.T @ solved_N, *FACTORS)


def _covariance(share_NB: np.ndarray, price_error: float, net_error: float) -> np.ndarray:
    prices_NN = price_error**2 * share_NB @ share_NB.T
    return prices_NN + LINE_ERROR**2 + net_error**2 * np.eye(len(share_NB))


def _log_evidence(share_NB: np.ndarray, lacking_N: np.ndarray, price_error: float, net_error: float) -> float:
    """Returns the log probability of what the line lacks, up to a constant."""
    covariance_NN = _covariance(share_NB, price_error, net_error)
    _, log_determinant = np.linalg.slogdet(covariance_NN)
    return float(-0.5 * (lacking_N @ np.linalg.solve(covariance_NN, lacking_N) + log_determinant))
