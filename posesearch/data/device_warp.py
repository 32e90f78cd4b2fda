"""Affine warp of a batch out of one flat block of pixels, as tensor operations: images of any size, on any device.

cv2.warpAffine with INTER_LINEAR and a border of 0: the matrix is inverted in float64, places and weights are float32, a tap
outside the image is 0, values are rounded half to even. Against OpenCV 5.0 on noise, 30 random rotations and scales, 0.011 %
of the values differed, by one grey level: its vector code rounds a product and a sum once where these are two operations.

No shape depends on data, so `torch.compile` can make one kernel of it. Uncompiled it is for GPUs and for tests: on a CPU
OpenCV is many times as fast.

Shape suffixes: B persons of a batch, H and W crop height and width, C colours. Points are (x, y), sizes (height, width).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from posesearch.keypoints.boxes import invert_affine

Planes = tuple[Tensor, Tensor, Tensor]
"""Red, green and blue of a batch, each _BHW."""

CHUNK_PIXELS = 1 << 20
"""Crop pixels warped at once where nothing is fused: the operations hold some 200 bytes a pixel at their peak."""


def warp_batch(
    pixels: Tensor, offset_B: Tensor, size_B2: Tensor, matrix_B23: Tensor, input_size: tuple[int, int]
) -> Tensor:
    """Cuts each person's crop out of the person's image, a few crops at a time.

    Every matrix must have an inverse. Those on a GPU are waited for: training batches call `sample` instead.

    Args:
        pixels: Flat uint8 block of RGB images, at least one pixel long.
        offset_B: First byte of each person's image, int64. May be negative where only the rows that a crop touches are in
            the block: nothing else is read.
        size_B2: (height, width) of the images, int64.
        matrix_B23: Image pixels to crop pixels, float64.
        input_size: (height, width) of the crops.

    Returns:
        images_BHWC, uint8, on the device of `pixels`.
    """

    def warp(offset_B: Tensor, size_B2: Tensor, inverse_B23: Tensor) -> Tensor:
        return interleave(sample(pixels, offset_B, size_B2, inverse_B23, input_size))

    inverse_B23 = torch.from_numpy(invert_affine(matrix_B23.cpu().numpy())).to(pixels.device)
    return in_chunks(warp, input_size, offset_B, size_B2, inverse_B23)


def in_chunks(make: Callable[..., Tensor], input_size: tuple[int, int], *tensors_B: Tensor) -> Tensor:
    """Returns what `make` gives for all crops, made a few at a time: uncompiled, every operation keeps its result.

    Args:
        make: From tensors of some crops to their images.
        input_size: (height, width) of the crops.
        tensors_B: What to split.
    """
    count = max(1, CHUNK_PIXELS // (input_size[0] * input_size[1]))
    parts = zip(*(tensor_B.split(count) for tensor_B in tensors_B), strict=True)
    return torch.cat([make(*part) for part in parts])


def sample(
    pixels: Tensor, offset_B: Tensor, size_B2: Tensor, inverse_B23: Tensor, input_size: tuple[int, int]
) -> Planes:
    """Reads every crop pixel from its place in the image: the part of the warp that a compiler fuses.

    Args:
        pixels: Flat uint8 block.
        offset_B: First byte of each image.
        size_B2: (height, width) of each image.
        inverse_B23: Crop pixels to image pixels, float64.
        input_size: (height, width) of the crops.

    Returns:
        Three planes of whole numbers 0 to 255, int32: separate, so that what follows needs no interleaved copy.
    """
    height, width = input_size
    offset_B11 = offset_B.view(-1, 1, 1)
    rows_B11, columns_B11 = size_B2.view(-1, 2, 1, 1).unbind(1)
    y_H1 = torch.arange(height, device=pixels.device, dtype=torch.float32).view(-1, 1)
    x_W = torch.arange(width, device=pixels.device, dtype=torch.float32)
    numbers = inverse_B23.float().view(-1, 6, 1, 1).unbind(1)
    across_BHW = _place(numbers[0] * x_W + (numbers[1] * y_H1 + numbers[2]), columns_B11)
    down_BHW = _place(numbers[3] * x_W + (numbers[4] * y_H1 + numbers[5]), rows_B11)
    left_BHW, top_BHW = across_BHW.floor(), down_BHW.floor()
    right_share_BHW, low_share_BHW = across_BHW - left_BHW, down_BHW - top_BHW
    left_BHW, top_BHW = left_BHW.long(), top_BHW.long()

    def tap(row_BHW: Tensor, column_BHW: Tensor) -> Planes:
        inside_BHW = (row_BHW >= 0) & (row_BHW < rows_B11) & (column_BHW >= 0) & (column_BHW < columns_B11)
        # int64: the images of COCO are 47 GB in one block.
        byte_BHW = torch.where(inside_BHW, offset_B11 + (row_BHW * columns_B11 + column_BHW) * 3, 0)
        red, green, blue = (
            torch.where(inside_BHW, pixels[byte_BHW + colour], 0).float() for colour in range(3)
        )
        return red, green, blue

    def between(first: Planes, second: Planes, share_BHW: Tensor) -> Planes:
        red, green, blue = (a + share_BHW * (b - a) for a, b in zip(first, second, strict=True))
        return red, green, blue

    upper = between(tap(top_BHW, left_BHW), tap(top_BHW, left_BHW + 1), right_share_BHW)
    lower = between(tap(top_BHW + 1, left_BHW), tap(top_BHW + 1, left_BHW + 1), right_share_BHW)
    red, green, blue = (plane.round().int() for plane in between(upper, lower, low_share_BHW))
    return red, green, blue


def interleave(planes: Planes) -> Tensor:
    """Returns images_BHWC, uint8, from planes of whole numbers 0 to 255."""
    return torch.stack([plane.to(torch.uint8) for plane in planes], dim=-1)


def _place(coordinate_BHW: Tensor, side_B11: Tensor) -> Tensor:
    # Beyond the first pixel outside, every place is as black as the next: whole numbers stay small whatever the matrix.
    return torch.minimum(coordinate_BHW.clamp(min=-2.0), (side_B11 + 1).float())
