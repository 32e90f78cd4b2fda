"""The point prediction: an architecture's table entries, summed and put through the calibration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from posesearch.errors import UsageError
from posesearch.latency.blocks import Block, blocks_in, blocks_of
from posesearch.latency.calibrate import Calibration, calibrate
from posesearch.latency.features import features
from posesearch.latency.prices import price_factors
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace


class Estimator:
    """Estimates latencies of the members of a space.

    Args:
        costs_ms: Marginal cost of every block of the space as measured, milliseconds.
        calibration: Corrects these, and goes from their sum to a latency.
        space: The space.
    """

    def __init__(self, costs_ms: Mapping[Block, float], calibration: Calibration, space: SearchSpace) -> None:
        self._prices_ms = prices_ms(costs_ms, calibration, space)
        self._calibration, self._space = calibration, space

    def latency_ms(self, arch: Architecture) -> float:
        """Returns the estimated median latency, milliseconds.

        Raises:
            UsageError: The architecture has a block that is not in the table.
        """
        known = features(arch, self._space) if self._calibration.residual else ()
        return self._calibration.latency_ms(table_ms(arch, self._prices_ms, self._space), known)


def prices_ms(
    costs_ms: Mapping[Block, float], calibration: Calibration, space: SearchSpace
) -> dict[Block, float]:
    """Returns the price of every block, milliseconds: what was measured, corrected by what networks said of it."""
    if not calibration.price_factors:
        return dict(costs_ms)
    factors = dict(zip(blocks_in(space), calibration.price_factors, strict=True))
    return {block: cost_ms * factors[block] for block, cost_ms in costs_ms.items()}


def table_ms(arch: Architecture, costs_ms: Mapping[Block, float], space: SearchSpace) -> float:
    """Returns the sum of an architecture's entries, milliseconds, before any calibration.

    Raises:
        UsageError: A block has no entry, because the architecture is of another space.
    """
    try:
        return sum(costs_ms[block] * count for block, count in blocks_of(arch).items())
    except KeyError as error:
        raise UsageError(
            f"{arch}: block '{error.args[0]}' is not in the latency table of space '{space.name}'. Allowed: members of "
            "that space. Choose another table, or build one for the other space: posesearch latency build --space NAME"
        ) from None


def fit_estimator(
    latencies_ms: Mapping[Architecture, float], costs_ms: Mapping[Block, float], space: SearchSpace, seed: int
) -> Calibration:
    """Fits a calibration on measured networks.

    Args:
        latencies_ms: Measured latency by architecture, milliseconds.
        costs_ms: Marginal cost of every block of the space, milliseconds.
        space: The space.
        seed: Key of the cross-validation.
    """
    blocks, latency_ms_N = blocks_in(space), np.array(list(latencies_ms.values()))
    counts = [blocks_of(arch) for arch in latencies_ms]
    spent_ms_NB = np.array([[count.get(block, 0) * costs_ms[block] for block in blocks] for count in counts])
    factor_B = price_factors(spent_ms_NB, latency_ms_N)
    calibration = calibrate(
        (spent_ms_NB if factor_B is None else spent_ms_NB * factor_B).sum(axis=1),
        np.array([features(arch, space) for arch in latencies_ms]),
        latency_ms_N,
        seed=seed,
    )
    factors = () if factor_B is None else tuple(factor_B.tolist())
    return dataclasses.replace(calibration, price_factors=factors)
