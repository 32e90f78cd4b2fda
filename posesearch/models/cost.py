"""What an architecture costs: parameters, MACs, MMPose's FLOPs and operators, without building it.

Every distinct part (a block of some width, kernel, ratio, attention, at some map size) is traced once on the meta device
and remembered; a network is a sum over its parts. Coordinate attention is counted in its published form, with the gain
folded away, because that is what is deployed and timed.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from torch import nn

from posesearch.models.blocks import ConvBN, StarBlock
from posesearch.models.counting import FLOAT32_BYTES, PartCost, count
from posesearch.models.heads import build_head
from posesearch.models.starnet import FeatureInfo, feature_info, half_size, stem
from posesearch.spaces.arch import Architecture, HeadArch

_PARTS_KEPT = 4096
"""A space with 4 stages, 4 widths, 3 kernels, 3 ratios and attention has under 400 distinct parts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Cost of a whole network for one image; see `PartCost` for the units.

    Attributes:
        stem: the stride-2 stem.
        stages: each stage, its downsampling convolution included.
        head: the head.
        image_bytes: the input image in float32, which the caller holds all the while.
    """

    stem: PartCost
    stages: tuple[PartCost, ...]
    head: PartCost
    image_bytes: int = 0

    @property
    def backbone(self) -> PartCost:
        """Stem and stages together."""
        return sum(self.stages, start=self.stem)

    @property
    def total(self) -> PartCost:
        """The whole network."""
        return self.backbone + self.head

    @property
    def params(self) -> int:
        """Learned numbers."""
        return self.total.params

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.total.macs

    @property
    def flops(self) -> int:
        """FLOPs by MMPose's counting rule."""
        return self.total.flops

    @property
    def operators(self) -> int:
        """Operators that launch work."""
        return self.total.operators

    @property
    def parameter_bytes(self) -> int:
        """Bytes of the learned numbers in float32."""
        return self.params * FLOAT32_BYTES

    @property
    def activation_bytes(self) -> int:
        """Bytes that all operators write in float32."""
        return self.total.activation_bytes

    @property
    def peak_activation_bytes(self) -> int:
        """Most bytes of activations alive at one moment in float32, the image included; calculated, not measured."""
        # The stem's input is the image.
        later = sum(self.stages, start=self.head)
        return max(self.stem.peak_bytes, self.image_bytes + later.peak_bytes)

    def to_plain(self) -> dict[str, Any]:
        """The cost as JSON-ready values: the totals first, then `backbone`, `stem`, `stages`, `head`."""
        return {
            **asdict(self.total),
            "parameter_bytes": self.parameter_bytes,
            "peak_activation_bytes": self.peak_activation_bytes,
            "backbone": asdict(self.backbone),
            "stem": asdict(self.stem),
            "stages": [asdict(stage) for stage in self.stages],
            "head": asdict(self.head),
        }


def cost(arch: Architecture) -> Cost:
    """Counts one architecture; under a millisecond when its parts were counted before."""
    in_width = arch.stem_width
    in_size = half_size(arch.input_size)
    stages = []
    features = feature_info(arch)
    for stage, feature in zip(arch.stages, features, strict=True):
        total = _convolution_cost(in_width, stage.width, in_size)
        block = _block_cost(
            stage.width, stage.kernel, stage.ratio, stage.attention, arch.attention_reduction, feature.size
        )
        for _ in range(stage.depth):
            total = total + block
        stages.append(total)
        in_width, in_size = stage.width, feature.size
    return Cost(
        stem=_stem_cost(arch.stem_width, arch.input_size),
        stages=tuple(stages),
        head=_head_cost(arch.head, features[-1], arch.num_joints, arch.input_size),
        image_bytes=3 * math.prod(arch.input_size) * FLOAT32_BYTES,
    )


def macs_of(arch: Architecture) -> int:
    """Multiply-accumulates of one image through `arch`."""
    return cost(arch).macs


@lru_cache(maxsize=_PARTS_KEPT)
def _stem_cost(width: int, input_size: tuple[int, int]) -> PartCost:
    return count(lambda: stem(width), (1, 3, *input_size))


@lru_cache(maxsize=_PARTS_KEPT)
def _convolution_cost(in_channels: int, out_channels: int, size: tuple[int, int]) -> PartCost:
    return count(lambda: ConvBN(in_channels, out_channels, 3, stride=2), (1, in_channels, *size))


@lru_cache(maxsize=_PARTS_KEPT)
def _block_cost(
    width: int, kernel: int, ratio: int, attention: bool, reduction: int, size: tuple[int, int]
) -> PartCost:
    def build() -> nn.Module:
        block = StarBlock(
            width, kernel=kernel, ratio=ratio, attention=attention, attention_reduction=reduction
        )
        if attention:
            block.ca.gain = 1.0
        return block

    return count(build, (1, width, *size))


@lru_cache(maxsize=_PARTS_KEPT)
def _head_cost(
    head: HeadArch, feature: FeatureInfo, num_joints: int, input_size: tuple[int, int]
) -> PartCost:
    return count(
        lambda: build_head(head, feature, num_joints=num_joints, input_size=input_size),
        (1, feature.channels, *feature.size),
    )
