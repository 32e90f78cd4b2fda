"""From the sum of table entries to a latency: a line, and a shrunken correction where it has proved itself.

Array letters: N networks, F features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from posesearch import rng

LEAST_FOR_RESIDUAL = 20
"""With fewer networks the correction learns their noise."""

SHRINKAGE = 0.03
"""Ridge strength in units of the number of networks, for features of unit variance; fixed, never tuned to a device.

On simulated devices bent by attention, memory traffic, parameters or kernels (68 networks, noise 0.5 % and 3 %) any
strength from 0.003 to 0.1 gave held-out errors within 0.4 points of one another; 1 lost up to 1.3 points.
"""

FOLDS, REPEATS = 5, 8

LEAST_GAIN = 0.98
"""The correction must bring the error on networks left out below this share of the line's; luck gives less."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Residual:
    """Ridge correction of log latency.

    Attributes:
        centre: Mean of each feature over the fitted networks.
        scale: Standard deviation of each feature.
        weights: Weight of each standardised feature.
        offset: Mean correction.
        limit: The largest correction that a fitted network asked for; none is ever larger.
    """

    centre: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    offset: float
    limit: float

    def factor(self, features: Sequence[float]) -> float:
        """Returns by what the line's latency is multiplied."""
        standard_F = (np.asarray(features) - self.centre) / self.scale
        return math.exp(min(self.limit, max(-self.limit, self.offset + float(standard_F @ self.weights))))


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """latency = (constant_ms + slope * table sum) * residual factor.

    Attributes:
        constant_ms: What no block pays for, e.g. a graph's launch.
        slope: What a block costs inside a network over what it costs in a chain.
        residual: The correction; None where repeated cross-validation was not better with it.
        nets: Networks it was fitted on.
        price_factors: What the networks say of each block's measured price, in the order of `blocks_in`; empty where
            they say nothing (see `prices`).
    """

    constant_ms: float
    slope: float
    residual: Residual | None
    nets: int
    price_factors: tuple[float, ...] = ()

    def latency_ms(self, table_ms: float, features: Sequence[float]) -> float:
        """Returns the latency of a network.

        Args:
            table_ms: Sum of its table entries.
            features: See `features.features`; looked at only where there is a correction.
        """
        line_ms = self.constant_ms + self.slope * table_ms
        return line_ms * self.residual.factor(features) if self.residual else line_ms


def calibrate(
    table_ms_N: np.ndarray, features_NF: np.ndarray, latency_ms_N: np.ndarray, *, seed: int = 0
) -> Calibration:
    """Fits the line by relative least squares, and the correction if it lowers the error on networks left out.

    Args:
        table_ms_N: Sums of table entries.
        features_NF: Features of the same networks.
        latency_ms_N: Their measured latencies.
        seed: Key of the folds.
    """
    constant_ms, slope = fit_line(table_ms_N, latency_ms_N)
    helps = len(latency_ms_N) >= LEAST_FOR_RESIDUAL and _residual_helps(
        table_ms_N, features_NF, latency_ms_N, seed
    )
    line_ms_N = constant_ms + slope * table_ms_N
    return Calibration(
        constant_ms=constant_ms,
        slope=slope,
        residual=fit_residual(line_ms_N, features_NF, latency_ms_N) if helps else None,
        nets=len(latency_ms_N),
    )


def fit_line(x_N: np.ndarray, latency_ms_N: np.ndarray) -> tuple[float, float]:
    """Returns constant and slope with the least sum of squared relative errors.

    A line that falls, or is not positive on the fitted networks, follows noise: then it goes through the origin.
    """
    relative_N2 = np.stack((np.ones_like(x_N), x_N), axis=1) / latency_ms_N[:, None]
    solved, *_ = np.linalg.lstsq(relative_N2, np.ones(len(x_N)), rcond=None)
    constant, slope = map(float, solved)
    if slope > 0 and np.all(constant + slope * x_N > 0):
        return constant, slope
    through_N = x_N / latency_ms_N
    square = float(through_N @ through_N)
    if square == 0.0:  # nothing varies: the best constant
        return float(np.sum(1.0 / latency_ms_N) / np.sum(1.0 / latency_ms_N**2)), 0.0
    return 0.0, float(through_N.sum()) / square


def fit_residual(line_ms_N: np.ndarray, features_NF: np.ndarray, latency_ms_N: np.ndarray) -> Residual:
    """Fits log(latency / line) by ridge regression of fixed strength; the mean is not shrunk."""
    target_N = np.log(latency_ms_N / line_ms_N)
    centre_F, scale_F = features_NF.mean(axis=0), features_NF.std(axis=0)
    scale_F = np.where(scale_F > 0, scale_F, 1.0)
    standard_NF = (features_NF - centre_F) / scale_F
    offset = float(target_N.mean())
    gram_FF = standard_NF.T @ standard_NF + SHRINKAGE * len(target_N) * np.eye(len(centre_F))
    weights_F = np.linalg.solve(gram_FF, standard_NF.T @ (target_N - offset))
    return Residual(
        centre=tuple(centre_F.tolist()),
        scale=tuple(scale_F.tolist()),
        weights=tuple(weights_F.tolist()),
        offset=offset,
        limit=float(np.abs(target_N).max()),
    )


def _residual_helps(
    table_ms_N: np.ndarray, features_NF: np.ndarray, latency_ms_N: np.ndarray, seed: int
) -> bool:
    """Says whether the correction lowers the mean relative error in repeated cross-validation."""

    def line(fitted_N: np.ndarray) -> np.ndarray:
        constant, slope = fit_line(table_ms_N[fitted_N], latency_ms_N[fitted_N])
        return constant + slope * table_ms_N

    def corrected(fitted_N: np.ndarray) -> np.ndarray:
        line_ms_N = line(fitted_N)
        if np.any(line_ms_N <= 0):
            return np.full_like(line_ms_N, np.inf)
        residual = fit_residual(line_ms_N[fitted_N], features_NF[fitted_N], latency_ms_N[fitted_N])
        return line_ms_N * np.array([residual.factor(row_F) for row_F in features_NF])

    return is_better(corrected, line, latency_ms_N, seed)


def is_better(
    candidate: Callable[[np.ndarray], np.ndarray],
    simpler: Callable[[np.ndarray], np.ndarray],
    latency_ms_N: np.ndarray,
    seed: int,
) -> bool:
    """Says whether a predictor lowers the mean relative error on networks left out, in repeated cross-validation.

    Args:
        candidate: From the indices of the networks it may be fitted on to its predictions of all of them.
        simpler: The predictor it would replace, likewise.
        latency_ms_N: The measured latencies.
        seed: Key of the folds.
    """
    errors = np.zeros(2)
    for repeat in range(REPEATS):
        order_N = rng.generator(seed, "latency folds", repeat).permutation(len(latency_ms_N))
        for fold in range(FOLDS):
            tested_N = order_N[fold::FOLDS]
            fitted_N = np.setdiff1d(order_N, tested_N)
            for number, predict in enumerate((candidate, simpler)):
                errors[number] += np.abs(predict(fitted_N)[tested_N] / latency_ms_N[tested_N] - 1.0).sum()
    return bool(errors[0] < LEAST_GAIN * errors[1])
