"""Training batches as tensors: crops, labels, and the persons they show, each a pure function of its step.

`make_batches` chooses who makes them: OpenCV and NumPy on a CPU, the device itself on a GPU. Both go by the same plan.

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

from posesearch.data.batch import BatchPlan, batch_images, normalise, plan_batch
from posesearch.data.dataset import PoseDataset
from posesearch.data.device_batch import DeviceImages
from posesearch.data.device_labels import DeviceLabels
from posesearch.data.device_photometric import to_device
from posesearch.data.order import BatchOrder
from posesearch.data.staging import pixel_stage
from posesearch.data.store import DeviceStore, Images
from posesearch.device import usable_cores
from posesearch.errors import DataError
from posesearch.keypoints.simcc import SimCCCodec
from posesearch.progress import Progress, SilentProgress
from posesearch.train.losses import SoftLabels, soft_labels
from posesearch.train.recipe import LossConfig, Recipe

REFERENCE_SIZE = (256, 192)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainBatch:
    """One training batch, on the host or on the device.

    Attributes:
        images: images_BHWC uint8 as OpenCV made them, or normalised images_BCHW, ready for the network.
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
        """Returns the batch on `device`, its images normalised; one that was made there is ready as it is."""
        ready = self.images.is_floating_point()
        return replace(
            self,
            images=self.images
            if ready
            else normalise(self.images, device=device, channels_last=channels_last),
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


def preparing_threads(device: torch.device, store: Images) -> int:
    """Returns how many threads prepare batches.

    Batches cut out of images on the GPU need no help, and each one under way takes the GPU's memory.
    """
    alone = device.type != "cuda" or isinstance(store, DeviceStore)
    return 1 if alone else min(8, usable_cores())


def make_batches(
    dataset: PoseDataset,
    store: Images,
    recipe: Recipe,
    order: BatchOrder,
    codec: SimCCCodec,
    device: torch.device,
    *,
    holes_apart: bool,
    workers: int = 1,
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
) -> Callable[[int], TrainBatch]:
    """Returns the function from a step to its batch, made where it is fastest; safe to call from several threads.

    Args:
        dataset: Training persons.
        store: Their images, in any of the three places.
        recipe: Its two augmentation stages are chosen by the step's epoch.
        order: Which persons a step sees.
        codec: Makes the labels.
        device: Where the network is.
        holes_apart: Leave CoarseDropout's rectangles out of the images and pass them on as `hole_B4`.
        workers: Threads that will call the function.
        dtype: Of the images made on a GPU.
        progress: Told once if the GPU's batches cannot be compiled.
    """
    if device.type == "cpu":
        return batch_maker(dataset, store, recipe, order, codec, holes_apart=holes_apart)
    images = DeviceImages(
        pixel_stage(store, device, buffers=workers + 1),
        codec.input_size,
        device,
        dtype=dtype,
        report=(progress or SilentProgress()).message,
    )
    make = device_batch_maker(dataset, images, recipe, order, codec, device, holes_apart=holes_apart)
    # Compiled here and now, not by several threads at once while the network's first step is compiled too.
    make(0)
    return make


def step_plan(
    dataset: PoseDataset, recipe: Recipe, order: BatchOrder, codec: SimCCCodec, step: int
) -> BatchPlan:
    """Returns who is in a step's batch and how they are augmented: a pure function of its arguments."""
    augment = recipe.augment_at(step // order.steps_per_epoch)
    return plan_batch(dataset, order.batch_indices(step), codec.input_size, augment, order.seed, step)


def batch_maker(
    dataset: PoseDataset,
    store: Images,
    recipe: Recipe,
    order: BatchOrder,
    codec: SimCCCodec,
    *,
    holes_apart: bool,
) -> Callable[[int], TrainBatch]:
    """Returns the function that makes a step's batch with OpenCV and NumPy on the host; arguments as for `make_batches`."""

    def make(step: int) -> TrainBatch:
        plan = step_plan(dataset, recipe, order, codec, step)
        images_BHWC = batch_images(plan, store, codec.input_size, holes=not holes_apart)
        targets = codec.encode(plan.keypoints_BK2, plan.visible_BK)
        images, x_BKX, y_BKY, weight_BK = (
            torch.from_numpy(np.ascontiguousarray(array)) for array in (images_BHWC, *targets)
        )
        return TrainBatch(
            images=images,
            x_BKX=x_BKX,
            y_BKY=y_BKY,
            weight_BK=weight_BK,
            hole_B4=torch.from_numpy(_holes(plan)) if holes_apart else None,
            annotation_id_B=dataset.annotation_id_N[plan.person_index_B],
        )

    return make


def device_batch_maker(
    dataset: PoseDataset,
    images: DeviceImages,
    recipe: Recipe,
    order: BatchOrder,
    codec: SimCCCodec,
    device: torch.device,
    *,
    holes_apart: bool,
) -> Callable[[int], TrainBatch]:
    """Returns the function that makes a step's batch on the device; what it returns may still be under way there.

    Arguments as for `make_batches`; `images` makes the images of a plan.
    """
    labels = DeviceLabels.of(codec, device)

    def make(step: int) -> TrainBatch:
        plan = step_plan(dataset, recipe, order, codec, step)
        x_BKX, y_BKY, weight_BK = labels.encode(
            to_device(plan.keypoints_BK2, device), to_device(plan.visible_BK, device)
        )
        return TrainBatch(
            images=images(plan, holes=not holes_apart),
            x_BKX=x_BKX,
            y_BKY=y_BKY,
            weight_BK=weight_BK,
            hole_B4=to_device(_holes(plan), device) if holes_apart else None,
            annotation_id_B=dataset.annotation_id_N[plan.person_index_B],
        )

    return make


def _holes(plan: BatchPlan) -> NDArray[np.int64]:
    if plan.draws is None:
        return np.zeros((len(plan.matrix_B23), 4), dtype=np.int64)
    return plan.draws.hole_B4
