"""Sorting channels by importance, so that the leading ones, which every subnet keeps, are the ones that matter.

A network's function does not change when its channels change places, as long as all tensors that read or write them
follow. There is one order for the residual stream of each stage (every block adds to it) and one for the hidden units of
each block (f1 and f2 are multiplied, so they share it). Importance is the L1 norm of what the consumers do with a channel
(OFA, ICLR 2020).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

Axes = list[tuple[str, int]]
"""(parameter name, axis) of tensors that share one channel order."""


def sort_channels(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the same network with every stage's channels and every block's hidden units in order of importance.

    Args:
        state: tensors under `PoseModel`'s names, with or without running statistics and head; left unchanged.
    """
    ordered = dict(state)
    for stage, depth in enumerate(stage_depths(state)):
        for block in range(1, depth + 1):
            prefix = f"backbone.stages.{stage}.{block}"
            _reorder(
                ordered, hidden_axes(prefix), _importance(ordered, ((f"{prefix}.g.conv.weight", 1, None),))
            )
        consumers: list[tuple[str, int, str | None]] = [
            (f"backbone.stages.{stage + 1}.0.conv.weight", 1, None),
            ("head.final_layer.weight", 1, None),
        ]
        if f"backbone.stages.{stage + 1}.0.conv.weight" in ordered:
            consumers.pop()
        for block in range(1, depth + 1):
            prefix = f"backbone.stages.{stage}.{block}"
            # f1 and f2 read dwconv's norm, whose scale is part of how strongly a channel counts.
            scale = f"{prefix}.dwconv.bn.weight"
            consumers += [(f"{prefix}.f1.conv.weight", 1, scale), (f"{prefix}.f2.conv.weight", 1, scale)]
        _reorder(ordered, stream_axes(ordered, stage, depth), _importance(ordered, consumers))
    return ordered


def stage_depths(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Blocks in each stage, read off the names."""
    depths: dict[int, int] = {}
    for name in state:
        if match := re.match(r"backbone\.stages\.(\d+)\.(\d+)\.", name):
            stage, index = int(match[1]), int(match[2])
            depths[stage] = max(depths.get(stage, 0), index)
    return tuple(depths[stage] for stage in sorted(depths))


def stream_axes(state: Mapping[str, Tensor], stage: int, depth: int) -> Axes:
    """All tensors that read or write the residual stream of a stage."""
    prefix = f"backbone.stages.{stage}"
    axes = [*_conv_out(f"{prefix}.0.conv"), *_norm(f"{prefix}.0.bn")]
    for block in range(1, depth + 1):
        part = f"{prefix}.{block}"
        for writer in ("dwconv", "g", "dwconv2"):
            axes += _conv_out(f"{part}.{writer}.conv")
        for norm in ("dwconv", "g"):
            axes += _norm(f"{part}.{norm}.bn")
        axes += [(f"{part}.f1.conv.weight", 1), (f"{part}.f2.conv.weight", 1)]
        axes += [(f"{part}.ca.conv_reduce.weight", 1)]
        axes += [*_conv_out(f"{part}.ca.conv_h"), *_conv_out(f"{part}.ca.conv_w")]
    following = f"backbone.stages.{stage + 1}.0.conv.weight"
    axes.append((following, 1) if following in state else ("head.final_layer.weight", 1))
    return axes


def hidden_axes(block: str) -> Axes:
    """All tensors that read or write the hidden units of a block."""
    return [*_conv_out(f"{block}.f1.conv"), *_conv_out(f"{block}.f2.conv"), (f"{block}.g.conv.weight", 1)]


def _conv_out(conv: str) -> Axes:
    return [(f"{conv}.weight", 0), (f"{conv}.bias", 0)]


def _norm(norm: str) -> Axes:
    return [(f"{norm}.{part}", 0) for part in ("weight", "bias", "running_mean", "running_var")]


def _importance(state: Mapping[str, Tensor], consumers: Iterable[tuple[str, int, str | None]]) -> Tensor:
    total: Tensor | None = None
    for name, axis, scale in consumers:
        if name not in state:
            continue
        weight = state[name].detach().double().abs().transpose(0, axis).flatten(1).sum(1)
        if scale is not None and scale in state:
            weight = weight * state[scale].detach().double().abs()
        total = weight if total is None else total + weight
    assert total is not None, "a channel without a consumer"
    return total


def _reorder(state: dict[str, Tensor], axes: Axes, importance: Tensor) -> None:
    order = torch.argsort(importance, descending=True, stable=True)
    for name, axis in axes:
        if name in state:
            state[name] = state[name].index_select(axis, order.to(state[name].device))
