"""StarNet: the whole backbone, with the official parameter names.

`stem` halves the image, then each stage halves the map once more with a 3x3 convolution (index 0 of the stage) and
applies its star blocks (indices 1..depth). Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from posesearch.models.blocks import ConvBN, StarBlock, Statistics
from posesearch.models.layers import Build, build_new

if TYPE_CHECKING:
    from posesearch.spaces.arch import Architecture


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureInfo:
    """What one stage hands on: its channels, its stride against the image, and the (height, width) of its map."""

    channels: int
    reduction: int
    size: tuple[int, int]


class StarNet(nn.Module):
    """StarNet backbone of one architecture (Ma et al., "Rewrite the Stars", CVPR 2024; StarNet-Pose's attention).

    Attributes:
        feature_info: one `FeatureInfo` a stage; the last one describes what `forward` returns.
    """

    def __init__(
        self, arch: Architecture, *, statistics: Statistics = "running", build: Build = build_new
    ) -> None:
        super().__init__()
        self.feature_info = feature_info(arch)
        self.stem = build("backbone.stem", stem, arch.stem_width, statistics)
        self.stages = nn.ModuleList()
        in_width = arch.stem_width
        for index, stage in enumerate(arch.stages):
            place = f"backbone.stages.{index}"
            parts = [build(f"{place}.0", ConvBN, in_width, stage.width, 3, stride=2, statistics=statistics)]
            for block in range(1, stage.depth + 1):
                parts.append(
                    build(
                        f"{place}.{block}",
                        StarBlock,
                        stage.width,
                        kernel=stage.kernel,
                        ratio=stage.ratio,
                        attention=stage.attention,
                        attention_reduction=arch.attention_reduction,
                        statistics=statistics,
                    )
                )
            self.stages.append(nn.Sequential(*parts))
            in_width = stage.width

    def forward(self, images_BCHW: Tensor, drop_path: Mapping[str, Tensor] | None = None) -> Tensor:
        """Returns the last stage's map.

        Args:
            images_BCHW: normalised RGB images.
            drop_path: block name ("stages.0.1") -> drop mask of shape (B, 1, 1, 1), see `StarBlock.forward`.
        """
        x_BCHW = self.stem(images_BCHW)
        for stage_index, stage in enumerate(self.stages):
            for index, part in enumerate(stage.children()):
                mask = drop_path.get(f"stages.{stage_index}.{index}") if drop_path and index else None
                x_BCHW = part(x_BCHW) if mask is None else part(x_BCHW, mask)
        return x_BCHW


def stem(width: int, statistics: Statistics = "running") -> nn.Sequential:
    """The stride-2 convolution at the entry."""
    return nn.Sequential(ConvBN(3, width, 3, stride=2, statistics=statistics), nn.ReLU6())


def feature_info(arch: Architecture) -> tuple[FeatureInfo, ...]:
    """`FeatureInfo` of each stage."""
    size = half_size(arch.input_size)
    infos = []
    for index, stage in enumerate(arch.stages):
        size = half_size(size)
        infos.append(FeatureInfo(channels=stage.width, reduction=2 ** (index + 2), size=size))
    return tuple(infos)


def half_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) after a 3x3 stride-2 convolution with padding 1, which rounds odd sides up."""
    height, width = size
    return (height + 1) // 2, (width + 1) // 2
