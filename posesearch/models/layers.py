"""Torch's convolution and linear layer without their own random start, and the hook that makes a network's parts.

`models.initialise` is the only place that draws weights, so torch's draw would be thrown away; on the meta device it
was most of the time it takes to build a network (StarNet-Pose-S: 43 ms with it, 16 ms without).
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import nn


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` whose weights are undefined until `initialise` or a state dict fills them."""

    def reset_parameters(self) -> None:
        """Draws nothing."""


class Linear(nn.Linear):
    """`nn.Linear` whose weights are undefined until `initialise` or a state dict fills them."""

    def reset_parameters(self) -> None:
        """Draws nothing."""


class Build(Protocol):
    """Makes one part of a network; weight sharing passes one that remembers the parts it made."""

    def __call__(self, place: str, kind: Any, /, *args: Any, **options: Any) -> nn.Module:
        """Returns `kind(*args, **options)`, the part whose parameters are named `place.*`."""


def build_new(place: str, kind: Any, /, *args: Any, **options: Any) -> nn.Module:  # noqa: ARG001
    """The plain way: a new part each time."""
    part: nn.Module = kind(*args, **options)
    return part
