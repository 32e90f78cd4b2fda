"""A training batch, evaluation crops, and the step from uint8 crops to network input.

What a batch holds is planned on the host: persons, matrices, random numbers and joints, a few hundred numbers. Its images are
made from the plan by OpenCV here, or on a GPU by `device_batch`.

A batch is a pure function of (data set, config, seed, step): nothing is remembered between batches.

Shape suffixes: B persons of a batch, N persons, H and W crop height and width, C colour channels (RGB), K joints.
Points are (x, y) in crop pixels.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posesearch.data.augment import AugmentConfig, AugmentDraws, draw
from posesearch.data.dataset import PoseDataset
from posesearch.data.geometry import augment_matrices
from posesearch.data.memory import free_device_bytes
from posesearch.data.photometric import Photometric
from posesearch.data.store import Images
from posesearch.data.warp import cut_crops
from posesearch.errors import DataError
from posesearch.keypoints.boxes import affine, apply_affine, center_scale, invert_affine
from posesearch.rng import generator

# ImageNet statistics times 255, RGB: what the published StarNet and RTMPose weights expect.
IMAGE_MEAN = (123.675, 116.28, 103.53)
IMAGE_STD = (58.395, 57.12, 57.375)

CROP_SHARE = 0.25
"""Largest share of the free GPU memory for crops that are kept: COCO's validation set at 256x192 takes 0.94 GB."""


class BatchPlan(NamedTuple):
    """Everything about a batch but its pixels.

    Attributes:
        person_index_B: Rows of the data set.
        image_row_B: The image each person is on.
        matrix_B23: Image pixels to crop pixels.
        keypoints_BK2: Joints in crop pixels, float32; zero where not labelled. They may lie outside the crop: the
            codec decides what to do with those.
        visible_BK: 1 where labelled (occluded or not), else 0; float32.
        draws: The random numbers; None for plain crops.
    """

    person_index_B: NDArray[np.int64]
    image_row_B: NDArray[np.int64]
    matrix_B23: NDArray[np.float64]
    keypoints_BK2: NDArray[np.float32]
    visible_BK: NDArray[np.float32]
    draws: AugmentDraws | None


class PoseBatch(NamedTuple):
    """One training batch.

    Attributes:
        images_BHWC: RGB uint8 crops.
        keypoints_BK2: As planned.
        visible_BK: As planned.
        person_index_B: Rows of the data set.
    """

    images_BHWC: NDArray[np.uint8]
    keypoints_BK2: NDArray[np.float32]
    visible_BK: NDArray[np.float32]
    person_index_B: NDArray[np.int64]


def plan_batch(
    dataset: PoseDataset,
    person_index_B: NDArray[np.integer],
    input_size: tuple[int, int],
    augment: AugmentConfig | None,
    seed: int,
    step: int,
) -> BatchPlan:
    """Draws the random numbers of a batch and turns them into matrices and joints; touches no image.

    Args:
        dataset: The persons.
        person_index_B: Rows of `dataset`.
        input_size: (height, width) of the crops.
        augment: The recipe's augmentation, or None for plain crops (recalibration, overfitting tests).
        seed: The run's seed.
        step: Number of the training step; (seed, step) is the key of all random numbers.
    """
    index_B = np.asarray(person_index_B, dtype=np.int64)
    boxes_B4 = dataset.crop_boxes(index_B)
    keypoints_BK3 = dataset.keypoints_NK3[index_B]
    draws = None
    if augment is None:
        matrix_B23 = affine(*center_scale(boxes_B4, input_size), 0.0, input_size)
    else:
        draws = draw(augment, len(index_B), input_size, generator(seed, "augment", step))
        matrix_B23 = augment_matrices(boxes_B4, keypoints_BK3, dataset.skeleton, augment, draws, input_size)
        mirrored_BK3 = keypoints_BK3[:, dataset.skeleton.flip_index]
        keypoints_BK3 = np.where(draws.flip_B[:, None, None], mirrored_BK3, keypoints_BK3)
    visible_BK = (keypoints_BK3[..., 2] > 0).astype(np.float32)
    points_BK2 = apply_affine(matrix_B23, keypoints_BK3[..., :2]) * visible_BK[..., None]
    return BatchPlan(
        person_index_B=index_B,
        image_row_B=dataset.image_index_N[index_B],
        matrix_B23=matrix_B23,
        keypoints_BK2=points_BK2.astype(np.float32),
        visible_BK=visible_BK,
        draws=draws,
    )


def batch_images(
    plan: BatchPlan, store: Images, input_size: tuple[int, int], *, holes: bool = True
) -> NDArray[np.uint8]:
    """Makes the images of a planned batch with OpenCV: images_BHWC, RGB.

    Args:
        plan: From `plan_batch`.
        store: The decoded images.
        input_size: (height, width) of the crops, as planned.
        holes: Whether to blacken CoarseDropout's rectangles.
    """
    if plan.draws is None:
        return cut_crops(store, plan.image_row_B, plan.matrix_B23, input_size)
    draws = plan.draws if holes else plan.draws._replace(hole_B4=np.zeros_like(plan.draws.hole_B4))
    return cut_crops(store, plan.image_row_B, plan.matrix_B23, input_size, change=Photometric(draws))


def make_batch(
    dataset: PoseDataset,
    store: Images,
    person_index_B: NDArray[np.integer],
    input_size: tuple[int, int],
    augment: AugmentConfig | None,
    seed: int,
    step: int,
) -> PoseBatch:
    """Plans a batch and makes its images; arguments as for these."""
    plan = plan_batch(dataset, person_index_B, input_size, augment, seed, step)
    return PoseBatch(
        batch_images(plan, store, input_size), plan.keypoints_BK2, plan.visible_BK, plan.person_index_B
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EvalCrops:
    """Every person of a data set, warped once for recalibration and evaluation.

    Attributes:
        pixels_NHWC: RGB uint8 crops, on the host or where the network is.
        inverse_affine_N23: Crop pixels to image pixels.
        box_area_N: Area of the padded, aspect-fixed box in square image pixels: what OKS-NMS divides by.
        input_size: (height, width) of the crops.
    """

    pixels_NHWC: Tensor
    inverse_affine_N23: NDArray[np.float64]
    box_area_N: NDArray[np.float64]
    input_size: tuple[int, int]

    @property
    def images_NHWC(self) -> NDArray[np.uint8]:
        """The crops as an array on the host."""
        images_NHWC: NDArray[np.uint8] = self.pixels_NHWC.cpu().numpy()
        return images_NHWC

    def __len__(self) -> int:
        """Returns the number of persons."""
        return len(self.pixels_NHWC)


def crops(
    dataset: PoseDataset, store: Images, input_size: tuple[int, int], device: torch.device | str = "cpu"
) -> EvalCrops:
    """Warps every person of `dataset` without augmentation; the flip test mirrors these crops on the device.

    OpenCV warps them for every device, so that figures do not depend on where the images or the network are.

    Args:
        dataset: The persons, with ground-truth or detector boxes.
        store: Their decoded images.
        input_size: (height, width) of the crops.
        device: Where the network is: on a GPU the crops are kept there, if they take at most a quarter of what is free.

    Raises:
        DataError: The data set is empty.
    """
    if not len(dataset):
        raise DataError(
            f"no person to evaluate in {dataset.annotation_file} ({dataset.split}, boxes: {dataset.boxes}). "
            "Allowed: at least one. Use more images or a lower score threshold."
        )
    center_N2, scale_N2 = center_scale(dataset.crop_boxes(), input_size)
    matrix_N23 = affine(center_N2, scale_N2, 0.0, input_size)
    images_NHWC = torch.from_numpy(cut_crops(store, dataset.image_index_N, matrix_N23, input_size))
    return EvalCrops(
        pixels_NHWC=_kept(images_NHWC, torch.device(device)),
        inverse_affine_N23=invert_affine(matrix_N23),
        box_area_N=scale_N2.prod(axis=1),
        input_size=input_size,
    )


def _kept(images_NHWC: Tensor, device: torch.device) -> Tensor:
    """Returns the crops on a GPU that has room for them (untried), and otherwise as they are."""
    free_bytes = free_device_bytes(device)
    fits = free_bytes is not None and images_NHWC.nbytes <= CROP_SHARE * free_bytes
    return images_NHWC.to(device) if fits else images_NHWC


@functools.cache
def pixel_statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns mean and standard deviation of pixels as (1, 3, 1, 1) on `device`.

    Kept per device: making them anew would be a blocking copy to a GPU in every step.
    """
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
    return mean, std


def normalise(
    images_BHWC: Tensor,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    channels_last: bool = False,
) -> Tensor:
    """Moves uint8 crops to `device` and returns images_BCHW, ImageNet-normalised.

    Args:
        images_BHWC: RGB uint8 crops; the move to the device happens before they grow to floats.
        device: Where the network is.
        dtype: Type of the result; the arithmetic is float32.
        channels_last: Keep the memory order of the crops instead of making planes.
    """
    images_BHWC = images_BHWC.to(device, non_blocking=True)
    return standardise(images_BHWC, *pixel_statistics(images_BHWC.device), dtype, channels_last)


def standardise(
    images_BHWC: Tensor, mean_1C11: Tensor, std_1C11: Tensor, dtype: torch.dtype, channels_last: bool
) -> Tensor:
    """Returns images_BCHW, (crop - mean) / std: what `normalise` does once all is on one device."""
    if channels_last and images_BHWC.device.type == "cpu":
        # Whole rows of pixels at once, four times as fast as three channels at a time; the same bits.
        rows_BHWC = images_BHWC.to(torch.float32, memory_format=torch.contiguous_format)
        mean_WC, std_WC = (one.view(1, 3).repeat(images_BHWC.shape[2], 1) for one in (mean_1C11, std_1C11))
        return rows_BHWC.sub_(mean_WC).div_(std_WC).permute(0, 3, 1, 2).to(dtype)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    images = images_BHWC.permute(0, 3, 1, 2).to(torch.float32, memory_format=layout)
    return images.sub_(mean_1C11).div_(std_1C11).to(dtype)
