"""Changes of colour and sharpness on uint8 crops, in place: HSV jitter by table, blurs, the black rectangle.

HSV jitter adds a whole number to each channel, so it is a table of 256 entries per channel; OpenCV applies the
three tables in one pass. Crops are RGB.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from posesearch.data.augment import AugmentDraws

# OpenCV keeps the hue of uint8 images in units of 2 degrees.
HUE_STEPS = 180


def hsv_tables(hsv_B3: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Returns tables_B1L3 (L = 256): hue wraps around, saturation and value stop at 0 and 255.

    Args:
        hsv_B3: Amounts added to hue, saturation and value.
    """
    levels_L3 = np.repeat(np.arange(256, dtype=np.int16)[:, None], 3, axis=1)
    moved_BL3 = levels_L3[None] + hsv_B3[:, None, :]
    moved_BL3[..., 0] %= HUE_STEPS
    return np.clip(moved_BL3, 0, 255).astype(np.uint8)[:, None]


def apply_photometric(images_BHWC: NDArray[np.uint8], draws: AugmentDraws) -> None:
    """Changes a batch of RGB crops in place: HSV, box blur, median blur, then the black rectangle.

    Args:
        images_BHWC: C-contiguous uint8 crops.
        draws: The batch's random numbers.
    """
    tables_B1L3 = hsv_tables(draws.hsv_B3)
    for row in np.flatnonzero(draws.hsv_B3.any(axis=1)):
        hsv = cv2.cvtColor(images_BHWC[row], cv2.COLOR_RGB2HSV)
        cv2.LUT(hsv, tables_B1L3[row], dst=hsv)
        cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB, dst=images_BHWC[row])
    for row in np.flatnonzero(draws.blur_B):
        kernel = int(draws.blur_B[row])
        images_BHWC[row] = cv2.blur(images_BHWC[row], (kernel, kernel))
    for row in np.flatnonzero(draws.median_B):
        images_BHWC[row] = cv2.medianBlur(images_BHWC[row], int(draws.median_B[row]))
    for row in np.flatnonzero(draws.hole_B4[:, 2]):
        left, top, width, height = draws.hole_B4[row]
        images_BHWC[row, top : top + height, left : left + width] = 0
