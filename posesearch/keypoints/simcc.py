"""SimCC: a joint's position as two one-dimensional distributions over sub-pixel bins.

Li et al., "SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation"
(ECCV 2022), with the Gaussian labels and the argmax decoding of MMPose's SimCCLabel, as RTMPose
and StarNet-Pose use it (labels not normalised: the peak is 1).

Shapes: N persons, K joints, X = width * split_ratio bins, Y = height * split_ratio bins.
Points are (x, y) in crop pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posesearch.errors import DataError

FloatArray = NDArray[np.floating]

# RTMPose's sigmas in bins for a 256x192 crop; its 384x288 configs use (6, 6.93), the same values
# times sqrt(288 / 192) = sqrt(384 / 256). Hence the square-root rule of `for_input`.
_PUBLISHED_SIGMA = (4.9, 5.66)
_PUBLISHED_SIZE = (256, 192)


class SimCCTargets(NamedTuple):
    """Training labels of N persons.

    Attributes:
        x_NKX: unnormalised Gaussians over the x bins, peak 1; all zero where the weight is 0.
        y_NKY: the same over the y bins.
        weight_NK: 1 for a labelled joint whose Gaussian reaches into the crop, else 0.
    """

    x_NKX: NDArray[np.float32]
    y_NKY: NDArray[np.float32]
    weight_NK: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class SimCCCodec:
    """Between points in the crop and distributions over bins.

    Attributes:
        input_size: (height, width) of the crop in pixels.
        sigma: standard deviation of the labels in bins, (x, y).
        split_ratio: bins a pixel.
    """

    input_size: tuple[int, int]
    sigma: tuple[float, float] = _PUBLISHED_SIGMA
    split_ratio: float = 2.0

    @classmethod
    def for_input(cls, input_size: tuple[int, int], split_ratio: float = 2.0) -> SimCCCodec:
        """The codec with RTMPose's sigmas for this crop size: 4.9 sqrt(w / 192), 5.66 sqrt(h / 256)."""
        height, width = input_size
        sigma_x, sigma_y = _PUBLISHED_SIGMA
        scaled = (
            sigma_x * math.sqrt(width / _PUBLISHED_SIZE[1]),
            sigma_y * math.sqrt(height / _PUBLISHED_SIZE[0]),
        )
        return cls(input_size=input_size, sigma=scaled, split_ratio=split_ratio)

    @property
    def num_bins(self) -> tuple[int, int]:
        """(X, Y): the numbers of bins, x first."""
        height, width = self.input_size
        return round(width * self.split_ratio), round(height * self.split_ratio)

    def encode(self, keypoints_NK2: ArrayLike, visible_NK: ArrayLike) -> SimCCTargets:
        """Labels for points in the crop.

        The mean is the nearest bin (halves to the even one). A joint whose interval of three
        sigmas misses the crop in x or in y gets weight 0; one just outside keeps weight 1 and a
        Gaussian cut by the border.

        Args:
            keypoints_NK2: (x, y) in crop pixels.
            visible_NK: COCO visibility 0, 1, 2 or a weight; values above 1 count as 1.
        """
        points_NK2 = np.asarray(keypoints_NK2, dtype=np.float64)
        mean_NK2 = np.rint(points_NK2 * self.split_ratio)
        radius_2 = 3 * np.asarray(self.sigma)
        inside_NK = ((mean_NK2 - radius_2 < self.num_bins) & (mean_NK2 + radius_2 + 1 >= 0)).all(axis=-1)
        visible_NK = np.minimum(1, np.asarray(visible_NK, dtype=np.float32))
        weight_NK = np.where(inside_NK, visible_NK, np.float32(0))
        x_NKX, y_NKY = (
            _gaussian_rows(
                np.where(weight_NK > 0, mean_NK2[..., axis], np.nan), self.num_bins[axis], self.sigma[axis]
            )
            for axis in (0, 1)
        )
        return SimCCTargets(x_NKX, y_NKY, weight_NK)

    def decode(self, simcc_x_NKX: FloatArray, simcc_y_NKY: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Points and scores of predicted logits (or of labels).

        Returns:
            points_NK2 in crop pixels and scores_NK: see `decode_argmax`.
        """
        best_x_NK, best_y_NK = simcc_x_NKX.argmax(axis=-1), simcc_y_NKY.argmax(axis=-1)
        top_x_NK = np.take_along_axis(simcc_x_NKX, best_x_NK[..., None], axis=-1)[..., 0]
        top_y_NK = np.take_along_axis(simcc_y_NKY, best_y_NK[..., None], axis=-1)[..., 0]
        return self.decode_argmax(best_x_NK, best_y_NK, top_x_NK, top_y_NK)

    def decode_argmax(
        self, best_x_NK: ArrayLike, best_y_NK: ArrayLike, top_x_NK: ArrayLike, top_y_NK: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """The same from maxima already taken, so that a device sends back K numbers, not K * (X + Y).

        Args:
            best_x_NK: index of the largest x logit; best_y_NK likewise.
            best_y_NK: index of the largest y logit.
            top_x_NK: that largest x logit; top_y_NK likewise.
            top_y_NK: that largest y logit.

        Returns:
            points_NK2 = bin / split_ratio, quantised to a bin, and scores_NK, the smaller of the
            two raw maxima (may exceed 1). As in MMPose, a joint with a score <= 0 has no position
            and comes out at bin -1 in x and y.
        """
        scores_NK = np.minimum(np.asarray(top_x_NK), np.asarray(top_y_NK))
        bins_NK2 = np.stack((np.asarray(best_x_NK), np.asarray(best_y_NK)), axis=-1)
        points_NK2 = np.where(scores_NK[..., None] > 0, bins_NK2, -1) / self.split_ratio
        # Never half precision: beyond bin 2,048 it no longer tells bins apart.
        return points_NK2.astype(np.result_type(scores_NK, np.float32)), scores_NK

    def to_plain(self) -> dict[str, object]:
        """The codec as a JSON-able dict; `from_plain` reads it back equal."""
        return {
            "kind": "simcc",
            "input_size": list(self.input_size),
            "sigma": list(self.sigma),
            "split_ratio": self.split_ratio,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, object]) -> SimCCCodec:
        """The codec written by `to_plain`.

        Raises:
            DataError: another kind of codec, or a missing or wrong field.
        """
        try:
            if plain["kind"] != "simcc":
                raise ValueError(f"kind {plain['kind']!r}")
            height, width = _numbers(plain["input_size"])
            sigma_x, sigma_y = _numbers(plain["sigma"])
            (split_ratio,) = _numbers([plain["split_ratio"]])
        except (KeyError, TypeError, ValueError) as fault:
            raise DataError(
                f"The codec in this file cannot be read ({fault!r}). It needs kind 'simcc', input_size "
                "[height, width], sigma [x, y] and split_ratio. Write the file again with this version of posesearch."
            ) from fault
        return cls(input_size=(int(height), int(width)), sigma=(sigma_x, sigma_y), split_ratio=split_ratio)


def _numbers(values: object) -> Sequence[float]:
    if not isinstance(values, list | tuple):
        raise TypeError(f"{values!r} is not a list")
    return [float(value) for value in values]


def _gaussian_rows(mean_NK: FloatArray, bins: int, sigma: float) -> NDArray[np.float32]:
    """exp(-(bin - mean)^2 / (2 sigma^2)) for integral means; rows of zeros where the mean is NaN.

    Means are whole bins, so every row is a window of one long Gaussian: copying windows takes a
    tenth of the time of 256 * 17 * 896 exponentials.
    """
    reach = bins + math.ceil(3 * sigma) + 1
    offset = np.arange(-reach, reach + 1, dtype=np.float64)
    gaussian = np.exp(-(offset**2) / (2 * sigma**2)).astype(np.float32)
    # One more window, of zeros, is the row of an unlabelled joint.
    padded = np.concatenate((gaussian, np.zeros(bins, dtype=np.float32)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, bins)
    start_NK = np.where(np.isnan(mean_NK), len(gaussian), reach - mean_NK).astype(np.intp)
    return windows[start_NK]
