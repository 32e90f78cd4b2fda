"""Counting what a module does: its operators are traced once on the meta device, nothing is computed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from posesearch.models.live import LiveTensors

FLOAT32_BYTES = 4

FREE = frozenset(
    (
        "_unsafe_view",
        "alias",
        "as_strided",
        "detach",
        "empty",
        "expand",
        "permute",
        "select",
        "slice",
        "split",
        "split_with_sizes",
        "squeeze",
        "t",
        "transpose",
        "unbind",
        "unsqueeze",
        "view",
    )
)
"""ATen operators that only rename or reserve memory: no kernel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartCost:
    """Cost of a part of a network for one image.

    Attributes:
        params: learned numbers.
        macs: multiply-accumulates of convolutions, linear layers and matrix products.
        flops: MMPose's figure (mmengine's counter): `macs`, plus 2 an element for a norm in evaluation, plus 1 an input
            element for average pooling; biases, activations, products and sums are free.
        operators: ATen operators that launch work, i.e. views apart; what batch-1 latency on a GPU follows.
        activation_bytes: bytes all these operators write in float32.
        peak_bytes: most bytes alive at one moment in float32, the input included, while operators run one after the
            other; of several parts in a row the largest, as each begins with what the last one left.
    """

    params: int = 0
    macs: int = 0
    flops: int = 0
    operators: int = 0
    activation_bytes: int = 0
    peak_bytes: int = 0

    def __add__(self, other: PartCost) -> PartCost:
        return PartCost(
            params=self.params + other.params,
            macs=self.macs + other.macs,
            flops=self.flops + other.flops,
            operators=self.operators + other.operators,
            activation_bytes=self.activation_bytes + other.activation_bytes,
            peak_bytes=max(self.peak_bytes, other.peak_bytes),
        )


class OperatorCounter(TorchDispatchMode):
    """Adds up the operators that run inside the context."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0
        self.extra_flops = 0
        self.operators = 0
        self.activation_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name not in FREE:
            self._count(name, args, output)
        return output

    def _count(self, name: str, args: Any, output: Any) -> None:
        main: Tensor = output if isinstance(output, Tensor) else output[0]
        self.operators += 1
        self.activation_bytes += main.numel() * FLOAT32_BYTES
        if name == "convolution":
            self.macs += main.numel() * math.prod(args[1].shape[1:])
        elif name in ("mm", "bmm"):
            self.macs += main.numel() * args[0].shape[-1]
        elif "batch_norm" in name:
            self.extra_flops += 2 * main.numel()
        elif name == "mean":
            self.extra_flops += args[0].numel()


def count(build: Callable[[], nn.Module], input_shape: tuple[int, ...]) -> PartCost:
    """Counts one module in evaluation mode.

    Args:
        build: makes the module.
        input_shape: shape of its one input, batch included (1 for the cost of one image).
    """
    with torch.device("meta"):
        module = build().eval()
        x = torch.empty(input_shape)
    counter = OperatorCounter()
    with torch.no_grad(), LiveTensors() as alive, counter:
        module(x)
    return PartCost(
        params=sum(parameter.numel() for parameter in module.parameters()),
        macs=counter.macs,
        flops=counter.macs + counter.extra_flops,
        operators=counter.operators,
        activation_bytes=counter.activation_bytes,
        peak_bytes=x.nbytes + alive.peak_bytes,
    )
