"""Drop path as an argument: keyed masks, with rates that depend on a block's place in the largest network.

Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016: the rate grows linearly from 0 at the first block to `rate`
at the last. A block keeps its rate in every subnet, so a shallower one does not change the meaning of the number.
"""

from __future__ import annotations

import torch
from torch import Tensor

from posesearch.errors import UsageError
from posesearch.spaces.arch import Architecture


def drop_path_masks(
    arch: Architecture, largest: Architecture, rate: float, batch: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Draws the drop masks of one forward.

    Args:
        arch: the subnet to run.
        largest: the architecture that places the blocks, usually `space.largest()`, or `arch` itself.
        rate: drop probability of the largest network's last block, in [0, 1).
        batch: images in the batch.
        generator: source of randomness; the masks lie on its device.

    Returns:
        Block name ("stages.0.1") -> mask of shape (batch, 1, 1, 1): 0 where dropped, 1 / keep elsewhere. Blocks that
        are never dropped are absent.

    Raises:
        UsageError: the rate is out of range.
    """
    if not 0.0 <= rate < 1.0:
        raise UsageError(f"Drop path rate {rate} is out of range. Allowed: 0 up to, but not including, 1.")
    masks = {}
    last = max(1, sum(stage.depth for stage in largest.stages) - 1)
    first_block = 0
    for index, (stage, full) in enumerate(zip(arch.stages, largest.stages, strict=True)):
        for block in range(stage.depth):
            keep = 1.0 - rate * (first_block + block) / last
            if keep < 1.0:
                draws_B = torch.rand(batch, generator=generator, device=generator.device)
                masks[f"stages.{index}.{block + 1}"] = (draws_B < keep).float().view(batch, 1, 1, 1) / keep
        first_block += full.depth
    return masks
