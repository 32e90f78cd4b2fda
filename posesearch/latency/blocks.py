"""What a latency table prices: the blocks of a space, and which of them an architecture is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from posesearch.config import to_plain
from posesearch.models.starnet import feature_info, half_size
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One kind of block at one place; equal blocks cost the same wherever they stand.

    Attributes:
        kind: "stem" (stride-2 convolution of the image), "down" (stride-2 convolution before a stage), "star" or "head".
        in_width: Channels it reads.
        width: Channels it writes; of the head, the joints.
        size: (height, width) of the map it reads.
        kernel: Side of a star block's depthwise kernels; 0 for the others, which have one kernel in a space.
        ratio: Expansion of a star block; 0 for the others.
        attention: Coordinate attention in a star block.
    """

    kind: Literal["stem", "down", "star", "head"]
    in_width: int
    width: int
    size: tuple[int, int]
    kernel: int = 0
    ratio: int = 0
    attention: bool = False

    def __str__(self) -> str:
        widths = str(self.width) if self.kind == "star" else f"{self.in_width}-{self.width}"
        choices = f" k{self.kernel} r{self.ratio} a{int(self.attention)}" if self.kind == "star" else ""
        return f"{self.kind} w{widths}{choices} at {self.size[0]}x{self.size[1]}"

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as JSON-ready dict."""
        plain: dict[str, Any] = to_plain(self)
        return plain


def blocks_of(arch: Architecture) -> dict[Block, int]:
    """Returns the blocks of an architecture with how often each occurs, from the image to the head."""
    found = {
        Block(kind="stem", in_width=3, width=arch.stem_width, size=arch.input_size): 1,
    }
    in_width, in_size = arch.stem_width, half_size(arch.input_size)
    for stage, feature in zip(arch.stages, feature_info(arch), strict=True):
        found[Block(kind="down", in_width=in_width, width=stage.width, size=in_size)] = 1
        star = _star(stage.width, feature.size, stage.kernel, stage.ratio, stage.attention)
        found[star] = stage.depth
        in_width, in_size = stage.width, feature.size
    found[Block(kind="head", in_width=in_width, width=arch.num_joints, size=in_size)] = 1
    return found


def blocks_in(space: SearchSpace) -> tuple[Block, ...]:
    """Returns every block that a member of `space` can have, each once, from the image to the head.

    Space `starnet` has 297: stem, 40 downsampling convolutions, 252 star blocks, 4 heads.
    """
    found = [Block(kind="stem", in_width=3, width=space.stem_width, size=space.input_size)]
    in_widths: tuple[int, ...] = (space.stem_width,)
    in_size = half_size(space.input_size)
    # The maps have the same size in every member.
    for stage, feature in zip(space.stages, feature_info(space.smallest()), strict=True):
        found += [
            Block(kind="down", in_width=before, width=width, size=in_size)
            for before in in_widths
            for width in stage.width
        ]
        found += [
            _star(width, feature.size, kernel, ratio, attention)
            for width in stage.width
            for kernel in stage.kernel
            for ratio in stage.ratio
            for attention in stage.attention
        ]
        in_widths, in_size = stage.width, feature.size
    found += [Block(kind="head", in_width=width, width=space.num_joints, size=in_size) for width in in_widths]
    return tuple(found)


def _star(width: int, size: tuple[int, int], kernel: int, ratio: int, attention: bool) -> Block:
    return Block(
        kind="star",
        in_width=width,
        width=width,
        size=size,
        kernel=kernel,
        ratio=ratio,
        attention=attention,
    )
