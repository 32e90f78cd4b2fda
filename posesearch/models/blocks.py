"""Building blocks of the StarNet family: conv + norm, star block, coordinate attention.

Shape letters: B batch, C channels, H height, W width.

A block declares how its parameters are cut from wider ones in `AXIS_RULES` (see `axes`); everything undeclared is cut
to its leading channels.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from posesearch.models.axes import AxisRules, Centre
from posesearch.models.layers import Conv2d

Statistics = Literal["running", "batch"]

CA_GAIN = 4.0
"""Gain on the two coordinate-attention gates: zero-initialised gates are sigmoid(0)^2 = 1/4, so 4 makes them the identity."""

CA_MIN_CHANNELS = 8
"""Smallest inner width of coordinate attention; with reduction 32 every width up to 287 has exactly this one."""


def batch_norm(channels: int, statistics: Statistics) -> nn.BatchNorm2d:
    """A BatchNorm that keeps running statistics, or one without buffers that always uses the batch's own."""
    return nn.BatchNorm2d(channels, track_running_stats=statistics == "running")


class ConvBN(nn.Module):
    """Convolution with bias, then BatchNorm unless `norm` is off; odd kernel, "same" padding.

    The bias before a norm is redundant; it stays because the published weights hold it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        norm: bool = True,
        statistics: Statistics = "running",
    ) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups)
        if norm:
            self.bn: nn.Module = batch_norm(out_channels, statistics)
        self.has_norm = norm

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Convolves, then normalises."""
        x_BCHW = self.conv(x_BCHW)
        if self.has_norm:
            x_BCHW = self.bn(x_BCHW)
        return x_BCHW


class CoordinateAttention(nn.Module):
    """Gates each channel by its profile along the height and along the width.

    Hou et al., "Coordinate Attention for Efficient Mobile Network Design", CVPR 2021, with the inner activation of
    StarNet-Pose (ReLU). `gain` multiplies the product of the two gates: with 4 and zero-initialised gates the module
    starts as the identity, so a weight-shared block works alike with and without it. The published form has gain 1;
    the factor belongs to the depthwise convolution that follows (`published.to_published`, `deploy.deployed`).
    """

    def __init__(self, channels: int, *, reduction: int, statistics: Statistics = "running") -> None:
        super().__init__()
        inner = attention_channels(channels, reduction)
        self.gain = CA_GAIN
        self.conv_reduce = Conv2d(channels, inner, 1, bias=False)
        self.bn: nn.Module = batch_norm(inner, statistics)
        self.conv_h = Conv2d(inner, channels, 1)
        self.conv_w = Conv2d(inner, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Returns the gated map, same shape."""
        height, width = x_BCHW.shape[2:]
        rows_BCH1 = x_BCHW.mean(3, keepdim=True)
        columns_BCW1 = x_BCHW.mean(2, keepdim=True).transpose(2, 3)
        both = F.relu(self.bn(self.conv_reduce(torch.cat((rows_BCH1, columns_BCW1), dim=2))))
        rows, columns = both.split((height, width), dim=2)
        gate_rows_BCH1 = self.conv_h(rows).sigmoid()
        gate_columns_BC1W = self.conv_w(columns).sigmoid().transpose(2, 3)
        if self.gain != 1.0:
            # On the small gate, not on the map: W numbers a channel instead of H x W.
            gate_columns_BC1W = gate_columns_BC1W * self.gain
        return x_BCHW * gate_rows_BCH1 * gate_columns_BC1W


class StarBlock(nn.Module):
    """x + dw2(ca(bn(g(relu6(f1(z)) * f2(z))))) with z = bn(dw(x)).

    Ma et al., "Rewrite the Stars", CVPR 2024; coordinate attention where StarNet-Pose has it. `dwconv2` ends the
    branch without a norm.
    """

    AXIS_RULES: ClassVar[AxisRules] = {
        "dwconv.conv.weight": (Centre(2), Centre(3)),
        "dwconv2.conv.weight": (Centre(2), Centre(3)),
    }

    def __init__(
        self,
        width: int,
        *,
        kernel: int,
        ratio: int,
        attention: bool,
        attention_reduction: int,
        statistics: Statistics = "running",
    ) -> None:
        super().__init__()
        hidden = ratio * width
        self.dwconv = ConvBN(width, width, kernel, groups=width, statistics=statistics)
        self.f1 = ConvBN(width, hidden, norm=False)
        self.f2 = ConvBN(width, hidden, norm=False)
        self.g = ConvBN(hidden, width, statistics=statistics)
        self.dwconv2 = ConvBN(width, width, kernel, groups=width, norm=False)
        self.has_attention = attention
        if attention:
            self.ca = CoordinateAttention(width, reduction=attention_reduction, statistics=statistics)

    def forward(self, x_BCHW: Tensor, drop_mask_B111: Tensor | None = None) -> Tensor:
        """Applies the block.

        Args:
            x_BCHW: feature map.
            drop_mask_B111: stochastic depth, 0 for a dropped image and 1 / keep otherwise; None keeps every branch.
        """
        z_BCHW = self.dwconv(x_BCHW)
        branch_BCHW = self.g(F.relu6(self.f1(z_BCHW)) * self.f2(z_BCHW))
        if self.has_attention:
            branch_BCHW = self.ca(branch_BCHW)
        branch_BCHW = self.dwconv2(branch_BCHW)
        if drop_mask_B111 is not None:
            branch_BCHW = branch_BCHW * drop_mask_B111
        return x_BCHW + branch_BCHW


def attention_channels(channels: int, reduction: int) -> int:
    """Inner width of coordinate attention: channels / reduction, at least 8 (StarNet-Pose's `max(8, C // r)`)."""
    return max(CA_MIN_CHANNELS, channels // reduction)
