"""The point prediction: an architecture's table entries, summed and put through the calibration."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from posesearch.errors import UsageError
from posesearch.latency.blocks import Block, blocks_of
from posesearch.latency.calibrate import Calibration, calibrate
from posesearch.latency.features import features
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace


class Estimator:
    """Estimates latencies of the members of a space.

    Args:
        costs_ms: Marginal cost of every block of the space, milliseconds.
        calibration: From their sum to a latency.
        space: The space.
    """

    def __init__(self, costs_ms: Mapping[Block, float], calibration: Calibration, space: SearchSpace) -> None:
        self._costs_ms, self._calibration, self._space = costs_ms, calibration, space

    def latency_ms(self, arch: Architecture) -> float:
        """Returns the estimated median latency, milliseconds.

        Raises:
            UsageError: The architecture has a block that is not in the table.
        """
        known = features(arch, self._space) if self._calibration.residual else ()
        return self._calibration.latency_ms(table_ms(arch, self._costs_ms, self._space), known)


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
    return calibrate(
        np.array([table_ms(arch, costs_ms, space) for arch in latencies_ms]),
        np.array([features(arch, space) for arch in latencies_ms]),
        np.array(list(latencies_ms.values())),
        seed=seed,
    )
