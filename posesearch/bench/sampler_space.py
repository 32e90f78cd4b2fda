"""A search space of 25 decisions whose members are real architectures: 20 of the stages, 5 of the whole network.

The spaces of the package leave crop, stem and head alone; here they are genes as well, so that the samplers face as many
decisions as the problem they were first compared on. Everything else a search asks of a space is inherited.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from posesearch.spaces.arch import Architecture, HeadArch, StageArch
from posesearch.spaces.space import GENE_KINDS, Choice, SearchSpace, StageSpace

WHOLE = ("input_height", "stem_width", "head_kernel", "head_hidden", "head_attention")
"""Genes of the whole network, after those of the stages."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WideSpace(SearchSpace):
    """A space whose whole-network genes have choices too.

    Attributes:
        input_heights: Crop heights, pixels; the width is three quarters of it, rounded up to a multiple of 32.
        stem_widths: Channels of the stem.
        head_kernels: Sides of the head's convolution.
        head_hiddens: Widths of a joint's token.
        head_attentions: Widths of query and key.
    """

    input_heights: tuple[int, ...]
    stem_widths: tuple[int, ...]
    head_kernels: tuple[int, ...]
    head_hiddens: tuple[int, ...]
    head_attentions: tuple[int, ...]

    def genes(self) -> dict[str, tuple[Choice, ...]]:
        """Returns every decision with its choices: those of the stages, then `WHOLE`."""
        whole = (
            self.input_heights, self.stem_widths, self.head_kernels, self.head_hiddens, self.head_attentions,
        )  # fmt: skip
        # A slotted dataclass is another class than the one `super()` without arguments knows of.
        return {**SearchSpace.genes(self), **dict(zip(WHOLE, whole, strict=True))}

    def decode(self, genes: Mapping[str, Choice]) -> Architecture:
        """Returns the architecture with these choices."""
        stages = tuple(
            StageArch(
                width=int(genes[f"stage{index}.width"]),
                depth=int(genes[f"stage{index}.depth"]),
                kernel=int(genes[f"stage{index}.kernel"]),
                ratio=int(genes[f"stage{index}.ratio"]),
                attention=bool(genes[f"stage{index}.attention"]),
            )
            for index in range(len(self.stages))
        )
        height, stem, kernel, hidden, attention = (int(genes[name]) for name in WHOLE)
        return Architecture(
            family=self.family,
            num_joints=self.num_joints,
            attention_reduction=self.attention_reduction,
            stages=stages,
            input_size=(height, -(-height * 3 // 128) * 32),
            stem_width=stem,
            head=HeadArch(kernel=kernel, hidden=hidden, attention_dim=attention),
        )

    def encode(self, arch: Architecture) -> dict[str, Choice]:
        """Returns the choices of a member, the inverse of `decode`."""
        head = arch.head
        whole = (arch.input_size[0], arch.stem_width, head.kernel, head.hidden, head.attention_dim)
        stages = {
            f"stage{index}.{kind}": getattr(stage, kind)
            for index, stage in enumerate(arch.stages)
            for kind in GENE_KINDS
        }
        return {**stages, **dict(zip(WHOLE, whole, strict=True))}

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as JSON-ready dicts and lists."""
        return {**SearchSpace.to_plain(self), "kind": "wide"}


def wide_space() -> WideSpace:
    """Returns the space of the benchmark: 25 genes, 5.2e12 members."""
    common: dict[str, Any] = {"kernel": (3, 5, 7), "ratio": (2, 3, 4)}
    return WideSpace(
        name="wide",
        input_size=(256, 192),
        input_heights=(192, 256, 320),
        stem_widths=(16, 24, 32),
        head_kernels=(3, 7),
        head_hiddens=(128, 192, 256),
        head_attentions=(64, 128),
        stages=(
            StageSpace(width=(16, 24, 32, 40, 48), depth=(1, 2, 3, 4), **common),
            StageSpace(width=(32, 48, 64, 80, 96), depth=(1, 2, 3, 4, 5), **common),
            StageSpace(width=(64, 96, 128, 160, 192), depth=(2, 4, 6, 8, 10, 12), **common),
            StageSpace(width=(128, 160, 192, 224, 256), depth=(1, 2, 3, 4, 5, 6), **common),
        ),
    )


def small_wide_space() -> WideSpace:
    """Returns a space of the same make with 2,304 members, few enough to score them all."""
    return WideSpace(
        name="small wide",
        input_size=(256, 192),
        input_heights=(192, 256),
        stem_widths=(16, 32),
        head_kernels=(3,),
        head_hiddens=(128, 256),
        head_attentions=(64,),
        stages=(
            StageSpace(width=(16, 32, 48), depth=(1, 2), kernel=(3, 7), ratio=(2,), attention=(False, True)),
            StageSpace(width=(32, 64, 96), depth=(2, 5), kernel=(3,), ratio=(2, 4), attention=(False,)),
        ),
    )
