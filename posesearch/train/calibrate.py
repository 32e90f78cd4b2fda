"""The images every evaluated network takes its batch-norm statistics from: fixed, seeded, not augmented.

The same crops for every network make comparisons paired; plain crops are what the network will see when it is used.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from posesearch.data.batch import crops, normalise
from posesearch.data.dataset import PoseDataset
from posesearch.data.store import Images
from posesearch.rng import generator
from posesearch.train.evaluate import crops_a_forward

LEAST_BATCH = 32


def calibration_persons(dataset: PoseDataset, persons: int, seed: int) -> PoseDataset:
    """Returns the persons of `dataset` that statistics are taken from.

    Args:
        dataset: Training persons.
        persons: How many, at most.
        seed: Key of the choice.
    """
    order_N = generator(seed, "calibration").permutation(len(dataset))
    return dataset.subset(np.sort(order_N[:persons]))


class CalibrationImages:
    """Normalised batches of training crops, the same in every pass over them.

    Args:
        dataset: Training persons.
        store: Their images; those of `calibration_persons` are enough.
        input_size: (height, width) of the crops.
        persons: How many crops, at most.
        seed: Key of the choice.
        device: Where the network is.
        batch_size: Crops a batch; None takes as many as are evaluated at once, and 32 at least: on a CPU 0.075 instead
            of 0.13 to 0.15 of a full flipped evaluation (`demo`). Averaging the variances of 32 is sound (spread of the
            batch means: 0.03 %
            of the variance).
    """

    def __init__(
        self,
        dataset: PoseDataset,
        store: Images,
        input_size: tuple[int, int],
        *,
        persons: int,
        seed: int,
        device: torch.device | str = "cpu",
        batch_size: int | None = None,
    ) -> None:
        chosen = calibration_persons(dataset, persons, seed)
        # Kept as bytes, on a GPU if there is room: a quarter of the floats' memory, and normalising is cheap beside the
        # forward.
        self.images_NHWC = crops(chosen, store, input_size, device).pixels_NHWC
        self.device = device
        self.batch_size = batch_size or max(LEAST_BATCH, crops_a_forward(input_size, device))

    def __len__(self) -> int:
        """Returns the number of crops."""
        return len(self.images_NHWC)

    def __iter__(self) -> Iterator[Tensor]:
        """Yields images_BCHW."""
        for images_BHWC in self.images_NHWC.split(self.batch_size):
            yield normalise(images_BHWC, device=self.device, channels_last=True)
