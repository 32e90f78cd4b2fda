"""Changes of colour and sharpness on uint8 crops, in place: HSV jitter, blurs, the black rectangle.

HSV jitter adds a whole number to each channel: in uint8 arithmetic, which takes 5 to 20 us for a crop of 256x192 where a table
look-up takes 60. Crops are RGB.

Shape suffixes: B persons of a batch, H and W pixels, C colour channels.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from posesearch.data.augment import AugmentDraws

# OpenCV keeps the hue of uint8 images in units of 2 degrees.
HUE_STEPS = 180


class Photometric:
    """The changes of one batch, made crop by crop while a crop is still in the processor's cache.

    Args:
        draws: The batch's random numbers.
    """

    def __init__(self, draws: AugmentDraws) -> None:
        self._hsv_B3: list[list[int]] = draws.hsv_B3.tolist()
        self._blur_B, self._median_B = draws.blur_B.tolist(), draws.median_B.tolist()
        self._hole_B4: list[list[int]] = draws.hole_B4.tolist()

    def __call__(self, row: int, image_HWC: NDArray[np.uint8]) -> None:
        """Changes the crop in `row` of the batch in place: HSV, box blur, median blur, then the black rectangle.

        Args:
            row: Whose random numbers.
            image_HWC: RGB crop, C-contiguous.
        """
        if any(self._hsv_B3[row]):
            hsv_HWC = cv2.cvtColor(image_HWC, cv2.COLOR_RGB2HSV)
            add_hsv(hsv_HWC, *self._hsv_B3[row])  # type: ignore[arg-type]
            cv2.cvtColor(hsv_HWC, cv2.COLOR_HSV2RGB, dst=image_HWC)
        if kernel := self._blur_B[row]:
            image_HWC[...] = cv2.blur(image_HWC, (kernel, kernel))
        if kernel := self._median_B[row]:
            image_HWC[...] = cv2.medianBlur(image_HWC, kernel)
        left, top, width, height = self._hole_B4[row]
        if width:
            image_HWC[top : top + height, left : left + width] = 0


def apply_photometric(images_BHWC: NDArray[np.uint8], draws: AugmentDraws) -> None:
    """Changes a batch of RGB crops in place.

    Args:
        images_BHWC: C-contiguous uint8 crops.
        draws: The batch's random numbers.
    """
    change = Photometric(draws)
    for row, image_HWC in enumerate(images_BHWC):
        change(row, image_HWC)


def add_hsv(hsv_HWC: NDArray[np.uint8], hue: int, saturation: int, value: int) -> None:
    """Adds to the channels of an HSV crop in place: hue wraps around, saturation and value stop at 0 and 255.

    Args:
        hsv_HWC: uint8 HSV, hue below 180, C-contiguous.
        hue: Whole steps of 2 degrees, of either sign.
        saturation: Grey levels, of either sign.
        value: Grey levels, of either sign.
    """
    if turn := hue % HUE_STEPS:
        # Of "h + turn, stopping at 255" and "h + turn - 180, below 0 from 255 down" the smaller is h + turn modulo 180:
        # the first where it has no need to wrap, for then the second is h + turn + 76, and else the second.
        ahead_HWC = cv2.add(hsv_HWC, (turn, 0, 0, 0))  # type: ignore[call-overload]
        back_WC = np.zeros(hsv_HWC.shape[1:], dtype=np.uint8)
        back_WC[:, 0] = HUE_STEPS - turn
        # As rows of bytes: NumPy would take each pixel's three channels for a loop of its own.
        rows = hsv_HWC.reshape(len(hsv_HWC), -1)
        np.minimum(ahead_HWC.reshape(rows.shape), rows - back_WC.reshape(-1), out=rows)
    for change, stops in ((1, cv2.add), (-1, cv2.subtract)):
        amounts = (0, max(0, change * saturation), max(0, change * value), 0)
        if any(amounts):
            stops(hsv_HWC, amounts, dst=hsv_HWC)  # type: ignore[call-overload]
