"""One loss for labels and for distillation: the divergence of SimCC distributions, with one reduction.

Sum over bins, mean over (image, visible joint), x plus y. The published losses differ here: MMPose's KLDiscretLoss takes
the mean over bins and the sum over the batch, DWPose's KDLoss the sum over bins and the mean over the batch, so that
their ratio depends on batch size and input size. With one reduction the two magnitudes can be compared and weighted.

Shape letters: B batch, K joints, X and Y bins along the width and the height, H and W cells of the head's map.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from posesearch.models.heads import PoseOutput
from posesearch.models.pose import PoseModel


class SoftLabels(NamedTuple):
    """Distributions to learn, from ground truth or from a teacher.

    Attributes:
        x_BKX: Log-probabilities over the x bins, float32.
        y_BKY: The same over the y bins.
        weight_BK: 1 for a joint that counts, 0 for one that does not.
    """

    x_BKX: Tensor
    y_BKY: Tensor
    weight_BK: Tensor


def soft_labels(x_BKX: Tensor, y_BKY: Tensor, weight_BK: Tensor, beta: float) -> SoftLabels:
    """Turns Gaussian labels or a teacher's logits into distributions: softmax(beta * values), in float32.

    RTMPose softens its (unnormalised) Gaussian labels like logits, with beta 10; a peak of 1 then has probability
    .245 at 192 pixels. No gradient flows back into a teacher.
    """
    return SoftLabels(
        x_BKX=F.log_softmax(x_BKX.detach().float() * beta, dim=-1),
        y_BKY=F.log_softmax(y_BKY.detach().float() * beta, dim=-1),
        weight_BK=weight_BK.float(),
    )


def simcc_loss(output: PoseOutput, labels: SoftLabels, beta: float) -> Tensor:
    """Divergence of the predicted distributions from the labels, KL(labels || softmax(beta * logits)).

    Args:
        output: The network's logits, any float type; the loss is computed in float32.
        labels: From `soft_labels`.
        beta: Factor on the logits.

    Returns:
        A scalar; 0 (with gradients 0) for a batch without a joint that counts.
    """
    divergence_BK = _divergence(output.x, labels.x_BKX, beta) + _divergence(output.y, labels.y_BKY, beta)
    return (labels.weight_BK * divergence_BK).sum() / labels.weight_BK.sum().clamp(min=1.0)


@contextmanager
def joint_maps(model: PoseModel) -> Iterator[list[Tensor]]:
    """Collects maps_BKHW, one map a joint as the head's convolution gives them, of each forward inside the block."""
    maps: list[Tensor] = []

    def keep(_layer: nn.Module, _inputs: tuple[Tensor, ...], maps_BKHW: Tensor) -> None:
        maps.append(maps_BKHW)

    handle = model.head.get_submodule("final_layer").register_forward_hook(keep)
    try:
        yield maps
    finally:
        handle.remove()


def map_loss(maps_BKHW: Tensor, x_BKX: Tensor, y_BKY: Tensor, weight_BK: Tensor) -> Tensor:
    """Divergence of the head's maps, as distributions over their cells, from where the joints are.

    A SimCC head sees a joint's place only through a dense layer over the flattened map, and until that layer is
    sorted out it tells the backbone little: from scratch on 3,000 pictures of generated people (hard), StarNet-Pose-T
    scaled to 128x96 had AP .019 after 1,230 steps without this term and .041 with weight 1.

    Args:
        maps_BKHW: From `joint_maps`.
        x_BKX: Gaussian labels over the x bins, peak 1.
        y_BKY: The same over the y bins.
        weight_BK: 1 for a joint that counts, 0 for one that does not.

    Returns:
        A scalar; 0 (with gradients 0) for a batch without a joint that counts.
    """
    height, width = maps_BKHW.shape[2:]
    x_BKW, y_BKH = (
        F.normalize(F.adaptive_avg_pool1d(labels.float(), cells) + 1e-6, p=1.0, dim=-1)
        for labels, cells in ((x_BKX, width), (y_BKY, height))
    )
    cells_BKN = (y_BKH.unsqueeze(-1) * x_BKW.unsqueeze(-2)).flatten(2)
    predicted_BKN = F.log_softmax(maps_BKHW.float().flatten(2), dim=-1)
    divergence_BK = torch.sum(cells_BKN * (cells_BKN.log() - predicted_BKN), dim=-1)
    return (weight_BK * divergence_BK).sum() / weight_BK.sum().clamp(min=1.0)


def _divergence(logits_BKX: Tensor, labels_BKX: Tensor, beta: float) -> Tensor:
    predicted_BKX = F.log_softmax(logits_BKX.float() * beta, dim=-1)
    return torch.sum(labels_BKX.exp() * (labels_BKX - predicted_BKX), dim=-1)
