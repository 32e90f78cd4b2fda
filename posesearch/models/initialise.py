"""Initial weights, keyed by a seed: every star block starts as the identity.

Zeroing the scale of the branch's last norm (`g.bn`) and the bias of `dwconv2` makes the branch exactly 0, so networks of
any depth start alike, which weight sharing needs (BigNAS, ECCV 2020, section 3.2). The gates of coordinate attention are
zero-initialised as in StarNet-Pose. The head follows RTMCCHead: convolution N(0, 0.001), linear N(0, 0.01), GAU's
gamma and beta U[0, 1).
"""

from __future__ import annotations

import math

import torch
from torch import nn

from posesearch.models.blocks import CoordinateAttention, StarBlock
from posesearch.models.heads import GatedAttentionUnit
from posesearch.rng import torch_generator

HEAD_CONV_STD = 0.001
HEAD_LINEAR_STD = 0.01


@torch.no_grad()
def initialise(model: nn.Module, seed: int) -> None:
    """Overwrites every random parameter of a PoseModel in place; on the meta device nothing happens.

    Args:
        model: a module with `backbone` and `head`.
        seed: key of the draw.
    """
    if next(model.parameters()).is_meta:
        return
    generator = torch_generator(seed, "initial weights")
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            _initialise_conv(module, name.startswith("head."), generator)
        elif isinstance(module, nn.Linear):
            module.weight.normal_(0.0, HEAD_LINEAR_STD, generator=generator)
        elif isinstance(module, GatedAttentionUnit):
            module.gamma.uniform_(generator=generator)
            module.beta.uniform_(generator=generator)
    # Second pass: the identities overwrite what the first pass drew for the same convolutions.
    for module in model.modules():
        if isinstance(module, StarBlock):
            nn.init.zeros_(module.g.bn.get_parameter("weight"))
            _zero_bias(module.dwconv2.conv)
        elif isinstance(module, CoordinateAttention):
            for gate in (module.conv_h, module.conv_w):
                nn.init.zeros_(gate.weight)
                _zero_bias(gate)


def _initialise_conv(conv: nn.Conv2d, in_head: bool, generator: torch.Generator) -> None:
    if in_head:
        conv.weight.normal_(0.0, HEAD_CONV_STD, generator=generator)
        _zero_bias(conv)
        return
    # torch's own default, U(+-1 / sqrt(fan in)), which the published networks were trained from.
    bound = 1.0 / math.sqrt(conv.weight[0].numel())
    conv.weight.uniform_(-bound, bound, generator=generator)
    if conv.bias is not None:
        conv.bias.uniform_(-bound, bound, generator=generator)


def _zero_bias(conv: nn.Conv2d) -> None:
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
