"""The relaxed supernet: one forward of the largest network that is a mixture of all members, by shares of their choices.

One weight tensor a decision, no parallel copies (FBNetV2, Wan et al., CVPR 2020, for widths):

- width: the shares of the widths that reach a channel multiply it, after every norm and where a bias comes in;
- ratio: likewise the hidden units, after the star product. f1, f2 and g have one mask, since f1 and f2 are multiplied;
- kernel: the depthwise kernel times the mixed centred windows; convolution is linear, so that one convolution is the mixture;
- attention: (1 - z) y + z CA(y); the inner width of coordinate attention follows the stage's width, with a mask of its own;
- depth: block b adds pi_b F_b(x), where pi_b is the share of all depths of at least b: a residual block is its own gate.

All but attention and depth is done to parameters instead of to maps: a mask after a norm is the same mask on its scale and
shift, one before a convolution the same on the columns of its weight. So the static network of the largest member runs as it
is, with `relaxed_parameters` lent to it, its drop-path argument for the depth, and a hook for attention. With shares that
take one choice each, it computes what the sliced subnet computes, in training mode: batch statistics are taken channel by
channel, so what a masked channel does to its own norm reaches no other.

Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from posesearch.models.blocks import StarBlock, attention_channels
from posesearch.models.heads import PoseOutput
from posesearch.models.pose import PoseModel
from posesearch.spaces.space import SearchSpace
from posesearch.supernet.relaxed_shares import Shares
from posesearch.supernet.supernet import Supernet
from posesearch.supernet.templates import lent

MASKED_IN_BLOCK = (
    ("dwconv.bn.weight", 0, "width"),
    ("dwconv.bn.bias", 0, "width"),
    ("g.conv.weight", 1, "hidden"),
    ("g.bn.weight", 0, "width"),
    ("g.bn.bias", 0, "width"),
    ("ca.conv_h.weight", 1, "inner"),
    ("ca.conv_w.weight", 1, "inner"),
    # Depthwise: what comes in is masked already, only the bias is not.
    ("dwconv2.conv.bias", 0, "width"),
)
"""Parameters of a star block, which of their axes is masked, and by what; what is not named reads masked channels only."""

MASKED_IN_DOWNSAMPLING = (("bn.weight", 0, "width"), ("bn.bias", 0, "width"))

WINDOWED = ("dwconv.conv.weight", "dwconv2.conv.weight")


def relaxed_forward(supernet: Supernet, images_BCHW: Tensor, shares: Shares) -> PoseOutput:
    """Runs the mixture that `shares` describe, with the statistics of the batch.

    Args:
        supernet: The shared weights; gradients reach them and the shares.
        images_BCHW: Normalised RGB images of the space's input size.
        shares: See `relaxed_shares.Shares`, on the supernet's device.
    """
    network = largest_network(supernet)
    parameters = relaxed_parameters(dict(supernet.named_parameters()), supernet.space, shares)
    places = supernet.template(supernet.space.largest(), running=False).places
    with lent(places, parameters), _mixed_attention(network, shares):
        output: PoseOutput = network(images_BCHW, survival(supernet.space, shares))
    return output


def largest_network(supernet: Supernet) -> PoseModel:
    """Returns the weightless network that `relaxed_forward` runs, for those who watch its layers."""
    return supernet.template(supernet.space.largest(), running=False).model


def relaxed_parameters(
    parameters: Mapping[str, Tensor], space: SearchSpace, shares: Shares
) -> dict[str, Tensor]:
    """Returns the largest network's parameters, those in the tables above masked by the shares."""
    mixed = dict(parameters)
    for index, stage in enumerate(space.stages):
        gene = {kind: shares[f"stage{index}.{kind}"] for kind in ("width", "kernel", "ratio")}
        masks = {
            "width": leading(stage.width, gene["width"]),
            "inner": leading(
                [attention_channels(width, space.attention_reduction) for width in stage.width], gene["width"]
            ),
            "hidden": leading(
                [ratio * width for width in stage.width for ratio in stage.ratio],
                torch.outer(gene["width"], gene["ratio"]).flatten(),
            ),
        }
        window = mixed_window(stage.kernel, gene["kernel"])
        place = f"backbone.stages.{index}"
        for name, axis, mask in MASKED_IN_DOWNSAMPLING:
            _mask(mixed, f"{place}.0.{name}", axis, masks[mask])
        for block in range(1, stage.depth[-1] + 1):
            for name, axis, mask in MASKED_IN_BLOCK:
                _mask(mixed, f"{place}.{block}.{name}", axis, masks[mask])
            for name in WINDOWED:
                mixed[f"{place}.{block}.{name}"] = mixed[f"{place}.{block}.{name}"] * window
    return mixed


def survival(space: SearchSpace, shares: Shares) -> dict[str, Tensor]:
    """Returns pi_b of every block that some depth leaves out, by its name below the backbone, of shape (1, 1, 1, 1)."""
    return {
        f"stages.{index}.{number}": alive.view(1, 1, 1, 1)
        for index, stage in enumerate(space.stages)
        for number, alive in enumerate(leading(stage.depth, shares[f"stage{index}.depth"]), start=1)
        if number > stage.depth[0]
    }


def leading(sizes: Sequence[int], share: Tensor) -> Tensor:
    """Returns for each of max(sizes) places the share of the sizes that reach it.

    Args:
        sizes: One a choice, in any order.
        share: Of each choice.
    """
    places = torch.arange(max(sizes), device=share.device)
    reached = places < torch.tensor(sizes, device=share.device).unsqueeze(1)
    return share @ reached.to(share.dtype)


def mixed_window(kernels: Sequence[int], share: Tensor) -> Tensor:
    """Returns sum_i share_i M_i, with M_i 1 in the centred square of side kernels[i] of the largest kernel."""
    side = kernels[-1]
    window = share.new_zeros(side, side)
    for index, kernel in enumerate(kernels):
        border = (side - kernel) // 2
        window = window + share[index] * nn.functional.pad(share.new_ones(kernel, kernel), (border,) * 4)
    return window


def _mask(parameters: dict[str, Tensor], name: str, axis: int, mask: Tensor) -> None:
    # A stage without coordinate attention among its choices has no such parameters.
    if name in parameters:
        parameter = parameters[name]
        shape = [1] * parameter.dim()
        shape[axis] = -1
        parameters[name] = parameter * mask.view(shape)


@contextmanager
def _mixed_attention(network: PoseModel, shares: Shares) -> Iterator[None]:
    """Lets every coordinate attention of the network give (1 - z) y + z CA(y) inside the block."""
    handles = []
    for index, stage in enumerate(network.backbone.stages):
        share = shares[f"stage{index}.attention"]
        for block in stage.children():
            # Of one choice alone, or none, there is nothing to mix.
            if isinstance(block, StarBlock) and block.has_attention and len(share) > 1:
                handles.append(block.ca.register_forward_hook(_mixing(share[1])))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _mixing(share: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    def mix(_module: nn.Module, inputs: tuple[Tensor, ...], attended_BCHW: Tensor) -> Tensor:
        return inputs[0] + share * (attended_BCHW - inputs[0])

    return mix
