"""PoseModel: one architecture as a plain network, backbone plus head.

Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from posesearch.models.blocks import Statistics
from posesearch.models.heads import PoseOutput, build_head
from posesearch.models.initialise import initialise
from posesearch.models.layers import Build, build_new
from posesearch.models.starnet import StarNet
from posesearch.spaces.arch import Architecture

if TYPE_CHECKING:
    from posesearch.checkpoint import ModelInfo


class PoseModel(nn.Module):
    """The network of one architecture.

    Parameters below `backbone` carry the official StarNet names, those below `head` MMPose's RTMCC names. Coordinate
    attention has gain 4 (see `models.published` for the published form).

    Args:
        arch: what to build; input size, joints and head included.
        seed: key of the initial weights; the same architecture and seed give the same weights everywhere.
        statistics: "running" for norms with running statistics, "batch" for norms without buffers, which always use
            the statistics of the batch.
        build: makes the parts, see `layers.Build`.

    Attributes:
        arch: the architecture.
        info: what is known about the weights when they came from a model file, else None.

    Example:
        >>> import torch
        >>> from posesearch.spaces import load_preset
        >>> model = PoseModel(load_preset("s050", input_size=(64, 64)))
        >>> output = model.eval()(torch.zeros(1, 3, 64, 64))
        >>> tuple(output.x.shape), tuple(output.y.shape)
        ((1, 17, 128), (1, 17, 128))
    """

    def __init__(
        self,
        arch: Architecture,
        *,
        seed: int = 0,
        statistics: Statistics = "running",
        build: Build = build_new,
    ) -> None:
        super().__init__()
        self.arch = arch
        self.info: ModelInfo | None = None
        self.backbone = StarNet(arch, statistics=statistics, build=build)
        self.head = build(
            "head",
            build_head,
            arch.head,
            self.backbone.feature_info[-1],
            num_joints=arch.num_joints,
            input_size=arch.input_size,
        )
        initialise(self, seed)

    def forward(self, images_BCHW: Tensor, drop_path: Mapping[str, Tensor] | None = None) -> PoseOutput:
        """Returns SimCC logits.

        Args:
            images_BCHW: normalised RGB images of `arch.input_size`.
            drop_path: block name below the backbone ("stages.0.1") -> mask of shape (B, 1, 1, 1), 0 for a dropped
                image and 1 / keep otherwise; None in evaluation.
        """
        output: PoseOutput = self.head(self.backbone(images_BCHW, drop_path))
        return output
