"""SimCC labels on the device: a table of every Gaussian a joint can have, and one row of it for each joint.

Labels are Gaussians about whole bins, so there are only as many of them as bins (and a few that reach in from outside): 1.9 MB
at 256x192. The table is the codec's own output, so labels are equal to the host's to the last bit, and only places and
visibilities travel: 3 numbers a joint, where a label has 896.

Shape suffixes: B persons of a batch, K joints, M table rows, X bins of an axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from posesearch.keypoints.simcc import SimCCCodec


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AxisLabels:
    """The labels along one axis.

    Attributes:
        rows_MX: Row m belongs to the bin `first_bin + m`; the first and the last row are too far outside and zero.
        inside_M: 1 where the Gaussian reaches into the crop, else 0.
        first_bin: Bin of the first row, negative.
    """

    rows_MX: Tensor
    inside_M: Tensor
    first_bin: int

    @classmethod
    def of(cls, codec: SimCCCodec, axis: int, device: torch.device | str) -> AxisLabels:
        """Tabulates `codec` along x (axis 0) or y (axis 1)."""
        reach = math.ceil(3 * codec.sigma[axis]) + 2
        bin_M = np.arange(-reach, codec.num_bins[axis] + reach + 1)
        points_M2 = np.full((len(bin_M), 2), min(codec.input_size) / 2)
        points_M2[:, axis] = bin_M / codec.split_ratio
        targets = codec.encode(points_M2[None], np.ones((1, len(bin_M))))
        rows_MX = (targets.x_NKX, targets.y_NKY)[axis][0]
        return cls(
            rows_MX=torch.from_numpy(rows_MX).to(device),
            inside_M=torch.from_numpy(targets.weight_NK[0]).to(device),
            first_bin=-reach,
        )

    def row(self, bin_BK: Tensor) -> Tensor:
        """Returns the table row of each bin; bins beyond the table get its first or last."""
        return (bin_BK - self.first_bin).clamp(0, len(self.rows_MX) - 1)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DeviceLabels:
    """The codec's `encode` for tensors on a device.

    Attributes:
        x: Labels along x.
        y: Labels along y.
        split_ratio: Bins a pixel.
    """

    x: AxisLabels
    y: AxisLabels
    split_ratio: float

    @classmethod
    def of(cls, codec: SimCCCodec, device: torch.device | str) -> DeviceLabels:
        """Tabulates `codec` on `device`."""
        return cls(
            x=AxisLabels.of(codec, 0, device),
            y=AxisLabels.of(codec, 1, device),
            split_ratio=codec.split_ratio,
        )

    def encode(self, keypoints_BK2: Tensor, visible_BK: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns x_BKX, y_BKY and weight_BK, float32: what `SimCCCodec.encode` returns for the same numbers.

        Args:
            keypoints_BK2: (x, y) in crop pixels, any finite float.
            visible_BK: COCO visibility 0, 1, 2 or a weight; values above 1 count as 1.
        """
        # Halves go to the even bin, as in NumPy; float64 as there, or a sum just below a half could become one.
        bin_BK2 = (keypoints_BK2.double() * self.split_ratio).round().clamp(-1e9, 1e9).long()
        x_BK, y_BK = self.x.row(bin_BK2[..., 0]), self.y.row(bin_BK2[..., 1])
        weight_BK = visible_BK.float().clamp(max=1) * self.x.inside_M[x_BK] * self.y.inside_M[y_BK]
        counts_BK = weight_BK > 0
        # Row 0 is zero: a joint that does not count has no label on either axis.
        x_BKX, y_BKY = (
            labels.rows_MX[torch.where(counts_BK, row_BK, 0)]
            for labels, row_BK in ((self.x, x_BK), (self.y, y_BK))
        )
        return x_BKX, y_BKY, weight_BK
