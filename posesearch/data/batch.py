"""A training batch, evaluation crops, and the step from uint8 crops to network input.

A batch is a pure function of (data set, config, seed, step): nothing is remembered between batches.

Shape suffixes: B persons of a batch, N persons, H and W crop height and width, C colour channels (RGB), K joints.
Points are (x, y) in crop pixels.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from posesearch.data.augment import AugmentConfig, draw
from posesearch.data.dataset import PoseDataset
from posesearch.data.geometry import augment_matrices
from posesearch.data.photometric import apply_photometric
from posesearch.data.store import ImageStore
from posesearch.errors import DataError
from posesearch.keypoints.boxes import affine, apply_affine, center_scale, invert_affine
from posesearch.rng import generator

# ImageNet statistics times 255, RGB: what the published StarNet and RTMPose weights expect.
IMAGE_MEAN = (123.675, 116.28, 103.53)
IMAGE_STD = (58.395, 57.12, 57.375)


class PoseBatch(NamedTuple):
    """One training batch.

    Attributes:
        images_BHWC: RGB uint8 crops.
        keypoints_BK2: Joints in crop pixels, float32; zero where not labelled. They may lie outside the crop: the
            codec decides what to do with those.
        visible_BK: 1 where labelled (occluded or not), else 0; float32.
        person_index_B: Rows of the data set.
    """

    images_BHWC: NDArray[np.uint8]
    keypoints_BK2: NDArray[np.float32]
    visible_BK: NDArray[np.float32]
    person_index_B: NDArray[np.int64]


def make_batch(
    dataset: PoseDataset,
    store: ImageStore,
    person_index_B: NDArray[np.integer],
    input_size: tuple[int, int],
    augment: AugmentConfig | None,
    seed: int,
    step: int,
) -> PoseBatch:
    """Warps the given persons into one batch.

    Args:
        dataset: The persons.
        store: Their decoded images.
        person_index_B: Rows of `dataset`.
        input_size: (height, width) of the crops.
        augment: The recipe's augmentation, or None for plain crops (recalibration, overfitting tests).
        seed: The run's seed.
        step: Number of the training step; (seed, step) is the key of all random numbers.
    """
    index_B = np.asarray(person_index_B, dtype=np.int64)
    boxes_B4 = dataset.crop_boxes(index_B)
    keypoints_BK3 = dataset.keypoints_NK3[index_B]
    if augment is None:
        matrix_B23 = affine(*center_scale(boxes_B4, input_size), 0.0, input_size)
        images_BHWC = _warp(dataset, store, index_B, matrix_B23, input_size)
    else:
        draws = draw(augment, len(index_B), input_size, generator(seed, "augment", step))
        matrix_B23 = augment_matrices(boxes_B4, keypoints_BK3, dataset.skeleton, augment, draws, input_size)
        images_BHWC = _warp(dataset, store, index_B, matrix_B23, input_size)
        apply_photometric(images_BHWC, draws)
        mirrored_BK3 = keypoints_BK3[:, dataset.skeleton.flip_index]
        keypoints_BK3 = np.where(draws.flip_B[:, None, None], mirrored_BK3, keypoints_BK3)
    visible_BK = (keypoints_BK3[..., 2] > 0).astype(np.float32)
    points_BK2 = apply_affine(matrix_B23, keypoints_BK3[..., :2]) * visible_BK[..., None]
    return PoseBatch(images_BHWC, points_BK2.astype(np.float32), visible_BK, index_B)


def _warp(
    dataset: PoseDataset,
    store: ImageStore,
    index_B: NDArray[np.int64],
    matrix_B23: NDArray[np.float64],
    input_size: tuple[int, int],
) -> NDArray[np.uint8]:
    height, width = input_size
    images_BHWC = np.empty((len(index_B), height, width, 3), dtype=np.uint8)
    for row, image_row in enumerate(dataset.image_index_N[index_B]):
        cv2.warpAffine(
            store.image(image_row),
            matrix_B23[row],
            (width, height),
            dst=images_BHWC[row],
            flags=cv2.INTER_LINEAR,
        )
    return images_BHWC


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EvalCrops:
    """Every person of a data set, warped once for recalibration and evaluation.

    Attributes:
        images_NHWC: RGB uint8 crops.
        inverse_affine_N23: Crop pixels to image pixels.
        box_area_N: Area of the padded, aspect-fixed box in square image pixels: what OKS-NMS divides by.
        input_size: (height, width) of the crops.
    """

    images_NHWC: NDArray[np.uint8]
    inverse_affine_N23: NDArray[np.float64]
    box_area_N: NDArray[np.float64]
    input_size: tuple[int, int]

    def __len__(self) -> int:
        """Returns the number of persons."""
        return len(self.images_NHWC)


def crops(dataset: PoseDataset, store: ImageStore, input_size: tuple[int, int]) -> EvalCrops:
    """Warps every person of `dataset` without augmentation; the flip test mirrors these crops on the device.

    Args:
        dataset: The persons, with ground-truth or detector boxes.
        store: Their decoded images.
        input_size: (height, width) of the crops.

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
    return EvalCrops(
        images_NHWC=_warp(dataset, store, np.arange(len(dataset)), matrix_N23, input_size),
        inverse_affine_N23=invert_affine(matrix_N23),
        box_area_N=scale_N2.prod(axis=1),
        input_size=input_size,
    )


@functools.cache
def pixel_statistics(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns mean and standard deviation of pixels as (1, 3, 1, 1) on `device`.

    Kept per device: making them anew would be a blocking copy to a GPU in every step.
    """
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
    return mean, std


def normalise(
    images_BHWC: torch.Tensor,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    channels_last: bool = False,
) -> torch.Tensor:
    """Moves uint8 crops to `device` and returns images_BCHW, ImageNet-normalised.

    Args:
        images_BHWC: RGB uint8 crops; the move to the device happens before they grow to floats.
        device: Where the network is.
        dtype: Type of the result; the arithmetic is float32.
        channels_last: Keep the memory order of the crops instead of making planes.
    """
    images = images_BHWC.to(device, non_blocking=True).permute(0, 3, 1, 2)
    mean, std = pixel_statistics(images.device)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return images.to(torch.float32, memory_format=layout).sub_(mean).div_(std).to(dtype)
