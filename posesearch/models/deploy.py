"""A network as it is deployed and timed: the attention gain, every BatchNorm and the twin branches folded away."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from posesearch.models.blocks import ConvBN, CoordinateAttention, StarBlock
from posesearch.models.layers import Conv2d
from posesearch.models.pose import PoseModel

DeployForm = Literal["published", "folded", "merged"]


class DeployedStarBlock(nn.Module):
    """A star block for inference: f1 and f2 read the same map, so one 1x1 convolution of twice the width is both.

    Shape letters: B batch, C channels, H height, W width, E hidden channels of one branch.

    Args:
        block: The block, its norms already folded; its parts are taken over, not copied.
    """

    def __init__(self, block: StarBlock) -> None:
        super().__init__()
        self.dwconv = block.dwconv
        self.f1_f2 = stacked(block.f1.conv, block.f2.conv)
        self.g = block.g
        self.ca: nn.Module = block.ca if block.has_attention else nn.Identity()
        self.dwconv2 = block.dwconv2

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Applies the block."""
        f1_BEHW, f2_BEHW = self.f1_f2(self.dwconv(x_BCHW)).chunk(2, dim=1)
        return x_BCHW + self.dwconv2(self.ca(self.g(F.relu6(f1_BEHW) * f2_BEHW)))


@torch.no_grad()
def stacked(first: nn.Conv2d, second: nn.Conv2d) -> Conv2d:
    """Returns one 1x1 convolution that gives the channels of `first`, then those of `second`."""
    both = Conv2d(first.in_channels, first.out_channels + second.out_channels, 1)
    for name in ("weight", "bias"):
        values = torch.cat((getattr(first, name), getattr(second, name)))
        setattr(both, name, nn.Parameter(values, requires_grad=False))
    return both


@torch.no_grad()
def deployed(model: PoseModel, *, form: DeployForm = "merged") -> PoseModel:
    """Returns a copy in evaluation mode that computes the same function with fewer operators.

    Batch-1 latency on a GPU follows the number of operators. StarNet-Pose-T has 188 as published, 153 with its norms
    folded and 138 with f1 and f2 of its 15 blocks merged as well; S has 342, 293 and 277. The copy is for inference
    only; its parameter names no longer fit a training checkpoint.

    Args:
        model: a network with running statistics.
        form: "published" folds the attention gain alone and keeps the published operators one for one, "folded" folds
            every BatchNorm too, "merged" also makes f1 and f2 of each star block one convolution.
    """
    fast = copy.deepcopy(model).eval()
    for module in fast.modules():
        if isinstance(module, StarBlock) and module.has_attention:
            module.dwconv2.conv.weight.mul_(module.ca.gain)
            module.ca.gain = 1.0
    if form != "published":
        for module in list(fast.modules()):
            _fold_norm(module)
    if form == "merged":
        for stage in fast.backbone.stages:
            assert isinstance(stage, nn.Sequential)
            for index, part in enumerate(stage):
                if isinstance(part, StarBlock):
                    stage[index] = DeployedStarBlock(part)
    return fast


def _fold_norm(module: nn.Module) -> None:
    if isinstance(module, ConvBN) and module.has_norm and isinstance(module.bn, nn.BatchNorm2d):
        module.conv = fuse_conv_bn_eval(module.conv, module.bn)
        module.bn = nn.Identity()
        module.has_norm = False
    elif isinstance(module, CoordinateAttention) and isinstance(module.bn, nn.BatchNorm2d):
        module.conv_reduce = fuse_conv_bn_eval(module.conv_reduce, module.bn)
        module.bn = nn.Identity()
