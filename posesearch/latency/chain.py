"""What one more block costs: a network with m and one with m + 4 copies of it, and the slope between the two.

An isolated, synchronised call of a block counts a launch and a synchronisation that do not happen inside a network, and
keeps its weights in the cache; sums of such calls came out 23 % too small on a CPU. The slope counts neither, and every
copy has weights of its own.

A chain of star blocks is a `PoseModel` of one stage, so it takes the way of every network that is timed: deploy form,
then `runtimes.prepare`. Blocks that change the map's size, and heads, cannot follow themselves; their copies read the
same map side by side. The few views that pick one number out of each copy's output cost the same for every block of
a kind, and every network has the same number of these kinds, so the calibration's constant takes them up.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from posesearch import rng
from posesearch.latency.blocks import Block
from posesearch.latency.deploy import deploy
from posesearch.latency.effort import Effort
from posesearch.latency.measure import pinned_threads, time_calls
from posesearch.latency.runtimes import prepare
from posesearch.latency.types import Conditions
from posesearch.models.blocks import ConvBN
from posesearch.models.heads import PoseOutput, build_head
from posesearch.models.pose import PoseModel
from posesearch.models.starnet import FeatureInfo
from posesearch.spaces.arch import Architecture, StageArch
from posesearch.spaces.space import SearchSpace

FEWER, MORE = 2, 6
"""Copies in the shorter and in the longer chain; an even number, since a network has two outputs."""

CARRIER_WIDTH = 8
"""Channels of the stem that feeds a chain of star blocks: small, since it is in both chains and cancels."""

# A slope is a difference, and an error of an entry enters as often as the block occurs: twice the rounds of `FAST`.
BLOCKS = Effort(
    warm_up_s=0.02, max_warm_up_s=0.06, settle_calls=4, unrecorded=1, recorded=5,
    min_rounds=8, max_rounds=24, half_width=0.01, max_s=0.2,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockTimes:
    """Figures of blocks timed side by side.

    Attributes:
        cost_ms: Marginal cost by block, milliseconds; not below 0.
        sentinel_ms: The sentinel's longer chain in the same rounds, milliseconds: the scale of these figures.
    """

    cost_ms: dict[Block, float]
    sentinel_ms: float


def marginal_costs(
    blocks: Sequence[Block],
    space: SearchSpace,
    conditions: Conditions,
    *,
    sentinel: Block,
    effort: Effort = BLOCKS,
    seed: int = 0,
) -> BlockTimes:
    """Times blocks of a space side by side, in this process.

    Args:
        blocks: What to time; their chains are in memory at the same time.
        space: Says what a block does not: head, joints, reduction of the attention.
        conditions: Device, runtime, precision, threads, batch.
        sentinel: A star block of the space, timed with every group of blocks.
        effort: How long to measure.
        seed: Key of the visiting order.

    Raises:
        EnvironmentFault: The device is out of memory, or not the kind the runtime needs.
    """
    wanted = tuple(dict.fromkeys((sentinel, *blocks)))
    with pinned_threads(conditions.threads):
        calls = {}
        for number, block in enumerate(wanted):
            for copies in (FEWER, MORE):
                module, input_size = chain(block, space, copies, conditions)
                calls[f"{number} x {copies}"] = prepare(module, input_size, conditions)
        timings, _ = time_calls(calls, f"0 x {MORE}", effort, seed=seed)
    cost_ms, sentinel_ms = {}, timings[f"0 x {MORE}"].p50_ms
    for number, block in enumerate(wanted):
        longer_ms, shorter_ms = (
            timings[f"{number} x {copies}"].over_sentinel * sentinel_ms for copies in (MORE, FEWER)
        )
        # A block never makes a network faster; noise can make it look so.
        cost_ms[block] = max(0.0, (longer_ms - shorter_ms) / (MORE - FEWER))
    return BlockTimes(cost_ms={block: cost_ms[block] for block in blocks}, sentinel_ms=sentinel_ms)


def chain(
    block: Block, space: SearchSpace, copies: int, conditions: Conditions
) -> tuple[nn.Module, tuple[int, int]]:
    """Returns a network with `copies` of a block in deploy form, and the (height, width) of its images."""
    if block.kind == "star":
        arch = _star_chain(block, space, copies)
        return deploy(PoseModel(arch), conditions), arch.input_size
    if block.kind == "head":
        # The stride is not used by a head.
        feature = FeatureInfo(channels=block.in_width, reduction=0, size=block.size)
        part: nn.Module = build_head(space.head, feature, num_joints=block.width, input_size=space.input_size)
    else:
        part = ConvBN(block.in_width, block.width, 3, stride=2, norm=False)
        if block.kind == "stem":
            part = nn.Sequential(part, nn.ReLU6())
    return SideBySide(part, copies, block.in_width).eval(), block.size


def _star_chain(block: Block, space: SearchSpace, copies: int) -> Architecture:
    height, width = block.size
    return Architecture(
        input_size=(4 * height, 4 * width),
        num_joints=1,
        stem_width=CARRIER_WIDTH,
        stages=(
            StageArch(
                width=block.width,
                depth=copies,
                kernel=block.kernel,
                ratio=block.ratio,
                attention=block.attention,
            ),
        ),
        attention_reduction=space.attention_reduction,
        head=dataclasses.replace(space.head, hidden=8, attention_dim=8, expansion=1),
    )


class SideBySide(nn.Module):
    """Copies of a part that read one map and whose outputs nobody adds up; two outputs, as every network here has."""

    def __init__(self, part: nn.Module, copies: int, in_width: int) -> None:
        super().__init__()
        # The image has three channels: a 1x1 convolution makes the map of it.
        self.entry: nn.Module = nn.Conv2d(3, in_width, 1) if in_width != 3 else nn.Identity()
        self.parts = nn.ModuleList(copy.deepcopy(part) for _ in range(copies))
        generator = rng.torch_generator(0, "chain weights")
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(0.0, 0.02, generator=generator)

    def forward(self, images_BCHW: Tensor) -> PoseOutput:
        """Returns one number of each output of each copy; asked for less, a compiler would leave work out."""
        x_BCHW = self.entry(images_BCHW)
        picked = []
        for part in self.parts:
            output = part(x_BCHW)
            tensors = output if isinstance(output, tuple) else (output,)
            picked.append(torch.cat([tensor.flatten(1)[:, :1] for tensor in tensors], dim=1))
        return PoseOutput(x=torch.cat(picked[::2], dim=1), y=torch.cat(picked[1::2], dim=1))
