"""Pose heads: from the last feature map to SimCC logits.

Shape letters: B batch, C channels, H height, W width, K joints, D features a joint, E expanded, S attention width,
X and Y bins along the width and the height.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from posesearch.errors import UsageError, did_you_mean
from posesearch.models.axes import AxisRules, Locked, Segments
from posesearch.models.layers import Conv2d, Linear

if TYPE_CHECKING:
    from posesearch.models.starnet import FeatureInfo
    from posesearch.spaces.arch import HeadArch


class PoseOutput(NamedTuple):
    """SimCC logits.

    Attributes:
        x: simcc_x_BKX, one logit a bin along the crop's width.
        y: simcc_y_BKY, one logit a bin along the crop's height.
    """

    x: Tensor
    y: Tensor


class ScaleNorm(nn.Module):
    """y = g x / max(||x|| / sqrt(D), 1e-5), one learned scale (Nguyen & Salazar 2019, as used by RTMPose)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.scale = features**-0.5
        self.g = nn.Parameter(torch.ones(1))

    def forward(self, x_BKD: Tensor) -> Tensor:
        """Returns the rescaled rows, same shape."""
        norm_BK1 = torch.linalg.vector_norm(x_BKD, dim=-1, keepdim=True) * self.scale
        return x_BKD / norm_BK1.clamp(min=1e-5) * self.g


class Scale(nn.Module):
    """Learned factor for each feature of a residual stream."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(features))

    def forward(self, x_BKD: Tensor) -> Tensor:
        """Returns the scaled features, same shape."""
        return x_BKD * self.scale


class GatedAttentionUnit(nn.Module):
    """Attention over the joints: scale * x + o(u * (A v)), A = relu(q k^T / sqrt(S))^2.

    Hua et al., "Transformer Quality in Linear Time", ICML 2022, as RTMPose uses it: no softmax, no position bias;
    u, v and the shared base of q and k come from one projection `uv`, in this order.
    """

    AXIS_RULES: ClassVar[AxisRules] = {"uv.weight": (Segments(0, ("expanded", "expanded", "attention_dim")),)}

    def __init__(self, features: int, *, attention_dim: int, expansion: int) -> None:
        super().__init__()
        self.expanded = features * expansion
        self.attention_dim = attention_dim
        self.gamma = nn.Parameter(torch.empty(2, attention_dim))
        self.beta = nn.Parameter(torch.empty(2, attention_dim))
        self.o = Linear(self.expanded, features, bias=False)
        self.uv = Linear(features, 2 * self.expanded + attention_dim, bias=False)
        self.ln = ScaleNorm(features)
        self.res_scale = Scale(features)

    def forward(self, x_BKD: Tensor) -> Tensor:
        """Returns updated joint tokens, same shape."""
        mixed = F.silu(self.uv(self.ln(x_BKD)))
        u_BKE, v_BKE, base_BKS = mixed.split((self.expanded, self.expanded, self.attention_dim), dim=-1)
        query_BKS, key_BKS = (base_BKS.unsqueeze(2) * self.gamma + self.beta).unbind(2)
        scores_BKK = torch.bmm(query_BKS, key_BKS.transpose(1, 2)) / math.sqrt(self.attention_dim)
        attended_BKE = torch.bmm(F.relu(scores_BKK).square(), v_BKE)
        return self.res_scale(x_BKD) + self.o(u_BKE * attended_BKE)


class RTMCCHead(nn.Module):
    """RTMPose's head: 7x7 convolution to one map a joint, ScaleNorm + linear, one GAU, one linear an axis.

    Jiang et al., "RTMPose", 2023 (arXiv 2303.07399). Joints, bins and the map's size are locked to the architecture.
    """

    AXIS_RULES: ClassVar[AxisRules] = {
        "final_layer.weight": (Locked(0), Locked(2), Locked(3)),
        "final_layer.bias": (Locked(0),),
        "mlp.1.weight": (Locked(1),),
        "cls_x.weight": (Locked(0),),
        "cls_y.weight": (Locked(0),),
    }

    def __init__(
        self, head: HeadArch, feature: FeatureInfo, *, num_joints: int, input_size: tuple[int, int]
    ) -> None:
        super().__init__()
        height, width = input_size
        map_height, map_width = feature.size
        self.final_layer = Conv2d(feature.channels, num_joints, head.kernel, padding=head.kernel // 2)
        positions = map_height * map_width
        self.mlp = nn.Sequential(ScaleNorm(positions), Linear(positions, head.hidden, bias=False))
        self.gau = GatedAttentionUnit(head.hidden, attention_dim=head.attention_dim, expansion=head.expansion)
        self.cls_x = Linear(head.hidden, int(width * head.split_ratio), bias=False)
        self.cls_y = Linear(head.hidden, int(height * head.split_ratio), bias=False)

    def forward(self, features_BCHW: Tensor) -> PoseOutput:
        """Returns raw (unnormalised) SimCC logits."""
        joints_BKD = self.gau(self.mlp(self.final_layer(features_BCHW).flatten(2)))
        return PoseOutput(x=self.cls_x(joints_BKD), y=self.cls_y(joints_BKD))


HEADS: dict[str, type[RTMCCHead]] = {"rtmcc": RTMCCHead}


def build_head(
    head: HeadArch, feature: FeatureInfo, *, num_joints: int, input_size: tuple[int, int]
) -> RTMCCHead:
    """The head that `head.kind` names.

    Args:
        head: kind and widths.
        feature: the map it reads.
        num_joints: joints it predicts.
        input_size: (height, width) of the crop in pixels.

    Raises:
        UsageError: unknown kind.
    """
    if head.kind not in HEADS:
        raise UsageError(
            f"Unknown head kind {head.kind!r}.{did_you_mean(head.kind, HEADS)} "
            f"Allowed: {', '.join(HEADS)}. Change `head.kind` of the architecture."
        )
    return HEADS[head.kind](head, feature, num_joints=num_joints, input_size=input_size)
