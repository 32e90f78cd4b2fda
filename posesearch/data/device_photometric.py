"""Changes of colour and sharpness as tensor operations: OpenCV's arithmetic on uint8, the same on every device.

HSV goes through OpenCV's uint8 representation, because its rounding is part of the published augmentation: hue in 180 steps
of 2 degrees, 4096ths on the way there, and fractions cut off on the way back (its vector code does, for all but the last
columns). All of it is done in whole numbers, so that no device rounds otherwise. On the way to HSV all 636,056 colours tried
came out as from OpenCV 5.0; on the way back 0.8 % of the values differed, by one grey level: those that are whole numbers,
where OpenCV's floats end just below. The blurs are equal to OpenCV's.

Shape suffixes: B persons of a batch, N chosen ones, H and W crop height and width, C colours, k a kernel's side.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posesearch.data.device_warp import Planes
from posesearch.data.photometric import HUE_STEPS

# A sixth of the hue circle, where one of the three colours goes from its least to its most.
SECTOR = HUE_STEPS // 6
SHIFT = 12
CHOSEN_AT_ONCE = 8
"""Crops blurred at once: a 7 x 7 median of 256x192 crops holds 49 bytes for each of their 1.2 million values."""


def jitter_hsv(planes: Planes, hsv_B3: Tensor) -> Planes:
    """Adds whole numbers to hue, saturation and value.

    Args:
        planes: Red, green and blue, _BHW, int32, 0 to 255.
        hsv_B3: Amounts, int32; hue wraps around, the others stop at 0 and 255. A crop with three zeros stays as it is
            (going to HSV and back alone would change it).

    Returns:
        The changed planes.
    """
    red, green, blue = planes
    most = torch.maximum(torch.maximum(red, green), blue)
    spread = most - torch.minimum(torch.minimum(red, green), blue)
    # OpenCV's tables of 255/value and 30/spread in 4096ths. No entry is a half, so how halves are rounded does not matter.
    per_most = _rounded((255 << SHIFT), most.clamp(min=1))
    per_spread = _rounded((SECTOR << SHIFT), spread.clamp(min=1))
    half = 1 << (SHIFT - 1)
    saturation = (spread * per_most + half) >> SHIFT
    sixth = torch.where(
        most == red,
        green - blue,
        torch.where(most == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    hue = (sixth * per_spread + half) >> SHIFT
    add_hue, add_saturation, add_value = hsv_B3.view(-1, 3, 1, 1).unbind(1)
    hue = (hue + add_hue) % HUE_STEPS
    saturation = (saturation + add_saturation).clamp(0, 255)
    value = (most + add_value).clamp(0, 255)
    changed_B11 = (hsv_B3 != 0).any(dim=1).view(-1, 1, 1)
    # The hexcone without its six cases: a colour is low over two sectors of its own angle, which runs ahead of the hue.
    new_red, new_green, new_blue = (
        torch.where(changed_B11, _colour((hue + ahead * SECTOR) % HUE_STEPS, saturation, value), old)
        for ahead, old in zip((5, 3, 1), planes, strict=True)
    )
    return new_red, new_green, new_blue


def _colour(angle: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    # 0 to SECTOR: how far the colour is from `value` down to its least.
    down = torch.minimum(angle, 4 * SECTOR - angle).clamp(0, SECTOR)
    whole = 255 * SECTOR
    return value * (whole - saturation * down) // whole


def _rounded(number: int | Tensor, divisor: int | Tensor) -> Tensor:
    """Returns number / divisor, neither negative and one of them a tensor, rounded to the nearest whole number."""
    quotient: Tensor = (2 * number + divisor) // (2 * divisor)  # type: ignore[assignment]
    return quotient


def blur_chosen(images_BHWC: Tensor, blur_B: NDArray[np.int64], median_B: NDArray[np.int64]) -> None:
    """Blurs some crops in place: box blur first, then the median.

    Which crops these are is known on the host, so nothing waits for the device and the others cost nothing.

    Args:
        images_BHWC: uint8.
        blur_B: Side of the box in pixels, odd, 0 for none.
        median_B: The same for the median.
    """
    for kernel_B, blur in ((blur_B, box_blur), (median_B, median_blur)):
        for kernel in np.unique(kernel_B[kernel_B > 0]):
            chosen_N = to_device(np.flatnonzero(kernel_B == kernel), images_BHWC.device)
            for rows_N in chosen_N.split(CHOSEN_AT_ONCE):
                images_BHWC[rows_N] = blur(images_BHWC[rows_N], int(kernel))


def box_blur(images_NHWC: Tensor, kernel: int) -> Tensor:
    """Returns the mean of each k x k window, uint8: cv2.blur, whose border mirrors about the last pixel."""
    sums_NHWC = _windows(images_NHWC, kernel, "mirror").sum(dim=(-2, -1), dtype=torch.int32)
    return _rounded(sums_NHWC, kernel * kernel).to(torch.uint8)


def median_blur(images_NHWC: Tensor, kernel: int) -> Tensor:
    """Returns the median of each k x k window, uint8: cv2.medianBlur, whose border repeats the last pixel.

    The median is the largest number that more than half of the window reaches: found bit by bit from the top, with eight
    comparisons of the window instead of sorting it.
    """
    windows_NHWCkk = _windows(images_NHWC, kernel, "repeat")
    median_NHWC = torch.zeros_like(images_NHWC)
    for bit in range(7, -1, -1):
        trial_NHWC = median_NHWC | (1 << bit)
        reached_NHWC = (windows_NHWCkk >= trial_NHWC[..., None, None]).sum(dim=(-2, -1), dtype=torch.int32)
        median_NHWC = torch.where(reached_NHWC > kernel * kernel // 2, trial_NHWC, median_NHWC)
    return median_NHWC


def _windows(images_NHWC: Tensor, kernel: int, border: Literal["mirror", "repeat"]) -> Tensor:
    """Returns windows_NHWCkk as a view of the padded images."""
    reach = kernel // 2
    for axis in (1, 2):
        last = images_NHWC.shape[axis] - 1
        place = torch.arange(-reach, last + reach + 1, device=images_NHWC.device)
        place = last - (last - place.abs()).abs() if border == "mirror" else place.clamp(0, last)
        images_NHWC = images_NHWC.index_select(axis, place)
    return images_NHWC.unfold(1, kernel, 1).unfold(2, kernel, 1)


def inside_holes(hole_B4: Tensor, input_size: tuple[int, int]) -> Tensor:
    """Returns hole_BHW, true inside each crop's rectangle.

    Args:
        hole_B4: (left, top, width, height) in crop pixels; a size of zero is no rectangle.
        input_size: (height, width) of the crops.
    """
    left_B11, top_B11, width_B11, height_B11 = hole_B4.view(-1, 4, 1, 1).unbind(1)
    y_H1 = torch.arange(input_size[0], device=hole_B4.device).view(-1, 1)
    x_W = torch.arange(input_size[1], device=hole_B4.device)
    rows_BH1 = (y_H1 >= top_B11) & (y_H1 < top_B11 + height_B11)
    return rows_BH1 & (x_W >= left_B11) & (x_W < left_B11 + width_B11)


def to_device(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """Returns a small array as a tensor on `device`; on the way to a GPU nobody waits (untried there)."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
