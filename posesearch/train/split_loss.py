"""The loss of a network on a fixed set of crops: what a search may rank by beside AP, from the same forward.

AP of few persons moves in steps; the loss does not, and ranked 50,000 networks of a channel space better than accuracy did
(third place of the CVPR 2021 lightweight NAS challenge). It is `losses.simcc_loss` over all persons at once: summed over
bins, averaged over labelled joints, x plus y. No flip, no augmentation.

Shape letters: N persons, B batch, K joints, X and Y bins.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from posesearch.data.batch import EvalCrops
from posesearch.data.dataset import PoseDataset
from posesearch.errors import DataError
from posesearch.keypoints.boxes import apply_affine, invert_affine
from posesearch.models.heads import PoseOutput
from posesearch.train.batches import label_codec
from posesearch.train.evaluate import Forward
from posesearch.train.losses import SoftLabels, simcc_loss, soft_labels
from posesearch.train.recipe import LossConfig

KEPT_BYTES = 2**28
"""Labels of a split that take less than this are made once for all networks: 5,000 persons at 256x192 take 305 MB."""


class SplitLoss:
    """Labels of the crops of a data set, made once; `watching` a network adds up its loss while it is evaluated.

    Args:
        dataset: The persons.
        crops: Their crops, in the same order.
        loss: The recipe's loss: width of the labels and beta.
        split_ratio: Bins a pixel of the head.
    """

    def __init__(
        self, dataset: PoseDataset, crops: EvalCrops, loss: LossConfig, *, split_ratio: float
    ) -> None:
        matrix_N23 = invert_affine(crops.inverse_affine_N23)
        self.visible_NK = (dataset.keypoints_NK3[..., 2] > 0).astype(np.float32)
        points_NK2 = apply_affine(matrix_N23, dataset.keypoints_NK3[..., :2]) * self.visible_NK[..., None]
        self.points_NK2 = points_NK2.astype(np.float32)
        self.codec = label_codec(crops.input_size, split_ratio, loss)
        self.beta = loss.beta
        self._kept: dict[tuple[int, int, str], tuple[SoftLabels, float]] = {}

    def labels(self, rows: slice, device: torch.device) -> tuple[SoftLabels, float]:
        """Returns the labels of some crops, and how many joints they have; kept for the next network where few."""
        key = (rows.start, rows.stop, str(device))
        if key not in self._kept:
            targets = self.codec.encode(self.points_NK2[rows], self.visible_NK[rows])
            x_BKX, y_BKY, weight_BK = (torch.from_numpy(array).to(device) for array in targets)
            made = soft_labels(x_BKX, y_BKY, weight_BK, self.beta), float(weight_BK.sum())
            if made[0].x_BKX.nbytes + made[0].y_BKY.nbytes > KEPT_BYTES * len(weight_BK) / len(
                self.visible_NK
            ):
                return made
            self._kept[key] = made
        return self._kept[key]

    def watching(self, forward: Forward) -> WatchedLoss:
        """Returns a forward that does the same and adds up the loss of the crops it is given, in their order."""
        return WatchedLoss(self, forward)


class WatchedLoss:
    """A forward over all crops of a split, from the first to the last, and its loss.

    Args:
        split: The labels.
        forward: Normalised images_BCHW to logits.
    """

    def __init__(self, split: SplitLoss, forward: Forward) -> None:
        self._split, self._forward = split, forward
        self._done = 0
        self._sums: list[Tensor] = []
        self._joints = 0.0

    @torch.no_grad()
    def __call__(self, images_BCHW: Tensor) -> PoseOutput:
        """Runs the network on the next crops."""
        output = self._forward(images_BCHW)
        split, rows = self._split, slice(self._done, self._done + len(images_BCHW))
        self._done = rows.stop
        labels, joints = split.labels(rows, output.x.device)
        self._sums.append(simcc_loss(output, labels, split.beta) * joints)
        self._joints += joints
        return output

    def value(self) -> float:
        """Returns the mean over all labelled joints inside their crops; lower is better.

        Raises:
            DataError: The network was not run over the split exactly once, or no joint is labelled.
        """
        if self._done != len(self._split.visible_NK) or not self._joints:
            raise DataError(
                f"loss of a split: {self._done} of {len(self._split.visible_NK)} crops were run, {self._joints:.0f} "
                "joints in them are labelled. Every crop is needed once, and one labelled joint at least. Check the "
                "data with: posesearch data check"
            )
        return float(torch.stack(self._sums).sum()) / self._joints
