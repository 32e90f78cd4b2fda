"""Training batches as tensors: crops, labels, and the persons they show, each a pure function of its step.

Shape letters: B batch, H and W crop height and width, C colours, K joints, X and Y bins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posesearch.data.augment import draw
from posesearch.data.batch import make_batch, normalise
from posesearch.data.dataset import PoseDataset
from posesearch.data.order import BatchOrder
from posesearch.data.store import ImageStore
from posesearch.errors import DataError
from posesearch.keypoints.simcc import SimCCCodec
from posesearch.rng import generator
from posesearch.train.losses import SoftLabels, soft_labels
from posesearch.train.recipe import LossConfig, Recipe

REFERENCE_SIZE = (256, 192)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainBatch:
    """One training batch, on the host or on the device.

    Attributes:
        images: images_BHWC uint8 on the host, normalised images_BCHW on the device.
        x_BKX: Gaussian labels over the x bins, peak 1.
        y_BKY: The same over the y bins.
        weight_BK: 1 for a labelled joint inside the crop.
        hole_B4: (left, top, width, height) in crop pixels of a rectangle that is still to be blackened, for the subnets
            that see it; None when the images already hold it.
        annotation_id_B: Which persons these are.
    """

    images: Tensor
    x_BKX: Tensor
    y_BKY: Tensor
    weight_BK: Tensor
    hole_B4: Tensor | None
    annotation_id_B: NDArray[np.int64]

    def to(self, device: torch.device, *, channels_last: bool) -> TrainBatch:
        """Returns the batch on `device`, its images normalised."""
        return replace(
            self,
            images=normalise(self.images, device=device, channels_last=channels_last),
            x_BKX=self.x_BKX.to(device, non_blocking=True),
            y_BKY=self.y_BKY.to(device, non_blocking=True),
            weight_BK=self.weight_BK.to(device, non_blocking=True),
            hole_B4=None if self.hole_B4 is None else self.hole_B4.to(device, non_blocking=True),
        )

    def labels(self, beta: float) -> SoftLabels:
        """Returns the labels as distributions."""
        return soft_labels(self.x_BKX, self.y_BKY, self.weight_BK, beta)


def label_codec(input_size: tuple[int, int], split_ratio: float, loss: LossConfig) -> SimCCCodec:
    """Returns the codec of a recipe: its sigmas hold at 256x192 and grow with the square root of the side.

    The square root is RTMPose's: (4.9, 5.66) at 256x192 becomes (6, 6.93) at 384x288.
    """
    height, width = input_size
    sigma_x, sigma_y = loss.sigma
    return SimCCCodec(
        input_size=input_size,
        sigma=(
            sigma_x * math.sqrt(width / REFERENCE_SIZE[1]),
            sigma_y * math.sqrt(height / REFERENCE_SIZE[0]),
        ),
        split_ratio=split_ratio,
    )


def batch_order(dataset: PoseDataset, recipe: Recipe, seed: int) -> BatchOrder:
    """Returns which persons each step sees; a data set smaller than a batch makes one smaller batch an epoch.

    Raises:
        DataError: There are fewer than two persons.
    """
    if len(dataset) < 2:
        raise DataError(
            f"{dataset.annotation_file} ({dataset.split}) has {len(dataset)} usable persons for training. At least "
            "2 are needed, because batch normalisation compares persons. Use more data."
        )
    return BatchOrder(num_persons=len(dataset), batch_size=min(recipe.batch_size, len(dataset)), seed=seed)


def batch_maker(
    dataset: PoseDataset,
    store: ImageStore,
    recipe: Recipe,
    order: BatchOrder,
    codec: SimCCCodec,
    *,
    holes_apart: bool,
    pin_memory: bool = False,
) -> Callable[[int], TrainBatch]:
    """Returns the function from a step to its batch; safe to call from several threads.

    Args:
        dataset: Training persons.
        store: Their images.
        recipe: Its two augmentation stages are chosen by the step's epoch.
        order: Which persons a step sees.
        codec: Makes the labels.
        holes_apart: Leave CoarseDropout's rectangles out of the images and pass them on as `hole_B4`.
        pin_memory: Put the tensors where a GPU can fetch them by itself.
    """

    def make(step: int) -> TrainBatch:
        augment = recipe.augment_at(step // order.steps_per_epoch)
        index_B = order.batch_indices(step)
        hole_B4 = None
        if holes_apart:
            # The same key and the same draws as make_batch's own: only the blackening moves.
            draws = draw(augment, len(index_B), codec.input_size, generator(order.seed, "augment", step))
            hole_B4 = torch.from_numpy(draws.hole_B4)
            augment = replace(augment, dropout_probability=0.0)
        batch = make_batch(dataset, store, index_B, codec.input_size, augment, order.seed, step)
        targets = codec.encode(batch.keypoints_BK2, batch.visible_BK)
        tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in (batch.images_BHWC, *targets)]
        if pin_memory:
            tensors = [tensor.pin_memory() for tensor in tensors]
        images, x_BKX, y_BKY, weight_BK = tensors
        return TrainBatch(
            images=images,
            x_BKX=x_BKX,
            y_BKY=y_BKY,
            weight_BK=weight_BK,
            hole_B4=hole_B4,
            annotation_id_B=dataset.annotation_id_N[index_B],
        )

    return make
