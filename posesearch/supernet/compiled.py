"""Compiling a network block by block: a graph for each kind of block instead of one for each network.

Hardly any two steps train the same subnets, so compiling networks never ends, but their blocks repeat. What is compiled
is one block, with its parameters as inputs. Torch keeps compiled graphs by code object, tries them one after the other and
gives up at 8: each kind of block (what its `repr` shows: widths, kernel, attention) therefore gets a code object of its
own, and shares it with the same block at other places and in other networks.

On a GPU this is untried; the graphs and what they compute are tested on a CPU, without generated code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import FunctionType
from typing import Any

import torch
from torch import nn

from posesearch.errors import EnvironmentFault, compile_reason
from posesearch.models.pose import PoseModel

Backend = str | Callable[..., Any]
"""Of `torch.compile`."""

Forward = Callable[..., Any]


class BlockCompiler:
    """Compiles blocks, each kind once.

    Args:
        backend: of `torch.compile`.
    """

    def __init__(self, backend: Backend = "inductor") -> None:
        self.backend = backend
        self._compiled: dict[str, Forward] = {}

    def __len__(self) -> int:
        """Returns the number of kinds of blocks seen."""
        return len(self._compiled)

    def __call__(self, block: nn.Module) -> Forward:
        """Returns a forward that computes what `block.forward` does and is compiled when it is first called.

        Raises:
            EnvironmentFault: from the forward, when compiling fails.
        """
        kind = repr(block)
        if kind not in self._compiled:
            self._compiled[kind] = _compiled(type(block), self.backend)
        return partial(self._compiled[kind], block)


def _compiled(block_class: type[nn.Module], backend: Backend) -> Forward:
    forward = block_class.forward
    assert isinstance(forward, FunctionType)
    own = FunctionType(
        forward.__code__.replace(),
        forward.__globals__,
        forward.__name__,
        forward.__defaults__,
        forward.__closure__,
    )
    # Never dynamic: widths and maps are few, and a graph for variable ones is slower and was made for each net all the same.
    # A full graph cannot fall back to eager unseen when there are too many.
    compiled = torch.compile(own, backend=backend, dynamic=False, fullgraph=True)

    def run(block: nn.Module, *arguments: Any) -> Any:
        try:
            return compiled(block, *arguments)
        except (
            torch._dynamo.exc.TorchDynamoException,
            torch._dynamo.exc.FailOnRecompileLimitHit,
        ) as error:
            raise EnvironmentFault(
                f"a {block_class.__name__} could not be compiled: {compile_reason(error)}. The blocks of a training are "
                "compiled when the recipe says so. Train without: --set compile_blocks=false"
            ) from error

    return run


def blocks_of(model: PoseModel) -> tuple[nn.Module, ...]:
    """Returns what is compiled of a network: stem, downsampling and star blocks.

    Not the head: training reads its maps by a hook (`train.losses.joint_maps`), which would end in a new graph each step.
    """
    backbone = model.backbone
    return (backbone.stem, *(block for stage in backbone.stages for block in stage.children()))


@contextmanager
def running_compiled(forwards: Mapping[nn.Module, Forward]) -> Iterator[None]:
    """Lets blocks run by the given forwards inside the `with` block, and by their own again afterwards."""
    for block, forward in forwards.items():
        block.forward = forward
    try:
        yield
    finally:
        for block in forwards:
            del block.forward
