"""Which persons a training step sees: every person once an epoch, in an order keyed by the epoch.

Nothing is remembered: step 12,345 names its persons without going through the steps before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posesearch.errors import UsageError
from posesearch.rng import generator


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchOrder:
    """The order of persons over all epochs; the last, incomplete batch of an epoch is dropped.

    Batches of one size keep batch statistics and compiled graphs the same; the persons dropped differ each epoch.

    Attributes:
        num_persons: Rows of the data set.
        batch_size: Persons a step.
        seed: The run's seed.
    """

    num_persons: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        """Refuses a batch that no epoch could fill.

        Raises:
            UsageError: The batch size is below 1 or above the number of persons.
        """
        if not 1 <= self.batch_size <= self.num_persons:
            raise UsageError(
                f"batch size {self.batch_size} does not fit {self.num_persons} training persons. Allowed: "
                f"1 to {self.num_persons}. Choose a smaller batch size or use more data."
            )

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in an epoch."""
        return self.num_persons // self.batch_size

    def epoch_order(self, epoch: int) -> NDArray[np.int64]:
        """Returns the permutation of all persons in `epoch` (counted from 0)."""
        return generator(self.seed, "order", epoch).permutation(self.num_persons)

    def batch_indices(self, step: int) -> NDArray[np.int64]:
        """Returns the rows of step `step` (counted from 0 over all epochs)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        start = position * self.batch_size
        return self.epoch_order(epoch)[start : start + self.batch_size]
